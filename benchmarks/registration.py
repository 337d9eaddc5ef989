"""Registration against known warps: errors, refusals, and the fit of the gate.

    python benchmarks/registration.py --rendered 40 --pairs MSRS=data/MSRS/test/vi,data/MSRS/test/ir --warps 10 --out \
        warps.json
    python benchmarks/registration.py --fit warps.json

Each pair is warped by seeded transforms: up to 12 pixels, 3 degrees and 6 % at a width of 320 (``known``), so far that
it lies just outside a search that is narrowed for it, which finds the best wrong place nearby (``beside``), far outside
(``far``), or it gets the second image of another pair (``stranger``). The error is the mean distance of the corners
from where they belong, in pixels of a width of 320. Pairs of real data sets are taken as registered, which they are
within 1 to 3 such pixels.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from mmfusion.fileio.image_reading import read_image
from mmfusion.fileio.whole import write_text
from mmfusion.registration import register_pair
from mmfusion.registration.folders import find_pairs
from mmfusion.registration.gate import FEATURES, describe
from mmfusion.registration.geometry import center, corner_distance, corners, similarity_matrix, transform_points

GOOD, BAD = 3.0, 8.0
UNIT = 320
RANGES = dict(  # shift, degrees, scale
    known=((0, 12), (0, 3), (0, 0.06)), far=((100, 140), (12, 40), (0.2, 0.35)), beside=((15, 35), (4, 9), (0, 0.06))
)
NARROW = 0.04  # largest shift that is searched where the place lies beside it


def draw_warp(rng: np.random.Generator, shape: Tuple[int, int], kind: str) -> np.ndarray:
    """From pixels of the second image as it was to where the warp puts them."""
    shift, angle, scale = RANGES[kind]
    signed = lambda low, high: rng.uniform(low, high) * rng.choice((-1, 1))  # noqa: E731
    move = np.array([signed(*shift), signed(*shift)]) * shape[1] / UNIT
    return similarity_matrix(1 + signed(*scale), np.deg2rad(signed(*angle)), center(shape), center(shape) + move)


def rendered(count: int, size: Tuple[int, int]) -> Iterator[Tuple[str, np.ndarray, np.ndarray]]:
    """Pairs of the demo data set."""
    from mmfusion.datasets import DemoPairs

    pairs = DemoPairs(length=count, size=size, seed=7)
    for index in range(count):
        item = pairs.get_data_info(index)
        yield f'rendered/{index}', item['first'], item['second']


def from_folders(name: str, first: str, second: str, limit: int) -> Iterator[Tuple[str, np.ndarray, np.ndarray]]:
    """Evenly spread pairs of two folders."""
    pairs = find_pairs(first, second)
    for index in np.unique(np.linspace(0, len(pairs) - 1, min(limit, len(pairs))).round().astype(int)):
        stem, *paths = pairs[index]
        yield (f'{name}/{stem}', *(read_image(path) for path in paths))


def measure(cases: List[tuple], warps: Sequence[int], kinds: List[str], model: str, out: Optional[str]) -> List[dict]:
    """Register every case under every warp; with ``out`` the rows so far are kept there, for runs that are cut off."""
    rows = []
    for number, (name, first, second) in enumerate(cases):
        for warp in warps:
            for kind in kinds:
                rng = np.random.default_rng([number, warp])
                moving = cases[(number + 1 + len(cases) // 2) % len(cases)][2] if kind == 'stranger' else second
                shape = moving.shape[:2]
                matrix = draw_warp(rng, shape, 'known' if kind == 'stranger' else kind)
                moved = cv2.warpPerspective(moving, matrix, shape[::-1])
                start = time.process_time()
                reach = dict(max_shift=NARROW) if kind == 'beside' else {}
                result = register_pair(first, moved, model, **reach)
                seconds = time.process_time() - start
                unit = UNIT / first.shape[1]
                truth = np.linalg.inv(matrix)
                error = 1e3 if kind == 'stranger' else corner_distance(result.matrix, truth, shape) * unit
                rows.append(
                    dict(
                        set=name.split('/')[0],
                        pair=name,
                        warp=warp,
                        kind=kind,
                        error=error,
                        seconds=seconds,
                        confidence=result.confidence,
                        accepted=result.accepted,
                        before=corner_distance(np.eye(3), truth, shape) * unit,
                        checks=result.checks,
                        # where the corners of the second image as it was come to lie: equal for all warps of a pair if
                        # nothing is left to chance
                        corners=(transform_points(result.matrix @ matrix, corners(shape)) * unit).tolist(),
                    )
                )
        if out:
            write_text(out, json.dumps(rows))
    return rows


def report(rows: List[dict]) -> str:
    """Errors and refusals by set and kind of warp."""
    lines = [
        f'{"set":12}{"warp":10}{"count":>6}{"before":>8}{"median":>8}{"90 %":>8}{"scatter":>8}'
        f'{"< 3 px":>8}{"refused":>9}{"> 8 px":>8}{"refused":>9}{"s":>7}'
    ]
    keys = sorted({(row['kind'], row['set']) for row in rows})
    for kind, name in [*keys, *((kind, 'all') for kind in sorted({key[0] for key in keys}))]:
        part = [row for row in rows if row['kind'] == kind and name in (row['set'], 'all')]
        error, refused = np.array([row['error'] for row in part]), ~np.array([row['accepted'] for row in part])
        good, bad = error < GOOD, error > BAD
        shares = [f'{refused[mask].mean():.0%}' if mask.any() else '-' for mask in (good, bad)]
        before, seconds = (np.median([row[key] for row in part]) for key in ('before', 'seconds'))
        lines.append(
            f'{name:12}{kind:10}{len(part):6}{before:8.1f}{np.median(error):8.2f}{np.percentile(error, 90):8.2f}{scatter(part):8.2f}{good.sum():8}'
            f'{shares[0]:>9}{bad.sum():8}{shares[1]:>9}{seconds:7.2f}'
        )
    return '\n'.join(lines)


def scatter(rows: List[dict]) -> float:
    """Median distance of accepted results from the median place of the same pair under all its warps: what is left to
    chance, without the set.
    """
    places: Dict[str, list] = {}
    for row in rows:
        if row['accepted']:
            places.setdefault(row['pair'], []).append(row['corners'])
    found = [np.array(place) for place in places.values() if len(place) > 2]
    apart = [np.linalg.norm(place - np.median(place, axis=0), axis=-1).mean(-1) for place in found]
    return float(np.median(np.concatenate(apart))) if apart else float('nan')


def fit(rows: List[dict]) -> Dict[str, float]:
    """Logistic regression of right (below 3 px) against wrong (above 8 px), with a small ridge; both sides weigh the
    same.

    No figure may count the wrong way, as one of a few that say the same does if it is let.
    """
    from scipy.optimize import minimize

    rows = [row for row in rows if not GOOD <= row['error'] <= BAD]
    inputs = np.array([list(describe(row['checks']).values()) for row in rows])
    right = np.array([row['error'] < GOOD for row in rows])
    weight = np.where(right, 0.5 / right.sum(), 0.5 / (~right).sum())
    inputs = np.c_[inputs, np.ones(len(inputs))]

    def loss(parameters: np.ndarray) -> float:
        margin = (inputs @ parameters) * np.where(right, 1, -1)
        return float((weight * np.logaddexp(0, -margin)).sum() + 1e-3 * (parameters[:-1] ** 2).sum())

    bounds = [(0, None)] * (inputs.shape[1] - 1) + [(None, None)]
    found = minimize(loss, np.zeros(inputs.shape[1]), method='L-BFGS-B', bounds=bounds).x
    score = inputs @ found
    print(
        f'{right.sum()} right, {(~right).sum()} wrong; refused at 0.5: {(score[right] < 0).mean():.1%} of '
        f'the right ones, '
        f'{(score[~right] < 0).mean():.1%} of the wrong ones'
    )
    return dict(zip([*FEATURES, 'bias'], found.round(2).tolist()))


def main() -> None:
    """Measure or fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rendered', type=int, default=0, metavar='N', help='rendered pairs')
    parser.add_argument(
        '--size', type=int, nargs=2, default=(480, 640), metavar=('HEIGHT', 'WIDTH'), help='of rendered pairs'
    )
    parser.add_argument('--pairs', action='append', default=[], metavar='NAME=FIRST,SECOND', help='two folders')
    parser.add_argument('--limit', type=int, default=50, help='most pairs of a folder')
    parser.add_argument('--warps', type=int, default=1, help='warps of each pair')
    parser.add_argument('--start', type=int, default=0, help='number of the first of them, for a measurement in pieces')
    parser.add_argument(
        '--show', nargs='+', metavar='JSON', help='show the table of rows that were measured before, in pieces perhaps'
    )
    parser.add_argument('--kinds', nargs='+', default=['known'], choices=['known', 'far', 'beside', 'stranger'])
    parser.add_argument('--model', default='similarity')
    parser.add_argument('--out', help='json for the rows')
    parser.add_argument('--fit', nargs='+', metavar='JSON', help='fit the gate to rows that were measured before')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.fit or args.show:
        rows = [row for path in args.fit or args.show for row in json.loads(Path(path).read_text())]
        print(fit(rows) if args.fit else report(rows))
        return
    cases = list(rendered(args.rendered, tuple(args.size))) if args.rendered else []
    for text in args.pairs:
        name, folders = text.split('=', 1)
        cases += from_folders(name, *folders.split(','), args.limit)
    print(report(measure(cases, range(args.start, args.start + args.warps), args.kinds, args.model, args.out)))


if __name__ == '__main__':
    main()
