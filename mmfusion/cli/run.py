"""Running an exported file, without torch: mmfusion run FILE.onnx FIRST SECOND; see --help."""

import argparse
import os

from mmfusion.utils import friendly_main


def parse_args(argv=None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description='Fuse two files, or two folders matched by file name, with a file of mmfusion export; needs numpy and onnxruntime, '
        'not torch'
    )
    parser.add_argument('model', help='.onnx file')
    parser.add_argument('first', help='first source (visible): a file or a folder')
    parser.add_argument('second', help='second source (infrared): a file or a folder')
    parser.add_argument('--out', help='file for two files, folder for two folders (default: fused.png, fused/)')
    parser.add_argument('--tile', type=int, help='side of the tiles for larger pictures, which bounds the memory')
    parser.add_argument('--overlap', type=int, default=64, help='pixels that tiles share at least (default: 64)')
    parser.add_argument('--bits', type=int, choices=(8, 16), default=8, help='of the fused picture (default: 8)')
    parser.add_argument('--bit-depth', type=int, help='significant bits of 16-bit files')
    parser.add_argument('--threads', type=int, default=0, help='threads (default: one per core)')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='write boxes with at least this score (default: 0.3)'
    )
    parser.add_argument('--skip-bad', action='store_true', help='go on after pairs that cannot be read')
    parser.add_argument('--skip-existing', action='store_true', help='leave out pairs whose picture is there already')
    return parser.parse_args(argv)


@friendly_main
def main(argv=None) -> None:
    """Fuse, and say what was written."""
    args = parse_args(argv)
    from mmfusion.runtime import RuntimeModel, run_pairs

    model = RuntimeModel(args.model, args.threads)
    out = args.out or ('fused' if os.path.isdir(args.first) else 'fused.png')
    options = dict(tile=args.tile, overlap=args.overlap, bits=args.bits, bit_depth=args.bit_depth)
    done = skipped = 0
    for pair in run_pairs(
        model, args.first, args.second, out, args.skip_bad, args.skip_existing, args.score_thr, **options
    ):
        if pair.skipped:
            skipped += 1
            print(f'{pair.name} is skipped: {pair.skipped}')
            continue
        done += 1
        if done <= 3:
            print('wrote ' + ', '.join(pair.files.values()))
    print(f'{done} of {done + skipped} pairs fused by {model.info.name}' + (f', {skipped} skipped' if skipped else ''))
