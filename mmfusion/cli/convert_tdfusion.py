"""Convert a checkpoint of the official TDFusion code, TDFusion_*.pth, or of its predecessor, ReFusion_*.pth: the fusion
network.

Example: mmfusion convert tdfusion TDFusion_MSRS.pth tdfusion_msrs_converted.pth
"""

from mmfusion.utils import friendly_main, setup_cpu_env

from .conversion import SOURCE_HELP, conversion_config, conversion_parser, parse_conversion

CONFIG = '_base_/fusers/refusion.py'


def parse_args(argv=None):
    """Command line."""
    parser = conversion_parser(__doc__)
    parser.add_argument('source', help=SOURCE_HELP)
    return parse_conversion(parser, argv, 'config with `fuser` that the result has to fit')


@friendly_main
def main(argv=None):
    """Convert one file."""
    setup_cpu_env()  # before torch is imported
    args = parse_args(argv)
    config = conversion_config(args, CONFIG)
    from mmfusion.models.fusers.refusion.conversion import MODALITIES, convert_checkpoint

    weights = convert_checkpoint(args.source, args.target, config)
    print(
        f'{args.target}: {len(weights)} entries; takes the {MODALITIES[0]} image first and the '
        f'{MODALITIES[1]} one second. Fuse with demo/image_demo.py INFRARED VISIBLE --config ReFusion --weights '
        f'{args.target}'
    )
