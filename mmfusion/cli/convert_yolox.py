"""Convert a checkpoint of the official YOLOX code to mmdet's layout, in which task networks start from it.

Example: mmfusion convert yolox yolox_nano.pth checkpoints/yolox_nano_coco_mmdet.pth
"""

from mmfusion.utils import friendly_main, setup_cpu_env

from .conversion import SOURCE_HELP, conversion_config, conversion_parser, parse_conversion

CONFIG = '_base_/detectors/yolox_nano.py'


def parse_args(argv=None):
    """Command line."""
    parser = conversion_parser(__doc__)
    parser.add_argument('source', help=SOURCE_HELP)
    return parse_conversion(parser, argv, 'config with `detector` that the result has to fit (default: YOLOX-nano)')


@friendly_main
def main(argv=None):
    """Convert one file."""
    setup_cpu_env()  # before torch is imported
    args = parse_args(argv)
    config = conversion_config(args, CONFIG)
    from mmfusion.models.pretrained.yolox import convert_checkpoint

    weights = convert_checkpoint(args.source, args.target, config)
    print(f'{args.target}: {len(weights)} entries')
