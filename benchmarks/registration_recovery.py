"""Gain of registration: Qabf and the mAP50 of a frozen detector after the second image of each pair was shifted.

    python benchmarks/registration_recovery.py --limit 10 --model translation --work-dir work_dirs/recovery
    python benchmarks/registration_recovery.py --pairs msrs m3fd --detect --work-dir work_dirs/recovery
    mmfusion train laplacian_demo_det --work-dir work_dirs/laplacian_demo_det
    python benchmarks/registration_recovery.py --pairs --rendered 150 --detect --detector laplacian_demo_det \
        work_dirs/laplacian_demo_det/epoch_6.pth --work-dir work_dirs/recovery

Each second image is shifted by ``--shift`` pixels in a seeded direction (bilinear), registered, and fused with the
first. Qabf is rated within the largest rectangle that all variants of a pair know, and counted in several ways, since
the sets are not registered to the pixel themselves:

- against the set: every fused image is rated with the second image where the set has it; 100 % is the pair as it came,
  0 % the shifted one; ``truth`` undoes the shift exactly. A result that lies elsewhere than the set loses, whether
  edges coincide there or not;
- by its own sources: each fused image is rated with the second image that it was fused from, so that no place is taken
  as right. Qabf hardly falls with the shift then: it does not ask whether the edges of both sources coincide, so it
  says nothing about which place is right;
- by two measures that registration does not use, mutual information of the gray levels and the edges of the first image
  kept in the second (Qabf of the second for the first alone): for how many pairs they are higher where registration put
  the second image than where the set has it;
- against itself: 100 % is the pair as registration lays it without a shift, so only what the shift does to registration
  counts. Distance says how far (mean of the corners, pixels) the two results are apart, and how far the result is from
  the set.

Refused pairs are counted and left out of Qabf; for the detector they stay shifted. Sets and detector are those of
``configs/league_ivif.py``, but for ``--rendered``: pairs whose place is known exactly, with a detector that was trained
on such pairs.
"""

import argparse
import functools
import json
from pathlib import Path
from typing import Dict, List

import cv2
import numpy as np
import torch

from mmfusion.apis import FusionInferencer
from mmfusion.evaluation.functional import mutual_information, qabf
from mmfusion.experiments.league.measure import load_record, picture_files, test_network
from mmfusion.experiments.league.pair_set import PairSet
from mmfusion.experiments.league.settings import Network, Pairs, read_settings
from mmfusion.experiments.league.standing import judge_network
from mmfusion.fileio.image_writing import write_image
from mmfusion.fileio.whole import write_json
from mmfusion.registration import register_pair
from mmfusion.registration.geometry import corner_distance, lay, valid_region
from mmfusion.structures import valid_window
from mmfusion.utils.config import read_config

VARIANTS = ('set', 'shifted', 'truth', 'registered')
DETECTED = ('set', 'shifted', 'truth', 'registered')
RENDERED_SIZE = (240, 320)


class Shifted:
    """A pair, its second image shifted, and what registration makes of both.

    Args:
        first: (H, W, C) BGR.
        second: (H, W, 1).
        shift: Pixels (x, y).
        model: Kind of transform that is estimated.
        itself: Register the pair without the shift too.
    """

    def __init__(
        self, first: np.ndarray, second: np.ndarray, shift: np.ndarray, model: str, itself: bool = True
    ) -> None:
        self.first, self.shape = first, first.shape[:2]
        self.gray = first if first.shape[2] == 1 else cv2.cvtColor(first, cv2.COLOR_BGR2GRAY)[..., None]
        move = np.eye(3)
        move[:2, 2] = shift
        self.truth = np.linalg.inv(move)
        moved = cv2.warpPerspective(second, move, self.shape[::-1])[..., None]
        self.result = register_pair(first, moved, model)
        self.without = register_pair(first, second, model) if itself else self.result
        at_rest = valid_region(np.eye(3), self.shape, self.shape)
        covered = valid_region(move, self.shape, self.shape)
        self.seconds = dict(
            set=second, shifted=moved, truth=lay(moved, self.truth, at_rest), registered=moved, own=second
        )
        self.known = dict(set=at_rest, shifted=covered, truth=self._known(self.truth, covered), registered=covered)
        if self.result.accepted:
            self.seconds['registered'] = lay(moved, self.result.matrix, self.result.valid)
            self.known['registered'] = self._known(self.result.matrix, covered)
        if self.without.accepted:
            self.seconds['own'] = lay(second, self.without.matrix, self.without.valid)
            self.seconds['own shifted'] = lay(second, move @ self.without.matrix, at_rest)
            self.known['own'] = self.without.valid
            self.known['own shifted'] = valid_region(move @ self.without.matrix, self.shape, self.shape)

    def _known(self, matrix: np.ndarray, covered: np.ndarray) -> np.ndarray:
        moved = cv2.warpPerspective(covered.astype(np.uint8), matrix, self.shape[::-1], flags=cv2.INTER_NEAREST)
        return (moved > 0) & valid_region(matrix, self.shape, self.shape)

    def fused(self, fuse: FusionInferencer, name: str) -> np.ndarray:
        """A variant fused, BGR, with the first image where the second has nothing."""
        second = np.where(self.known[name][..., None], self.seconds[name], self.gray)
        return fuse(self.first, second, channel_order='bgr', progress=False)[0].fused

    def distances(self) -> Dict[str, float]:
        """Pixels between the result and the truth of the set, and between the results with and without the shift."""
        own = self.without.matrix @ self.truth
        return {
            'from the set': corner_distance(self.result.matrix, self.truth, self.shape),
            'from itself': corner_distance(self.result.matrix, own, self.shape),
        }


