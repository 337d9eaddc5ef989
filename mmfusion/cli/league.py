"""League of fusers: fuse, rate, detect and time, all methods on the same pairs, and put them into one table and one
page.

    mmfusion league league_ivif --work-dir work_dirs/league
    mmfusion league league_ivif --work-dir work_dirs/league --method mine=results/mine --method other=other.py,other.pth

A method of your own is a folder of fused pictures (FOLDER/SET/NAME.png, or FOLDER/NAME.png) or a config with its
weights. Every measurement is kept: the same command goes on where it was stopped, and reads what is there. Rows without
weights are left out with the reason. The exit code is 1 when something could not be measured; what could be is in
tables and page.
"""

import argparse
from pathlib import Path

from mmfusion.utils import friendly_main

from .arguments import add_cfg_options, parse_with_options, prepare_process


def parse_args(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a league, or the name of one that ships: league_ivif')
    parser.add_argument(
        '--work-dir', type=Path, required=True, help='folder of pictures, measurements, tables and the page'
    )
    parser.add_argument(
        '--method',
        action='append',
        default=[],
        metavar='NAME=FOLDER|CONFIG[,WEIGHTS]',
        help='one more row: a folder of fused pictures, or a config with its weights; may be repeated',
    )
    parser.add_argument('--only', nargs='+', metavar='NAME', help='rows of the config to keep (default: all)')
    parser.add_argument('--pairs', nargs='+', metavar='SET', help='sets of pairs to keep (default: all)')
    parser.add_argument('--workers', type=int, default=1, help='processes that measure at the same time')
    parser.add_argument(
        '--page-only', action='store_true', help='measure nothing; write tables and page of what is there'
    )
    parser.add_argument(
        '--resamples', type=int, default=2000, help='resamplings of the images for the intervals (default: 2000)'
    )
    add_cfg_options(parser)
    return parse_with_options(parser, argv)


@friendly_main
def main(argv=None):
    """Run the league."""
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    from mmfusion.experiments.league import league
    from mmfusion.experiments.league.run import summary_lines
    from mmfusion.utils.interrupt import remark

    with remark(lambda: 'the same command goes on from here; every measurement is kept'):
        result = league(
            args.config,
            args.work_dir,
            args.method,
            args.only,
            args.pairs,
            args.workers,
            not args.page_only,
            args.resamples,
            args.cfg_options,
        )
    print('\n' + '\n'.join(summary_lines(result)))
    if result.failed:
        raise SystemExit(1)
