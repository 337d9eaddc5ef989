"""Running an exported file, without torch: mmfusion run FILE.onnx FIRST SECOND; see --help."""

import argparse
import os
from typing import Union

from mmfusion.utils import UserError, friendly_main


def parse_args(argv=None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description='Fuse two files, or two folders matched by file name, or two videos, '
        'with a file of mmfusion export; needs numpy and onnxruntime (and OpenCV and Pillow for picture files and '
        'videos), not torch'
    )
    parser.add_argument('model', help='.onnx file')
    parser.add_argument(
        'first', help='first source (visible): a picture, a folder, a video, a URL or the number of a camera'
    )
    parser.add_argument('second', help='second source (infrared), likewise')
    parser.add_argument(
        '--out', help='file for two files, folder for two folders (default: fused.png, fused/, fused.mp4)'
    )
    parser.add_argument('--tile', type=int, help='side of the tiles for larger pictures, which bounds the memory')
    parser.add_argument(
        '--overlap',
        type=int,
        metavar='PIXELS',
        help='that tiles share at least (default: what the receptive field needs, '
        'which gives the result of the whole picture; 64 where it is the whole picture)',
    )
    parser.add_argument('--bits', type=int, choices=(8, 16), default=8, help='of the fused picture (default: 8)')
    parser.add_argument('--bit-depth', type=int, help='significant bits of 16-bit files')
    parser.add_argument('--threads', type=int, default=0, help='threads (default: one per core)')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='write boxes with at least this score (default: 0.3)'
    )
    parser.add_argument('--skip-bad', action='store_true', help='go on after pairs that cannot be read')
    parser.add_argument('--skip-existing', action='store_true', help='leave out pairs whose picture is there already')
    parser.add_argument(
        '--registration',
        metavar='RIG',
        help='rig file, made by mmfusion register, for sources that do not lie on each other (needs PyYAML); '
        'for pictures also auto, which estimates each pair (needs scipy too)',
    )
    streams = parser.add_argument_group('videos')
    streams.add_argument('--video', action='store_true', help='take folders of numbered images for streams too')
    streams.add_argument(
        '--offset',
        type=_offset,
        default=0.0,
        metavar='SECONDS|auto',
        help='what to add to the times of the second; auto estimates it from what moves (default: 0)',
    )
    streams.add_argument(
        '--max-offset', type=float, default=2.0, metavar='SECONDS', help='largest offset that auto tries (default: 2)'
    )
    streams.add_argument('--tolerance', type=float, metavar='SECONDS', help='farthest partner of a frame')
    streams.add_argument('--fps', type=float, help='frames per second of folders (default: 25)')
    streams.add_argument('--frames', type=int, metavar='N', help='stop after so many fused frames')
    streams.add_argument('--no-steady', action='store_true', help='do not smooth over time what stands still')
    args = parser.parse_args(argv)
    for name in ('tolerance', 'fps', 'frames', 'max_offset'):
        if getattr(args, name) is not None and not getattr(args, name) > 0:
            parser.error(f'--{name.replace("_", "-")} must be above 0, got {getattr(args, name)}')
    return args


def _offset(text: str) -> Union[float, str]:
    if text == 'auto':
        return text
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'a number of seconds or auto, got {text!r}') from None
    if not abs(seconds) < 1e6:
        raise argparse.ArgumentTypeError(f'seconds between -1e6 and 1e6, got {text}')
    return seconds


@friendly_main
def main(argv=None) -> None:
    """Fuse, and say what was written."""
    args = parse_args(argv)
    from mmfusion.runtime import RuntimeModel, run_pairs
    from mmfusion.runtime.video import is_stream

    model = RuntimeModel(args.model, args.threads)
    if args.video or is_stream(args.first) or is_stream(args.second):
        _run_streams(model, args)
        return
    out = args.out or ('fused' if os.path.isdir(args.first) else 'fused.png')
    options = dict(tile=args.tile, overlap=args.overlap, bits=args.bits, bit_depth=args.bit_depth)
    done = skipped = 0
    for pair in run_pairs(
        model,
        args.first,
        args.second,
        out,
        args.skip_bad,
        args.skip_existing,
        args.score_thr,
        args.registration,
        **options,
    ):
        if pair.skipped:
            skipped += 1
            print(f'{pair.name} is skipped: {pair.skipped}')
            continue
        done += 1
        if done <= 3:
            print('wrote ' + ', '.join(pair.files.values()))
    print(f'{done} of {done + skipped} pairs fused by {model.info.name}' + (f', {skipped} skipped' if skipped else ''))


def _run_streams(model, args: argparse.Namespace) -> None:
    from mmfusion.runtime import run_streams

    if args.bits != 8:
        raise UserError('videos have 8 bits; give two folders without --video for 16')
    found = run_streams(
        model,
        args.first,
        args.second,
        args.out or 'fused.mp4',
        args.offset,
        args.tolerance,
        args.fps,
        args.frames,
        not args.no_steady,
        args.score_thr,
        args.registration,
        args.max_offset,
        tile=args.tile,
        overlap=args.overlap,
        bit_depth=args.bit_depth,
    )
    print('wrote ' + ', '.join(found.files.values()))
    print(
        f'{found.frames} frames fused by {model.info.name}'
        + (f', {found.left_out} left out' if found.left_out else '')
        + (f', offset {found.offset:+.3f} s' if found.offset else '')
    )
