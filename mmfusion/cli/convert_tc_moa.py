"""Convert a checkpoint of the official TC-MoA code, checkpoint-*.pth, of its present or its old layout.

Examples:
    mmfusion convert tc_moa large checkpoint-19-TC_MoA.pth tc_moa_large.pth
    mmfusion convert tc_moa base checkpoint-19-TC_MoA_base.pth tc_moa_base.pth
"""

from mmfusion.utils import friendly_main, setup_cpu_env

from .conversion import SOURCE_HELP, conversion_config, conversion_parser, parse_conversion

FUSERS = '_base_/fusers'
CONFIGS = dict(base='tc_moa', large='tc_moa_large')


def parse_args(argv=None):
    """Command line."""
    parser = conversion_parser(__doc__)
    parser.add_argument(
        'arch',
        choices=tuple(CONFIGS),
        help='size of the masked autoencoder; the published program trains the large one',
    )
    parser.add_argument('source', help=SOURCE_HELP)
    return parse_conversion(
        parser,
        argv,
        'config with `fuser` that the result has to fit; by default that of the size in configs/_base_/fusers',
    )


@friendly_main
def main(argv=None):
    """Convert one file."""
    setup_cpu_env()  # before torch is imported
    args = parse_args(argv)
    config = conversion_config(args, f'{FUSERS}/{CONFIGS[args.arch]}.py')
    from mmfusion.models.fusers.tc_moa.conversion import convert_checkpoint

    weights = convert_checkpoint(args.source, args.target, config)
    print(f'{args.target}: {len(weights)} entries')
