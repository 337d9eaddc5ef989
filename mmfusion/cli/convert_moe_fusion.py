"""Convert a checkpoint of the official MoE-Fusion code: fusion head, and two-stream detector where it is part of the
file.

Example: mmfusion convert moe_fusion epoch_24.pth moe_fusion_converted.pth
"""

from mmfusion.utils import friendly_main, setup_cpu_env

from .conversion import SOURCE_HELP, conversion_config, conversion_parser, parse_conversion

CONFIG = '_base_/fusers/moe_fusion.py'


def parse_args(argv=None):
    """Command line."""
    parser = conversion_parser(__doc__)
    parser.add_argument('source', help=SOURCE_HELP)
    return parse_conversion(parser, argv, 'config with `fuser` and `guide` that the result has to fit')


@friendly_main
def main(argv=None):
    """Convert one file."""
    setup_cpu_env()  # before torch is imported
    args = parse_args(argv)
    config = conversion_config(args, CONFIG)
    from mmfusion.models.fusers.moe_fusion.conversion import convert_checkpoint

    weights = convert_checkpoint(args.source, args.target, config)
    print(f'{args.target}: {len(weights)} entries, parts: {", ".join(sorted({key.split(".")[0] for key in weights}))}')
