"""Examine a data set of pairs: misregistered ones, wrong partners, exchanged sources, copies, damaged files, labels
that do not fit.

    mmfusion doctor moe_fusion_msrs                              the data sets of a config, its splits against each \
        other
    mmfusion doctor data/vi data/ir                              two folders
    mmfusion doctor train/vi train/ir test/vi test/ir --boxes train/labels test/labels --class-names person car --html \
        sheet.html

The worst is listed first, with what to do about it. What cannot be judged is counted as not judged, not as sound.
The exit code is 0 when nothing was found, 1 when something was, 2 when the examination was not possible.
"""

import argparse
import json
import os
from typing import List

from mmfusion.utils.errors import UserError, friendly_main

from .arguments import prepare_process


def parse_args(argv=None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'data',
        nargs='*',
        metavar='CONFIG | FIRST SECOND ...',
        help='a config, or the folders of first and second source, those of further sets after them',
    )
    parser.add_argument(
        '--boxes',
        nargs='+',
        default=[],
        metavar='PLACE',
        help='folder of VOC xml or YOLO text, or a COCO json, for each set',
    )
    parser.add_argument(
        '--class-maps', nargs='+', default=[], metavar='FOLDER', help='folder of class maps for each set'
    )
    parser.add_argument(
        '--class-names', nargs='+', default=[], metavar='NAME', help='names of the classes of the boxes'
    )
    parser.add_argument(
        '--modalities',
        nargs=2,
        default=('visible', 'infrared'),
        metavar=('FIRST', 'SECOND'),
        help='what the sources are (default: visible infrared)',
    )
    parser.add_argument(
        '--suffixes',
        nargs=2,
        default=('', ''),
        metavar=('FIRST', 'SECOND'),
        help='endings of the names, without extension, that tell the sources apart',
    )
    parser.add_argument('--checks', nargs='+', metavar='CHECK', help='checks to run (default: all); --list shows them')
    parser.add_argument('--skip', nargs='+', default=[], metavar='CHECK', help='checks to leave out')
    parser.add_argument(
        '--add', nargs='+', default=[], metavar='FILE', help='Python files that register checks of your own'
    )
    parser.add_argument('--show', type=int, default=5, help='pairs that are listed for each fault (default: 5)')
    parser.add_argument('--csv', metavar='FILE', help='write a row for each finding')
    parser.add_argument('--html', metavar='FILE', help='write a contact sheet: one file with small pictures')
    parser.add_argument('--json', action='store_true', help='print the result as JSON')
    parser.add_argument('--workers', type=int, help='processes of one thread each (default: the number of cores)')
    parser.add_argument(
        '--list', action='store_true', help='show all checks, what they measure and their thresholds, and end'
    )
    args = parser.parse_args(argv)
    if not args.data and not args.list:
        parser.error('give a config, or two folders')
    if args.show < 0:
        parser.error('--show must not be negative')
    return args


@friendly_main
def main(argv=None) -> None:
    """Examine, and say what was found."""
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    from mmfusion.experiments.doctor.examination import add_checks, examine
    from mmfusion.experiments.doctor.report import text_of, to_dict, write_rows

    if args.list:
        add_checks(args.add)
        print(describe_checks())
        return
    result = examine(
        pairs_of(args),
        args.checks,
        args.skip,
        args.workers if args.workers is not None else usable_cores(),
        args.add,
        progress=True,
    )
    print(json.dumps(to_dict(result)) if args.json else text_of(result, args.show))
    if args.csv:
        write_rows(args.csv, result)
    if args.html:
        from mmfusion.experiments.doctor.sheet import write_sheet

        write_sheet(args.html, result)
    if result.findings:
        raise SystemExit(1)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def pairs_of(args: argparse.Namespace) -> List:
    """The pairs that the command line names."""
    from mmfusion.experiments.doctor.pairs import pairs_of_config, pairs_of_folders

    if len(args.data) == 1 and not os.path.isdir(args.data[0]):
        from mmfusion.utils.config import read_config

        given = [name for name in ('boxes', 'class_maps', 'class_names') if getattr(args, name)]
        if given:
            raise UserError(
                f'--{given[0].replace("_", "-")} goes with folders; a config says itself where its labels are'
            )
        return pairs_of_config(read_config(args.data[0]))
    if len(args.data) == 1:
        raise UserError(
            f'{args.data[0]} is one folder; give that of the first and that of the second source, or a config'
        )
    return pairs_of_folders(args.data, args.modalities, args.suffixes, args.boxes, args.class_maps, args.class_names)


def describe_checks() -> str:
    """All checks in words."""
    from mmfusion.experiments.doctor.check import build_checks

    blocks = []
    for check in build_checks():
        made_for = f'  made for: {" and ".join(check.modalities)}\n' if check.modalities else ''
        blocks.append(
            f'{check.name} ({check.severity}): {check.title}\n  measures: {check.measures}\n  threshold: '
            f'{check.threshold:g}\n{made_for}  what to do: {check.remedy}'
        )
    return '\n\n'.join(blocks)
