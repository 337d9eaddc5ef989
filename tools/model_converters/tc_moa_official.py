"""Convert a checkpoint of the official TC-MoA code, checkpoint-*.pth, of its present or its old layout.

Examples:
    python tools/model_converters/tc_moa_official.py large checkpoint-19-TC_MoA.pth tc_moa_large.pth
    python tools/model_converters/tc_moa_official.py base checkpoint-19-TC_MoA_base.pth tc_moa_base.pth
"""
import argparse
from pathlib import Path

from mmfusion.utils.cpu_env import setup_cpu_env

setup_cpu_env()

from mmengine.config import Config  # noqa: E402

from mmfusion.utils import register_all_modules  # noqa: E402
from mmfusion.utils.cli import add_cfg_options, parse_with_options  # noqa: E402
from mmfusion.utils.errors import friendly_main  # noqa: E402

FUSERS = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'fusers'
CONFIGS = dict(base='tc_moa', large='tc_moa_large')


def parse_args(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('arch', choices=tuple(CONFIGS), help='size of the masked autoencoder; the published program trains the large one')
    parser.add_argument('source', help='official checkpoint; loaded with weights_only, so it cannot run code')
    parser.add_argument('target', help='file to write')
    parser.add_argument('--config', help='config with `fuser` that the result has to fit; by default that of the size in configs/_base_/fusers')
    add_cfg_options(parser)
    return parse_with_options(parser, argv)


@friendly_main
def main(argv=None):
    """Convert one file."""
    args = parse_args(argv)
    register_all_modules()
    from mmfusion.models.fusers.tc_moa.conversion import convert_checkpoint
    config = Config.fromfile(args.config or FUSERS / f'{CONFIGS[args.arch]}.py')
    if args.cfg_options:
        config.merge_from_dict(args.cfg_options)
    weights = convert_checkpoint(args.source, args.target, config)
    print(f'{args.target}: {len(weights)} entries')


if __name__ == '__main__':
    main()
