"""Figures of docs/en/video.md: pairing, flicker, speed and memory of fused streams.

    python benchmarks/video.py pairing                       offset of 120 ms, 5 % of the frames of both streams lost
    python benchmarks/video.py flicker --sequences 3         still pixels, by fuser, with and without smoothing
    python benchmarks/video.py speed --threads 2             640x480 from files into a file, by fuser
    python benchmarks/video.py memory                        resident memory over 500 frames
    python benchmarks/video.py folders A B [--fps 25]        a real sequence: pairs and scores
    python benchmarks/video.py picture OUT.png               contact sheet of a fused rendered sequence

Each prints a table in markdown. Rendered streams come from DemoSequence, whose truth is known.
"""

import argparse
import os
import tempfile
import time

import cv2
import numpy as np
import psutil

from mmfusion.utils import setup_cpu_env

setup_cpu_env()

import torch  # noqa: E402

from mmfusion.apis import FusionInferencer  # noqa: E402
from mmfusion.datasets import DemoSequence  # noqa: E402
from mmfusion.video import (  # noqa: E402
    FusedVideo,
    MotionTrack,
    PairedFrames,
    RenderedStream,
    SequenceScores,
    estimate_offset,
    record,
    write_stream,
)
from mmfusion.video.pairing import right_pairs  # noqa: E402

FUSERS = ['LaplacianPyramidFuser', 'plain_conv_det', 'plain_conv_rendered', 'tim', 'moe_fusion', 'tdfusion']
LOOSE = 0.005  # seconds by which another frame may be nearer, since stamps and estimates are no truer than that


def cameras(sequence, frames, rates=(25, 25), lost=0.0, offset=0.0, seed=0):
    """Both streams of a sequence; the second begins between two frames of the first."""
    seconds = frames / rates[0]
    return (
        RenderedStream(sequence, 'visible', frames, rates[0], lost=lost, seed=seed),
        RenderedStream(sequence, 'infrared', int(seconds * rates[1]), rates[1], 0.013, offset, lost, seed=seed + 100),
    )


def part_right(first, second, offset):
    """Part of the first stream's frames with the right partner, or rightly without one."""
    names = {f'{number:06d}': index for index, number in enumerate(second.numbers)}

    def blind(stream):
        return (Stub(f'{number:06d}', stamp) for number, stamp in zip(stream.numbers, stream.stamps))

    found = {
        pair.first.name: names[pair.second.name]
        for pair in PairedFrames(blind(first), blind(second), offset, None, 1 / second.fps)
    }
    nearest, strict, loose = right_pairs(first.taken, second.taken), 0, 0
    for number, taken, index in zip(first.numbers, first.taken, nearest):
        partner, distance = found.get(f'{number:06d}'), np.abs(second.taken - taken)
        if partner is None:
            right = near = distance[index] > 0.5 / second.fps
        else:
            right, near = partner == index, distance[partner] <= distance[index] + LOOSE
        strict, loose = strict + right, loose + (right or near)
    return strict / len(first.taken), loose / len(first.taken)


class Stub:
    """A frame without a picture."""

    def __init__(self, name, stamp):
        self.name, self.time = name, float(stamp)


def pairing(args):
    """Pairs with the known and with the estimated offset."""
    print('| sequence | rates | known offset: right | estimate | its error | right with it | within 5 ms |')
    print('|---|---|---|---|---|---|---|')
    for rates in ((25, 25), (25, 30), (25, 9)):
        for seed in range(args.sequences):
            sequence = DemoSequence((120, 160), seed=seed)
            first, second = cameras(sequence, args.frames, rates, 0.05, 0.12, seed)
            known, _ = part_right(first, second, 0.12)
            estimate = estimate_offset(MotionTrack(first), MotionTrack(second))
            row = f'| {seed} | {rates[0]} and {rates[1]} | {100 * known:.1f} % '
            if estimate.accepted:
                strict, loose = part_right(first, second, estimate.offset)
                row += f'| {estimate.offset:.3f} s | {1000 * (estimate.offset - 0.12):+.1f} ms | {100 * strict:.1f} % | {100 * loose:.1f} % |'
            else:
                row += f'| refused | {1000 * (estimate.offset - 0.12):+.1f} ms | | |'
            print(row, flush=True)


def flicker(args):
    """Mean absolute change of still pixels by that of the source that changes more."""
    print('| fuser | as fused | smoothed |\n|---|---|---|')
    rendered = []
    for seed in range(args.sequences):
        sequence = DemoSequence((240, 320), seed=seed)
        times = np.arange(args.frames) / 10
        pairs = [[sequence.render(camera, now) for now in times] for camera in ('visible', 'infrared')]
        rendered.append((sequence, sequence.still(times), pairs))
    for name in args.fusers or FUSERS:
        fuse, ratios = FusionInferencer(name), {False: [], True: []}
        for sequence, still, _ in rendered:
            for steady in ratios:
                streams = [RenderedStream(sequence, camera, args.frames, 10) for camera in ('visible', 'infrared')]
                with FusedVideo(*streams, fuse, steady=steady) as video:
                    views = [frame.view for frame in video]
                change = {
                    kind: np.abs(np.diff([gray(getattr(view, kind)) for view in views], axis=0))[:, still].mean()
                    for kind in ('fused', 'first', 'second')
                }
                ratios[steady].append(change['fused'] / max(change['first'], change['second']))
        print(f'| {name} | {max(ratios[False]):.2f} | {max(ratios[True]):.2f} |', flush=True)


