"""Compare fusers: train the same task network on each with the same schedule, and print the table of mAP and mIoU.

    mmfusion compare configs/moe_fusion_msrs_light.py --seeds 0 1 --work-dir work_dirs/compare_msrs

Finished runs are kept and unfinished ones resumed, so the command can be repeated until the table is whole.
"""

import argparse
from pathlib import Path

from mmfusion.utils import friendly_main

from .arguments import add_cfg_options, parse_with_options, prepare_process


def parse_args(argv=None):
    """Command line."""
    from mmfusion.experiments.comparison import VARIANTS

    default = ['visible', 'infrared', 'average', 'maximum', 'detached', 'joint']
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a joint training, or of a MetaCoupling or BilevelCoupling')
    parser.add_argument('--variants', nargs='+', default=default, choices=list(VARIANTS))
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1])
    parser.add_argument('--work-dir', type=Path, required=True)
    parser.add_argument(
        '--minutes', type=float, help='stop each run at the end of the epoch after this many minutes; repeat to go on'
    )
    add_cfg_options(parser)
    return parse_with_options(parser, argv)


@friendly_main
def main(argv=None):
    """Run the comparison."""
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    from mmfusion.experiments.comparison import compare, write_table
    from mmfusion.utils import load_config, register_all_modules
    from mmfusion.utils.interrupt import remark

    cfg = load_config(args.config, args.cfg_options)
    register_all_modules()
    with remark(lambda: 'the same command goes on from the last checkpoint'):
        results = compare(cfg, args.variants, args.seeds, args.work_dir, args.minutes)
    print(f'\n{write_table(results, args.work_dir)}')
