"""Score folders of fused images, from anyone's method, against the folders of their sources.

    mmfusion score results/SeAFusion data/MSRS/test/vi data/MSRS/test/ir --protocol cddfuse
    mmfusion score mine=out/a theirs=out/b data/MSRS/test/vi data/MSRS/test/ir --metrics EN MI VIF --plot bars a.png
    mmfusion score --sequence mine=fused.mp4 visible.mp4 infrared.mp4 --metrics EN VIF

Images are matched by name; extensions may differ. Every image is scored once: the same command goes on where it was
stopped, and scores anew what has changed since. A sequence (videos, or folders of numbered images) is rated frame by
frame and over time: warping error and flicker.
"""

import argparse
import os

from mmfusion.utils import UserError, friendly_main

from .arguments import prepare_process


def parse_args(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'folders',
        nargs='*',
        metavar='[NAME=]FUSED ... FIRST SECOND',
        help='one folder of fused images per method, then the folders of the first (visible) and second (infrared) '
        'sources; videos with --sequence',
    )
    parser.add_argument(
        '--sequence',
        action='store_true',
        help='these are videos or folders of numbered frames: rate frame by frame, '
        'and over time (warping error, flicker)',
    )
    parser.add_argument(
        '--offset',
        type=float,
        metavar='SECONDS',
        help='of a sequence: what to add to the times of the second stream (default: '
        'that of NAME.json beside the fused video, or 0)',
    )
    parser.add_argument('--fps', type=float, help='of a sequence: frames per second of folders (default: 25)')
    parser.add_argument(
        '--registration', metavar='RIG', help='of a sequence: the rig file that the streams were fused with'
    )
    parser.add_argument(
        '--protocol', default='default', help='whose conventions to follow (default: default); --list shows them'
    )
    parser.add_argument(
        '--metrics',
        nargs='+',
        default=['all'],
        help="names such as EN MI VIF, or 'all' but the slow ones (default: all)",
    )
    parser.add_argument(
        '--per-source',
        action='store_true',
        help='also show the values against either source; the csv files always have them',
    )
    parser.add_argument(
        '--out', default='work_dirs/eval_fusion', help='folder for the tables (default: work_dirs/eval_fusion)'
    )
    parser.add_argument(
        '--plot',
        nargs=2,
        action='append',
        default=[],
        metavar=('KIND', 'FILE'),
        help='bars or radar, and the file to draw it into',
    )
    parser.add_argument(
        '--suffixes',
        nargs=3,
        default=('', '', ''),
        metavar=('FUSED', 'FIRST', 'SECOND'),
        help="endings of the names that tell the files apart: '' _vi _ir for 1.png, 1_vi.png, 1_ir.png",
    )
    parser.add_argument('--bit-depth', type=int, help='significant bits of 16-bit files (default: 16)')
    parser.add_argument(
        '--workers',
        type=int,
        help='processes of one thread each; threads that read files with a GPU (default: the number of cores)',
    )
    parser.add_argument('--device', default='cpu', help="'cpu', or 'cuda' to score batches on a GPU (default: cpu)")
    parser.add_argument(
        '--batch-size', type=int, default=16, help='images of equal size at once on a GPU (default: 16)'
    )
    parser.add_argument('--no-resume', action='store_true', help='forget what earlier runs have scored')
    parser.add_argument('--list', action='store_true', help='show all protocols and their metrics, and end')
    args = parser.parse_args(argv)
    if not args.list and len(args.folders) < 3:
        parser.error('give at least three folders: fused images, first sources, second sources')
    if args.bit_depth is not None and not 1 <= args.bit_depth <= 16:
        parser.error('--bit-depth must lie in 1...16')
    only = [name for name in ('offset', 'fps', 'registration') if getattr(args, name) is not None]
    if only and not args.sequence:
        parser.error(f'--{only[0]} is for sequences: give --sequence too')
    if args.sequence and (args.plot or any(args.suffixes) or args.device != 'cpu'):
        parser.error('--plot, --suffixes and --device are for folders of images, not for sequences')
    if args.fps is not None and not 0 < args.fps < 1e9:
        parser.error(f'--fps must be above 0, got {args.fps}')
    for option in ('workers', 'batch_size'):
        if getattr(args, option) is not None and getattr(args, option) < 1:
            parser.error(f'--{option.replace("_", "-")} must be at least 1')
    return args


@friendly_main
def main(argv=None):
    """Score, print the table, write the files."""
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    from mmfusion.evaluation.folders.evaluation import evaluate_folders
    from mmfusion.evaluation.folders.matching import name_methods
    from mmfusion.evaluation.folders.report import format_report, list_protocols
    from mmfusion.evaluation.reports.plots import KINDS, plot
    from mmfusion.utils import select_device
    from mmfusion.utils.interrupt import remark

    if args.list:
        print(list_protocols())
        return
    metrics = [name for text in args.metrics for name in text.split(',') if name]
    if args.sequence:
        score_sequence(args, metrics)
        return
    for kind, _ in args.plot:
        if kind not in KINDS:
            raise UserError(f'--plot {kind}: choose from {", ".join(KINDS)}')
    *fused, first, second = args.folders
    workers, device = args.workers or len(os.sched_getaffinity(0)), str(select_device(args.device))
    with remark(lambda: 'the same command goes on from here'):
        result = evaluate_folders(
            name_methods(fused),
            first,
            second,
            metrics,
            args.protocol,
            args.out,
            workers,
            device,
            args.batch_size,
            args.suffixes,
            args.bit_depth,
            not args.no_resume,
        )
    for kind, path in args.plot:
        result.files[f'{kind} plot'] = plot(result.summaries, kind, path)
    print(format_report(result, args.per_source))


def score_sequence(args: argparse.Namespace, metrics: list) -> None:
    """Rate fused sequences, print the table, say what was written."""
    from mmfusion.evaluation.folders.matching import name_methods
    from mmfusion.video.sequences import score_sequences, sequence_table

    *fused, first, second = args.folders
    load = dict(registration=args.registration) if args.registration is not None else {}
    if args.bit_depth is not None:
        load['bit_depth'] = dict(first=None, second=args.bit_depth)
    result = score_sequences(
        name_methods(fused, folders=False), first, second, metrics, args.protocol, args.out, args.offset, args.fps, load
    )
    print(sequence_table(result.results, result.metrics))
    for kind, path in result.files.items():
        print(f'{kind:8}  {path}')
    for note in result.notes:
        print(f'note: {note}')
