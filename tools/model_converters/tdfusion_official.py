"""Convert a checkpoint of the official TDFusion code, TDFusion_*.pth, or of its predecessor, ReFusion_*.pth: the fusion network.

Example: python tools/model_converters/tdfusion_official.py TDFusion_MSRS.pth tdfusion_msrs_converted.pth
"""
import argparse
from pathlib import Path

from mmfusion.utils.cpu_env import setup_cpu_env

setup_cpu_env()

from mmengine.config import Config  # noqa: E402

from mmfusion.utils import register_all_modules  # noqa: E402
from mmfusion.utils.cli import add_cfg_options, parse_with_options  # noqa: E402
from mmfusion.utils.errors import friendly_main  # noqa: E402

CONFIG = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'fusers' / 'refusion.py'


def parse_args(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='official checkpoint; loaded with weights_only, so it cannot run code')
    parser.add_argument('target', help='file to write')
    parser.add_argument('--config', default=str(CONFIG), help='config with `fuser` that the result has to fit')
    add_cfg_options(parser)
    return parse_with_options(parser, argv)


@friendly_main
def main(argv=None):
    """Convert one file."""
    args = parse_args(argv)
    register_all_modules()
    from mmfusion.models.fusers.refusion.conversion import convert_checkpoint
    config = Config.fromfile(args.config)
    if args.cfg_options:
        config.merge_from_dict(args.cfg_options)
    weights = convert_checkpoint(args.source, args.target, config)
    print(f'{args.target}: {len(weights)} entries')


if __name__ == '__main__':
    main()
