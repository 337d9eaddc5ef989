"""Register the second image of a pair onto the first, or say that it cannot be done.

    mmfusion register visible.png infrared.png --json
    mmfusion register data/vi data/ir --rig rig.yaml          one transform for a fixed pair of cameras
    mmfusion register data/MSRS/test --check --page check.html    how well is a "registered" set registered?

A pair below the threshold of confidence is refused with the figures, and nothing is warped; the exit code is then 1.
"""

import argparse
import json
import os
from typing import Tuple

from mmfusion.utils.errors import UserError, friendly_main


def parse_args(argv=None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('first', help='first image (visible), or a folder; it is never warped')
    parser.add_argument(
        'second',
        nargs='?',
        help='second image (infrared), or a folder; sizes may differ. Without it the first is a folder that holds '
        'both folders, such as vi and ir',
    )
    parser.add_argument(
        '--model',
        default='similarity',
        choices=['translation', 'similarity', 'affine', 'homography'],
        help='kind of transform (default: similarity)',
    )
    parser.add_argument(
        '--threshold', type=float, default=0.5, help='least confidence of an accepted pair (default: 0.5)'
    )
    parser.add_argument(
        '--scales',
        type=float,
        nargs=2,
        metavar=('LOW', 'HIGH'),
        help='size of the view of the second image relative to the first (default: 0.88 1.14 for images of one size, '
        '0.5 2 for others)',
    )
    parser.add_argument(
        '--max-shift', type=float, default=0.25, help='largest shift as a part of the size (default: 0.25)'
    )
    parser.add_argument('--json', action='store_true', help='print the result as JSON')
    parser.add_argument('--out', help='of two files: write the second image on the pixels of the first')
    parser.add_argument('--picture', metavar='FILE', help='of two files: write check patterns before and after')
    parser.add_argument(
        '--rig', metavar='FILE', help='of two folders: estimate one transform from all pairs, and write it'
    )
    parser.add_argument(
        '--check', action='store_true', help='of two folders: list how far each pair is off, worst first'
    )
    parser.add_argument(
        '--page',
        metavar='FILE',
        help='of two folders: write an HTML page with check patterns before and after, worst first',
    )
    parser.add_argument('--page-pairs', type=int, default=40, metavar='N', help='pictures on that page (default: 40)')
    parser.add_argument('--csv', metavar='FILE', help='of two folders: write a row for each pair')
    return parser.parse_args(argv)


@friendly_main
def main(argv=None) -> None:
    """Register, and say what was found."""
    args = parse_args(argv)
    if args.second is None:
        args.first, args.second = _both(args.first)
    folders = [os.path.isdir(path) for path in (args.first, args.second)]
    if folders[0] != folders[1]:
        raise UserError(f'{args.first} and {args.second}: give two files or two folders')
    options = dict(model=args.model, threshold=args.threshold, scales=args.scales, max_shift=args.max_shift)
    if folders[0]:
        _refuse(args, 'out', 'picture', of='two files')
        _folders(args, options)
    else:
        _refuse(args, 'rig', 'check', 'page', 'csv', of='two folders')
        _files(args, options)


def _both(folder: str) -> Tuple[str, str]:
    """The folders of the visible and of the infrared images below one."""
    from mmfusion.registration.folders import find_source_folders

    if not os.path.isdir(folder):
        raise UserError(f'{folder} is no folder; give two images, two folders, or one folder that holds both')
    return find_source_folders(folder)


def _refuse(args: argparse.Namespace, *names: str, of: str) -> None:
    wrong = [f'--{name}' for name in names if getattr(args, name)]
    if wrong:
        raise UserError(f'{" and ".join(wrong)} {"need" if len(wrong) > 1 else "needs"} {of}')


def _files(args: argparse.Namespace, options: dict) -> None:
    from mmfusion.fileio.image_reading import read_image
    from mmfusion.fileio.image_writing import write_image
    from mmfusion.registration import register_pair
    from mmfusion.registration.pictures import before_and_after

    first, second = (read_image(path) for path in (args.first, args.second))
    result = register_pair(first, second, **options)
    print(json.dumps(result.to_dict()) if args.json else describe(result))
    if args.picture:
        write_image(args.picture, before_and_after(first, second, result)[..., ::-1])
    if args.out and result.accepted:
        moved = result.warp(second)
        write_image(args.out, moved[..., ::-1] if moved.shape[2] == 3 else moved[..., 0])
    if not result.accepted:
        raise SystemExit(1)


def describe(result) -> str:
    """A registration in words."""
    rows = '\n'.join('  ' + '  '.join(f'{value:12.6g}' for value in row) for row in result.matrix)
    verdict = 'accepted' if result.accepted else 'refused: ' + '; '.join(result.reasons)
    figures = ', '.join(f'{name} {value:.2f}' for name, value in result.checks.items())
    return (
        f'{result.model}, from pixels (x, y, 1) of the second image to pixels of the first:\n{rows}\n'
        f'confidence {result.confidence:.2f}, {verdict}\n({figures})'
    )


def _folders(args: argparse.Namespace, options: dict) -> None:
    from mmfusion.registration import estimate_rig
    from mmfusion.registration.folders import find_pairs, register_files, summarize, worst_first, write_rows
    from mmfusion.utils.progress import progress_bar

    pairs, rows = find_pairs(args.first, args.second), []
    with progress_bar(len(pairs), 'registering') as bar:
        for row in register_files(pairs, **options):
            rows.append(row)
            bar.update()
    listed = worst_first(rows) if args.check else rows
    if args.json:
        print(
            json.dumps(
                [
                    dict(name=row.name, **(row.result.to_dict() if row.result else dict(message=row.message)))
                    for row in listed
                ]
            )
        )
    else:
        for row in listed:
            values = row.row()
            print(
                f'{row.name:24}'
                + (f'off by {values["offset"]:8.2f} px, confidence {values["confidence"]:.2f}' if row.result else '')
                + (f'  refused: {values["reasons"]}' if values['reasons'] else '')
            )
        print(summarize(rows))
    if args.csv:
        write_rows(args.csv, listed)
    if args.page:
        from mmfusion.experiments.registration_page import write_registration_page

        title = f'Registration of {args.first} and {args.second}'
        write_registration_page(
            args.page, rows, {name: (first, second) for name, first, second in pairs}, title, args.page_pairs
        )
    if args.rig:
        rig = estimate_rig([row.result for row in rows if row.result is not None])
        rig.save(args.rig)
        print(f'wrote {args.rig}: {rig.pairs} pairs, which scatter by {rig.spread:.1f} pixels (median)')
