"""Convert checkpoints of the official TIM code, one file per stage.

Examples:
    mmfusion convert tim ivif weights_1_1059.pt weights_2_1059.pt tim_ivif.pth
    mmfusion convert tim light weights_1_1169.pt tim_light.pth
"""

from mmfusion.utils import friendly_main, setup_cpu_env

from .conversion import SOURCE_HELP, conversion_config, conversion_parser, parse_conversion

FUSERS = '_base_/fusers'
CONFIGS = dict(ivif='tim', light='tim_light', mri_ct='tim_mri_ct', mri_pet='tim_mri_pet', mri_spect='tim_mri_spect')


def parse_args(argv=None):
    """Command line."""
    parser = conversion_parser(__doc__)
    parser.add_argument(
        'task', choices=tuple(CONFIGS), help='what the weights are for; it decides the order of the sources'
    )
    parser.add_argument(
        'sources',
        nargs='+',
        help=f'{SOURCE_HELP}; weights_1_* and weights_2_*. With weights_1_* alone, stage 1 is '
        'converted for the fuser TIM',
    )
    return parse_conversion(
        parser,
        argv,
        'config with `fuser` that the result has to fit; by default that of the task in configs/_base_/fusers',
    )


@friendly_main
def main(argv=None):
    """Convert one network."""
    setup_cpu_env()  # before torch is imported
    args = parse_args(argv)
    name = 'tim_stage1' if len(args.sources) == 1 and args.task != 'light' else CONFIGS[args.task]
    config = conversion_config(args, f'{FUSERS}/{name}.py')
    from mmfusion.models.fusers.tim.conversion import convert_checkpoint

    weights = convert_checkpoint(args.task, args.sources, args.target, config)
    print(f'{args.target}: {len(weights)} entries for {config.fuser.type}')