def gray(image):
    """(H, W) float32."""
    image = np.ascontiguousarray(image)
    return (image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)).astype(np.float32)


def speed(args):
    """Frames per second from files into a file, and what the parts cost."""
    torch.set_num_threads(args.threads)
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        files = args.files or [os.path.join(folder, f'{camera}.mp4') for camera in ('visible', 'infrared')]
        if not args.files:
            for file, stream in zip(files, cameras(DemoSequence((480, 640), seed=1), args.frames)):
                write_stream(stream, file)
        for name in args.fusers or FUSERS:
            fuse = FusionInferencer(name)
            for limit in (5, args.frames):  # the first is to warm up
                with FusedVideo(*files, fuse) as video:
                    rate = record(video, os.path.join(folder, 'fused.mp4'), limit=limit, progress=False)['rate']
            used = rate['milliseconds_per_frame']
            if not parts:
                parts = list(used)
                print('| fuser | frames/s | ' + ' | '.join(f'{part}, ms' for part in parts) + ' |')
                print('|---|' + '---|' * (len(parts) + 1))
            values = ' | '.join(f'{used[part]:.1f}' for part in parts)
            print(f'| {name} | {rate["frames_per_second"]:.1f} | {values} |', flush=True)


def memory(args):
    """Resident memory while 500 frames are fused and written."""
    process, seen = psutil.Process(), {}
    first, second = cameras(DemoSequence((240, 320), seed=1), args.frames, (25, 25), 0.05)

    def see(frame):
        number = int(frame.name)
        if number in marks:
            seen[number] = process.memory_info().rss / 2**20

    marks = {50, *range(100, args.frames + 1, 100)}
    with tempfile.TemporaryDirectory() as folder, FusedVideo(first, second, FusionInferencer(FUSERS[0])) as video:
        first.numbers, begin = list(first.numbers), time.perf_counter()
        marks = {min(first.numbers, key=lambda number: abs(number - mark)) for mark in marks}
        summary = record(video, os.path.join(folder, 'a.mp4'), scores=SequenceScores(), see=see, progress=False)
    print('| frame | ' + ' | '.join(map(str, seen)) + ' |\n|---|' + '---|' * len(seen))
    print('| resident memory, MiB | ' + ' | '.join(f'{value:.0f}' for value in seen.values()) + ' |')
    print(f'\n{summary["frames"]["paired"]} frames in {time.perf_counter() - begin:.0f} s')


def folders(args):
    """Pairs and scores of a real sequence."""
    print('| fuser | frames | flicker of the fused by the sources | warping error x 1000: fused | first | second |')
    print('|---|---|---|---|---|---|')
    with tempfile.TemporaryDirectory() as folder:
        for name in args.fusers or FUSERS[:2]:
            with FusedVideo(args.first, args.second, FusionInferencer(name), fps=args.fps) as video:
                summary = record(video, os.path.join(folder, 'a.mp4'), scores=SequenceScores(), progress=False)
            scores = summary['scores']
            errors = ' | '.join(f'{scores["warping_error"][kind]:.2f}' for kind in ('fused', 'first', 'second'))
            print(f'| {name} | {summary["frames"]["paired"]} | {scores["flicker_ratio"]:.2f} | {errors} |', flush=True)


def picture(args):
    """Contact sheet: visible, infrared and fused at four times."""
    sequence = DemoSequence((180, 240), seed=args.seed, night_ratio=1.0)
    rows = []
    with FusedVideo(*cameras(sequence, 76), FusionInferencer('plain_conv_rendered')) as video:
        for number, frame in enumerate(video):
            if number % 25 == 0:
                images = [frame.view.first, frame.view.second, frame.view.fused]
                rows.append(
                    np.hstack([image if image.ndim == 3 else np.repeat(image[..., None], 3, 2) for image in images])
                )
    cv2.imwrite(args.out, np.vstack(rows[:4])[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(f'wrote {args.out}: {os.path.getsize(args.out) / 1000:.0f} kB')


def parse_args(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='what', required=True)
    for function, frames in ((pairing, 250), (flicker, 20), (speed, 60), (memory, 500), (folders, 0), (picture, 0)):
        command = commands.add_parser(function.__name__, help=function.__doc__)
        command.set_defaults(function=function)
        command.add_argument('--frames', type=int, default=frames)
        command.add_argument('--fusers', nargs='+')
        command.add_argument('--sequences', type=int, default=4)
        command.add_argument('--threads', type=int, default=2)
        command.add_argument('--seed', type=int, default=1)
        if function is speed:
            command.add_argument('--files', nargs=2, help='videos in place of rendered ones')
        if function is folders:
            command.add_argument('first')
            command.add_argument('second')
            command.add_argument('--fps', type=float, default=25.0)
        if function is picture:
            command.add_argument('out')
    return parser.parse_args(argv)


if __name__ == '__main__':
    arguments = parse_args()
    arguments.function(arguments)
