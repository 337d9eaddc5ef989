"""Say whether fusion helps a task, and whether the data can tell: train and test each source alone, fixed rules and
couplings by one config.

    mmfusion verdict configs/moe_fusion_msrs_light.py --work-dir work_dirs/verdict --workers 2

The answer is printed, and written with everything behind it to verdict.html and verdict.csv in the work dir. Finished
trainings are kept and unfinished ones resumed, so the command can be repeated. Without a config, a work dir is judged
again, for another metric or other groups.
"""

import argparse
from pathlib import Path

from mmfusion.utils import friendly_main

from .arguments import add_cfg_options, parse_with_options, prepare_process


def parse_args(argv=None):
    """Command line."""
    from mmfusion.experiments.verdict import ROWS
    from mmfusion.experiments.verdict.tasks import DETECTION_METRICS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', help='config of a coupling with task networks')
    parser.add_argument('--work-dir', type=Path, required=True)
    parser.add_argument(
        '--rows',
        nargs='+',
        choices=list(ROWS),
        metavar='ROW',
        help=f'by default those that the config allows, out of {", ".join(ROWS)}',
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--workers', type=int, default=1, help='processes that train at the same time')
    parser.add_argument(
        '--minutes',
        type=float,
        help='stop each training at the end of the epoch after this many minutes; repeat to go on',
    )
    parser.add_argument(
        '--metric', choices=list(DETECTION_METRICS), default='mAP50', help='metric of detection that is judged'
    )
    parser.add_argument('--resamples', type=int, default=2000, help='resamplings of the test images and seeds')
    parser.add_argument(
        '--groups',
        type=Path,
        help='csv file with the columns name,group: the group of each test image, such as day and night',
    )
    parser.add_argument(
        '--size-edges',
        nargs=2,
        type=float,
        default=[32, 96],
        metavar='PIXELS',
        help='sides of squares: small, medium, large objects',
    )
    add_cfg_options(parser)
    return parse_with_options(parser, argv)


@friendly_main
def main(argv=None):
    """Run or judge."""
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    from mmfusion.experiments.verdict.run import verdict_command

    verdict_command(args)
