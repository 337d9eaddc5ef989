"""Check a result: whether data, labels, weights, outputs and versions are still those that it was made from, and
whether
a sample of its numbers comes out again.

    mmfusion verify work_dirs/eval_fusion
    mmfusion verify work_dirs/verdict --sample 5 --root MSRS=/data/MSRS

Exit code 0: everything is as the manifest states. 1: something differs, and is named. 2: the check was not possible,
such as without a manifest or without the data.
"""

import argparse
from pathlib import Path

from mmfusion.utils import UserError, friendly_main

from .arguments import prepare_process


def parse_args(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('run', type=Path, help='folder with a manifest.json')
    parser.add_argument(
        '--sample', type=int, default=3, metavar='N', help='images of each result that are computed again (default: 3)'
    )
    parser.add_argument('--all', action='store_true', help='compute all images again')
    parser.add_argument('--seed', type=int, default=0, help='which images are drawn (default: 0)')
    parser.add_argument(
        '--root',
        action='append',
        default=[],
        metavar='NAME=DIR',
        help='where a folder lies on this machine that the manifest calls NAME (data/MSRS) or @NAME; '
        'may be given several times',
    )
    parser.add_argument(
        '--other-versions', action='store_true', help='mention other versions of packages without counting them'
    )
    parser.add_argument('--device', help="'cpu', 'cuda' or 'cuda:1' (default: a GPU if there is one)")
    args = parser.parse_args(argv)
    if args.sample < 0:
        parser.error('--sample must be at least 0; 0 checks hashes only')
    return args


@friendly_main
def main(argv=None):
    """Check, and say what differs."""
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    from mmfusion.experiments.verification import format_verification, verify
    from mmfusion.utils import register_all_modules, select_device

    roots = {}
    for text in args.root:
        name, mark, folder = text.partition('=')
        if not mark or not Path(folder).is_dir():
            raise UserError(f'--root {text}: write NAME=DIR with a folder that exists')
        for known in {name, '@' + name.removeprefix('@')}:
            roots[known] = str(Path(folder).resolve())
    select_device(args.device)
    register_all_modules()
    result = verify(args.run, None if args.all else args.sample, args.seed, roots, args.other_versions)
    print(format_verification(result))
    if result.findings:
        raise SystemExit(1)
