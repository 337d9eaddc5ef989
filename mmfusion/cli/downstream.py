"""Judge a fusion by a task: fuse train and test set, train a task network on the pictures, evaluate, tabulate.

    mmfusion downstream configs/downstream_msrs_seg.py --fusion configs/tdfusion_msrs.py --weights epoch_40.pth \
        --work-dir work_dirs/down

Pictures that are there are kept and unfinished training is resumed, so the command can be repeated until the result is
there.
"""

import argparse
from pathlib import Path

from mmfusion.utils import friendly_main

from .arguments import add_cfg_options, parse_with_options, prepare_process


def parse_args(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'config', help='config of the task: data sets, task networks and schedule; its own fuser is not used'
    )
    parser.add_argument(
        '--fusion',
        required=True,
        help='config of the fusion, or the name of a fuser without parameters (AverageFuser, ...)',
    )
    parser.add_argument('--weights', help='checkpoint of the fusion')
    parser.add_argument(
        '--name', default='', help='name of the fusion in the table (default: that of the config or fuser)'
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0], help='train the task network once per seed')
    parser.add_argument('--work-dir', type=Path, required=True, help='folder of pictures, checkpoints and results')
    parser.add_argument(
        '--minutes',
        type=float,
        help='stop each training at the end of the epoch after this many minutes; repeat to go on',
    )
    parser.add_argument('--device', help="'cpu', 'cuda' or 'cuda:1' (default: a GPU if there is one)")
    add_cfg_options(parser)
    return parse_with_options(parser, argv)


@friendly_main
def main(argv=None):
    """Run the protocol."""
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    from mmfusion.experiments.comparison import write_table
    from mmfusion.experiments.downstream import run_downstream
    from mmfusion.running.run_config import existing_checkpoint
    from mmfusion.utils import load_config, register_all_modules
    from mmfusion.utils.interrupt import remark

    cfg = load_config(args.config, args.cfg_options)
    if args.weights:
        existing_checkpoint(args.weights)
    register_all_modules()
    with remark(lambda: 'the same command goes on from the last picture or checkpoint'):
        results = run_downstream(
            cfg, args.fusion, args.seeds, args.work_dir, args.weights, args.device, args.minutes, args.name
        )
    if results:
        print(f'\n{write_table(results, args.work_dir)}; every result.json says how it came about')
