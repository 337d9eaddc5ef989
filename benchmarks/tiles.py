"""Tiled against whole images: difference, seams, pixels computed and peak memory of fusers, for
docs/en/large_images.md.

    python benchmarks/tiles.py --first vi.png --second ir.png --size 1536 2048 --tile 512
    python benchmarks/tiles.py --size 3000 4000 --tile auto --only-tiled --tiles 2

Sources are a pair of files, enlarged to the size, or a rendered pair. Every fuser runs in a process of its own, whose
highest resident memory counts, with all libraries and both images in it. Differences are in gray levels of 255. A seam
is what the tiled picture jumps by, from one pixel to the next, and the whole one does not, across a line at which a
tile begins or ceases to count; of all pixels along all such lines the largest jump counts. ``--tiles`` stops after so
many, for the memory alone: later tiles take what the first ones took.
"""

import argparse
import contextlib
import json
import subprocess
import sys
from typing import List, Optional

import cv2
import numpy as np
import torch

COLUMNS = ('fuser', 'receptive field', 'sums', 'looks', 'tile', 'largest difference', 'mean difference', 'seam')
HEAD = f'| {" | ".join(COLUMNS)} | pixels computed | memory whole | memory tiled |'


def sources(args: argparse.Namespace) -> List[np.ndarray]:
    """Both sources as 8-bit images of the size."""
    from mmfusion.datasets import DemoPairs
    from mmfusion.fileio.image_reading import read_image

    if args.first:
        images = [read_image(args.first), read_image(args.second)]
    else:
        item = DemoPairs(length=1, size=(480, 640), seed=3).get_data_info(0)
        images = [item['first'], item['second']]
    enlarged = [cv2.resize(image, tuple(args.size[::-1]), interpolation=cv2.INTER_CUBIC) for image in images]
    return [image if image.ndim == 3 else image[..., None] for image in enlarged]  # resize drops a single channel


def build(name: str):
    """A shipped model by name, or a fuser of the registry with the weights that it begins with."""
    from mmfusion.model_zoo import load_model
    from mmfusion.model_zoo.catalog import has_model
    from mmfusion.registry import MODELS
    from mmfusion.utils import register_all_modules

    register_all_modules()
    if has_model(name):
        return load_model(name).fuser
    torch.manual_seed(0)
    return MODELS.build(dict(type=name)).eval()


def seam(difference: torch.Tensor, cutting) -> float:
    """See the head of this file; ``difference`` is (H, W) in gray levels."""
    worst = 0.0
    for axis, image in ((cutting.rows, difference), (cutting.columns, difference.t())):
        lines = set()
        for start, weight in zip(axis.starts, axis.weights):
            counted = weight.nonzero().flatten()
            lines |= {start + int(counted[0]), start + int(counted[-1]) + 1}
        for line in lines - {0, len(image)}:
            worst = max(worst, (image[line] - image[line - 1]).abs().max().item())
    return worst


class _Enough(Exception):
    """So many tiles were fused as were asked for."""


def count_looks(fuser, stop_after: int) -> List[int]:
    """Note each look at all tiles for sums over the picture. With ``stop_after``, so many tiles are looked at, and then
    fused before it ends.
    """
    from mmfusion.models.fusers import tiling
    from mmfusion.models.layers.whole_picture import PictureStatistics

    fuse, look, settle, looks, fused = fuser.fuse, tiling._look, PictureStatistics.settle, [], []

    def counted(*sources, **extra):
        if stop_after and len(fused) == stop_after:
            raise _Enough
        output = fuse(*sources, **extra)
        if max(sources[0].shape[-2:]) > 256:  # smaller ones measure its need for memory
            fused.append(1)
        return output

    def short_look(fuse, statistics, parts, watcher):
        fused.clear()
        look(fuse, statistics, parts[: stop_after or None], watcher)
        fused.clear()

    def noted(statistics, tolerance):
        looks.append(1)
        return settle(statistics, tolerance)

    fuser.fuse, tiling._look, PictureStatistics.settle = counted, short_look, noted
    return looks