def rate(pair: Shifted, fuse: FusionInferencer) -> Dict[str, float]:
    """Qabf of every variant within the region that all know."""
    known = np.logical_and.reduce(list(pair.known.values()))
    window = valid_window(torch.from_numpy(known))

    @functools.cache
    def fused_gray(name: str) -> np.ndarray:
        fused = pair.fused(fuse, name)
        return fused if fused.ndim == 2 else cv2.cvtColor(fused, cv2.COLOR_BGR2GRAY)

    def value(name: str, second: str) -> float:
        images = (
            torch.from_numpy(np.ascontiguousarray(x)).reshape(1, 1, *pair.shape)
            for x in (fused_gray(name), pair.gray, pair.seconds[second])
        )
        return qabf(*(image if window is None else window.cut(image).contiguous() for image in images)).total.item()

    values = {name: value(name, 'set') for name in VARIANTS}
    values |= {f'{name} by its sources': value(name, name) for name in VARIANTS}
    first, *seconds = (
        torch.from_numpy(x).reshape(1, 1, *pair.shape)
        for x in (pair.gray, pair.seconds['truth'], pair.seconds['registered'])
    )
    if window is not None:
        first, *seconds = (window.cut(image).contiguous() for image in (first, *seconds))
    for key, measure in (('information', mutual_information), ('edges', qabf)):
        at_set, at_result = (measure(second, first, first).first.item() for second in seconds)
        values[key] = at_result - at_set
    values |= {f'{name} by itself': value(name, 'own') for name in ('own', 'own shifted', 'registered')}
    return values


def rendered_pairs(count: int) -> Pairs:
    """Pairs of the demo data set that no training saw."""
    return Pairs('rendered', 'rendered', dict(type='DemoPairs', length=count, size=RENDERED_SIZE, split='test', seed=1))


def own_detector(config: str, weights: str) -> Network:
    """Detector of a config with the weights of a training."""
    detector = read_config(config).model.tasks.det.to_dict()
    start = dict(type='Pretrained', checkpoint=weights)
    return Network('own', 'own', dict(detector, init_cfg=start))


def won_back(rows: List[dict], whole: str, lost: str, after: str) -> float:
    """Share of the lost mean that came back, in percent."""
    high, low, now = (np.mean([row[name] for row in rows]) for name in (whole, lost, after))
    return 100 * (now - low) / (high - low)


