"""Convert a checkpoint of the official TC-MoA code, checkpoint-*.pth, of its present or its old layout.

Examples:
    python tools/model_converters/tc_moa_official.py large checkpoint-19-TC_MoA.pth tc_moa_large.pth
    python tools/model_converters/tc_moa_official.py base checkpoint-19-TC_MoA_base.pth tc_moa_base.pth
"""
from pathlib import Path

from mmfusion.cli.conversion import SOURCE_HELP, conversion_config, conversion_parser, parse_conversion
from mmfusion.utils import friendly_main, setup_cpu_env

setup_cpu_env()  # before torch is imported

FUSERS = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'fusers'
CONFIGS = dict(base='tc_moa', large='tc_moa_large')


def parse_args(argv=None):
    """Command line."""
    parser = conversion_parser(__doc__)
    parser.add_argument('arch', choices=tuple(CONFIGS), help='size of the masked autoencoder; the published program trains the large one')
    parser.add_argument('source', help=SOURCE_HELP)
    return parse_conversion(parser, argv, 'config with `fuser` that the result has to fit; by default that of the size in configs/_base_/fusers')


@friendly_main
def main(argv=None):
    """Convert one file."""
    args = parse_args(argv)
    config = conversion_config(args, FUSERS / f'{CONFIGS[args.arch]}.py')
    from mmfusion.models.fusers.tc_moa.conversion import convert_checkpoint
    weights = convert_checkpoint(args.source, args.target, config)
    print(f'{args.target}: {len(weights)} entries')


if __name__ == '__main__':
    main()
