"""Try networks of mmdet and mmseg behind a fuser: a training step, a prediction, and whether each is fed what its own
pipeline would feed it.

    mmfusion check-networks --work-dir work_dirs/task_networks
    mmfusion check-networks my_detector.py --work-dir work_dirs/my_detector

Without names it tries a config of every model family of the installed packages; names of families, or paths of own
configs, choose. Small pictures, few classes, no downloads. Finished networks are kept, so the command can be repeated.
"""

import argparse
from pathlib import Path

from mmfusion.utils import friendly_main

from .arguments import prepare_process


def parse_args(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('networks', nargs='*', metavar='NETWORK', help='names of families, or config files')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/task_networks'))
    parser.add_argument('--minutes', type=float, default=10, help='time limit of each network')
    parser.add_argument('--memory', type=float, default=5, help='memory limit of each network, in GiB')
    parser.add_argument('--again', action='store_true', help='try the networks named though they are finished')
    return parser.parse_args(argv)


@friendly_main
def main(argv=None):
    """Try and tell."""
    prepare_process(['--device', 'cpu'])  # before torch is imported
    args = parse_args(argv)
    from mmfusion.experiments.task_sweep import sweep_command

    sweep_command(args)
