"""Convert checkpoints of the official TIM code, one file per stage.

Examples:
    python tools/model_converters/tim_official.py ivif weights_1_1059.pt weights_2_1059.pt tim_ivif.pth
    python tools/model_converters/tim_official.py light weights_1_1169.pt tim_light.pth
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
CONFIGS = dict(ivif='tim', light='tim_light', mri_ct='tim_mri_ct', mri_pet='tim_mri_pet', mri_spect='tim_mri_spect')


def parse_args(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('task', choices=tuple(CONFIGS), help='what the weights are for; it decides the order of the sources')
    parser.add_argument('sources', nargs='+', help='official checkpoints, weights_1_* and weights_2_*; loaded with weights_only, so they cannot '
                                                   'run code. With weights_1_* alone, stage 1 is converted for the fuser TIM')
    parser.add_argument('target', help='file to write')
    parser.add_argument('--config', help='config with `fuser` that the result has to fit; by default that of the task in configs/_base_/fusers')
    add_cfg_options(parser)
    return parse_with_options(parser, argv)


@friendly_main
def main(argv=None):
    """Convert one network."""
    args = parse_args(argv)
    register_all_modules()
    from mmfusion.models.fusers.tim.conversion import convert_checkpoint
    name = 'tim_stage1' if len(args.sources) == 1 and args.task != 'light' else CONFIGS[args.task]
    config = Config.fromfile(args.config or FUSERS / f'{name}.py')
    if args.cfg_options:
        config.merge_from_dict(args.cfg_options)
    weights = convert_checkpoint(args.task, args.sources, args.target, config)
    print(f'{args.target}: {len(weights)} entries for {config.fuser.type}')


if __name__ == '__main__':
    main()
