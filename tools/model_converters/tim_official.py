"""Convert checkpoints of the official TIM code, one file per stage.

Examples:
    python tools/model_converters/tim_official.py ivif weights_1_1059.pt weights_2_1059.pt tim_ivif.pth
    python tools/model_converters/tim_official.py light weights_1_1169.pt tim_light.pth
"""
from pathlib import Path

from mmfusion.cli.conversion import SOURCE_HELP, conversion_config, conversion_parser, parse_conversion
from mmfusion.utils import friendly_main, setup_cpu_env

setup_cpu_env()  # before torch is imported

FUSERS = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'fusers'
CONFIGS = dict(ivif='tim', light='tim_light', mri_ct='tim_mri_ct', mri_pet='tim_mri_pet', mri_spect='tim_mri_spect')


def parse_args(argv=None):
    """Command line."""
    parser = conversion_parser(__doc__)
    parser.add_argument('task', choices=tuple(CONFIGS), help='what the weights are for; it decides the order of the sources')
    parser.add_argument('sources', nargs='+', help=f'{SOURCE_HELP}; weights_1_* and weights_2_*. With weights_1_* alone, stage 1 is '
                                                   'converted for the fuser TIM')
    return parse_conversion(parser, argv, 'config with `fuser` that the result has to fit; by default that of the task in configs/_base_/fusers')


@friendly_main
def main(argv=None):
    """Convert one network."""
    args = parse_args(argv)
    name = 'tim_stage1' if len(args.sources) == 1 and args.task != 'light' else CONFIGS[args.task]
    config = conversion_config(args, FUSERS / f'{name}.py')
    from mmfusion.models.fusers.tim.conversion import convert_checkpoint
    weights = convert_checkpoint(args.task, args.sources, args.target, config)
    print(f'{args.target}: {len(weights)} entries for {config.fuser.type}')


if __name__ == '__main__':
    main()