def one(args: argparse.Namespace) -> dict:
    """Figures of one fuser, or of one half of them, in this process."""
    from mmfusion.models.fusers.tiling import plan_cut
    from mmfusion.models.layers import split_color
    from mmfusion.profiling.timing import peak_rss

    fuser, images = build(args.fuser), sources(args)
    tensors = [torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255 for image in images]
    first, second, _ = split_color(*tensors, fuser.color_space, fuser.channels)
    del images, tensors
    cutting, results, record = None, {}, dict(fuser=args.fuser, type=type(fuser).__name__)
    tile = 'auto' if args.tile == ['auto'] else (int(args.tile[0]), int(args.tile[-1]))
    for kind in args.kinds:
        fuser.set_tile(tile if kind == 'tiled' else None)
        if fuser.reach_at(*first.shape[-2:]) is None:
            fuser.held_reach()  # while its method is its own: what replaces it holds for no copy
        looks = count_looks(fuser, args.tiles) if kind == 'tiled' else []
        with torch.no_grad():
            with contextlib.suppress(_Enough):
                results[kind] = fuser(first, second).fused
            cutting = plan_cut(fuser, first) if kind == 'tiled' else None
    record['peak'] = peak_rss()
    if cutting is not None:
        record['tile'] = cutting.rows.weights.shape[1], cutting.columns.weights.shape[1]
        record['computed'] = cutting.number * record['tile'][0] * record['tile'][1] / first.shape[-2:].numel()
        reach = fuser.reach_at(*first.shape[-2:])
        record['sums'], record['reach'] = (0, reach) if reach is not None else fuser.held_reach()
        record['looks'] = len(looks)
    if len(results) == 2 and cutting is not None:
        difference = (results['tiled'] - results['whole'])[0].mean(0) * 255
        record.update(
            largest=difference.abs().max().item(), mean=difference.abs().mean().item(), seam=seam(difference, cutting)
        )
    return record


def measure(args: argparse.Namespace, fuser: str, kinds: List[str]) -> Optional[dict]:
    """The same in a new process."""
    command = [sys.executable, __file__, '--one', fuser, '--kinds', *kinds, '--tile', *args.tile]
    command += ['--size', *map(str, args.size)]
    command += ['--tiles', str(args.tiles)]
    command += ['--first', args.first, '--second', args.second] if args.first else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f'{fuser}: {done.stderr.strip().splitlines()[-1:]}', file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--fusers', nargs='+', help='names of models or fusers (default: all that ship)')
    parser.add_argument('--size', nargs=2, type=int, default=[1536, 2048], metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--tile', nargs='+', default=['512'], help='auto, a side, or height and width')
    parser.add_argument('--first')
    parser.add_argument('--second')
    parser.add_argument('--only-tiled', action='store_true', help='where the whole image does not fit into memory')
    parser.add_argument('--tiles', type=int, default=0, help='stop after so many (default: fuse all)')
    parser.add_argument('--one', dest='fuser', help=argparse.SUPPRESS)
    parser.add_argument('--kinds', nargs='+', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.fuser:
        print(json.dumps(one(args)))
        return
    if args.fusers is None:
        from mmfusion.model_zoo.catalog import SHIPPED, card_files

        args.fusers = [name for name, path in card_files().items() if path.parent == SHIPPED]
    print(HEAD)
    print('|---' * 11 + '|')
    for name in args.fusers:
        tiled = measure(args, name, ['tiled'])
        whole = None if args.only_tiled else measure(args, name, ['whole'])
        both = None if args.only_tiled else measure(args, name, ['whole', 'tiled'])
        print(row(name, tiled, whole, both), flush=True)


def row(name: str, tiled: Optional[dict], whole: Optional[dict], both: Optional[dict]) -> str:
    """A line of the table."""
    if tiled is None:
        return f'| {name} | failed |' + ' |' * 9
    reach = tiled.get('reach', '')
    cells = [name, 'whole image' if reach is None else f'{reach}']
    cells += [f'{tiled[key]}' if key in tiled else '' for key in ('sums', 'looks')]
    cells += ['{}x{}'.format(*tiled.get('tile', ('', '')))]
    found = [f'{both[key]:.2g}' for key in ('largest', 'mean', 'seam')] if both and 'largest' in both else ['', '', '']
    computed = f'{tiled["computed"]:.2f}' if 'computed' in tiled else '1'
    cells += [*found, computed, *(f'{run["peak"] / 2**30:.2f} GiB' if run else '' for run in (whole, tiled))]
    return '| ' + ' | '.join(cells) + ' |'


if __name__ == '__main__':
    main()