def main() -> None:
    """Measure, and print a line for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--pairs', nargs='*', default=['msrs', 'roadscene', 'm3fd'], help='sets of the league')
    parser.add_argument('--rendered', type=int, default=0, metavar='N', help='rendered pairs, as a set of their own')
    parser.add_argument(
        '--detector', nargs=2, metavar=('CONFIG', 'WEIGHTS'), help='in place of the YOLOX-nano of the league'
    )
    parser.add_argument('--limit', type=int, default=1000, help='most pairs of a set, evenly spread')
    parser.add_argument('--shift', type=float, default=8, help='pixels')
    parser.add_argument('--model', default='translation', help='kind of transform that is estimated')
    parser.add_argument('--fuser', default='LaplacianPyramidFuser')
    parser.add_argument(
        '--detect', action='store_true', help='let the detector look too, where there are boxes; without, Qabf'
    )
    parser.add_argument('--work-dir', required=True)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    settings = read_settings('league_ivif', only=['average'], pairs=args.pairs or None)
    fuse, root = FusionInferencer(args.fuser), Path(args.work_dir)
    network = own_detector(*args.detector) if args.detector else settings.networks['yolox_nano']
    sets = {name: wanted for name, wanted in settings.pairs.items() if name in args.pairs}
    if args.rendered:
        sets['rendered'] = rendered_pairs(args.rendered)
    for name, wanted in sets.items():
        count = len(PairSet(wanted))
        chosen = np.unique(np.linspace(0, count - 1, min(args.limit, count)).round().astype(int)).tolist()
        chosen = [wanted.dataset.get('indices', range(count))[index] for index in chosen]
        pairs = PairSet(wanted._replace(dataset=dict(wanted.dataset, indices=chosen)))
        rows = []
        for index, sample in enumerate(pairs.names):
            item, turn = pairs.item(index), np.random.default_rng(index).uniform(0, 2 * np.pi)
            shift = args.shift * np.array([np.cos(turn), np.sin(turn)])
            pair = Shifted(item['first'], item['second'], shift, args.model, not args.detect)
            row = dict(pair=sample, accepted=pair.result.accepted, accepted_without=pair.without.accepted)
            if args.detect:
                for variant in DETECTED:
                    file = picture_files(pairs.names, root / name / args.model / variant).files[sample]
                    write_image(file, pair.fused(fuse, variant)[..., ::-1])
            elif row['accepted'] and row['accepted_without']:
                row |= {**rate(pair, fuse), **pair.distances()}
            rows.append(row)
        content = dict(rows=rows)
        refused = sum(not row['accepted'] for row in rows)
        line = f'{name}: {len(rows)} pairs, {refused} refused'
        rated = [row for row in rows if 'set' in row]
        if rated:
            middle = {key: np.median([row[key] for row in rated]) for key in ('from the set', 'from itself')}
            content['qabf'] = dict(
                {key: float(np.mean([row[key] for row in rated])) for key in VARIANTS},
                against_the_set=won_back(rated, 'set', 'shifted', 'registered'),
                by_the_truth=won_back(rated, 'set', 'shifted', 'truth'),
                by_sources=dict(
                    {key: float(np.mean([row[f'{key} by its sources'] for row in rated])) for key in VARIANTS},
                    better_than_the_set=sum(
                        row['registered by its sources'] > row['truth by its sources'] for row in rated
                    ),
                ),
                against_itself=won_back(rated, 'own by itself', 'own shifted by itself', 'registered by itself'),
                better_by={key: sum(row[key] > 0 for row in rated) for key in ('information', 'edges')},
                rated=len(rated),
                median_distance={key: float(value) for key, value in middle.items()},
            )
            line += '; Qabf ' + ', '.join(f'{key} {content["qabf"][key]:.3f}' for key in VARIANTS)
            line += '; won back ' + ', '.join(
                f'{key.replace("_", " ")} {content["qabf"][key]:.0f} %'
                for key in ('against_the_set', 'by_the_truth', 'against_itself')
            )
            line += '; by its own sources ' + ', '.join(
                f'{key} {content["qabf"]["by_sources"][key]:.3f}' for key in VARIANTS
            )
            line += f', better than the exact way back for {content["qabf"]["by_sources"]["better_than_the_set"]} of {len(rated)}'
            line += '; better than the set by ' + ', '.join(
                f'{key} {value} of {len(rated)}' for key, value in content['qabf']['better_by'].items()
            )
            line += '; distance ' + ', '.join(f'{key} {value:.2f}' for key, value in middle.items())
        if args.detect and pairs.has_boxes:
            records = {}
            for variant in DETECTED:
                folder = root / name / args.model / f'{variant}_answers'
                folder.mkdir(parents=True, exist_ok=True)
                test_network(network, picture_files(pairs.names, root / name / args.model / variant), pairs, folder)
                records[variant] = load_record(folder)
            draws = np.random.default_rng(0).multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), 200)
            answers = judge_network(network.name, records, draws.astype(float))
            content['mAP50'] = {key: answers.values[key].value for key in DETECTED}
            content['mAP50_intervals'] = {key: list(answers.values[key][1:]) for key in DETECTED}
            shares = {key: won_back([content['mAP50']], 'set', 'shifted', key) for key in ('truth', 'registered')}
            content['mAP50_won_back'] = shares
            line += (
                '; mAP50 '
                + ', '.join(f'{key} {value:.3f}' for key, value in content['mAP50'].items())
                + f', won back {shares["registered"]:.0f} %, by the truth {shares["truth"]:.0f} %'
            )
        kind = f'{args.model}_detector' if args.detect else args.model
        write_json(root / f'{name}_{kind}.json', json.loads(json.dumps(content)))
        print(line, flush=True)


if __name__ == '__main__':
    main()
