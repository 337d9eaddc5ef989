"""Recall and false alarms of ``mmfusion doctor`` on rendered pairs with faults put into them.

    python benchmarks/doctor.py --work-dir work_dirs/doctor                      all faults, 300 pairs each
    python benchmarks/doctor.py --work-dir work_dirs/doctor --seed 1 --pairs 60 --faults partner boxes

Sound pairs of six sizes, by day and by night, png and jpg, are rendered with boxes and class maps. For each fault every
pair is made once more with the fault in it. Then sets are put together in which a fifth of the pairs has the fault and
the others are sound, five of them, so that each pair is the faulty one once. A fault counts as found when the check
that is made for it reports the pair. A sound pair counts as a false alarm when any check reports it, in the set without
faults. A run that was stopped goes on where it was; remove the work dir after a change of the checks.

The checks were tuned with seeds of 100 and above; tables are made with others.
"""

import argparse
import json
import multiprocessing
import os
import pickle
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from mmfusion.datasets.demo.scenes import CLASSES, RenderedPair, draw_scene, render_pair
from mmfusion.experiments.doctor.check import NotJudged, build_checks
from mmfusion.experiments.doctor.examination import judge_all, look_at
from mmfusion.experiments.doctor.pairs import PairEntry, pairs_of_folders
from mmfusion.fileio import write_bytes
from mmfusion.registration.geometry import center, corner_distance, similarity_matrix, warp

SIZES = ((240, 320), (480, 640), (256, 320), (384, 512), (300, 400), (200, 300))  # (height, width)
ROUNDS = 5
CACHE = 'MMFUSION_DOCTOR_RENDERED'  # environment variable that tells worker processes where rendered pairs are kept
FOLDERS = ('vi', 'ir', 'labels', 'maps')
PALETTE = np.array([(0, 0, 0), (60, 20, 220), (142, 0, 0), (30, 170, 250)], np.uint8)  # BGR
MARGIN = 0.14  # of the size, around what the first camera sees, so that a moved one sees something there
SLIPS = dict(
    person=('Person', 'persons', 'peson', 'people'), car=('Car', 'cars', 'CAR '), lamp=('Lamp', 'lamps', 'lammp')
)


class Files(NamedTuple):
    """What is written for one pair.

    Attributes:
        visible: (H, W, 3) BGR or (H, W); None leaves the file out.
        infrared: (H, W) or (H, W, 3).
        boxes: (class name, (x1, y1, x2, y2)).
        size: (height, width) that the annotation declares.
        class_map: (H, W) or (H, W, 3).
        suffix: Of the images.
    """

    visible: Optional[np.ndarray]
    infrared: Optional[np.ndarray]
    boxes: list
    size: tuple
    class_map: np.ndarray
    suffix: str


def generator(seed: int, index: int, *more: int) -> np.random.Generator:
    """Random numbers of one pair."""
    return np.random.default_rng([seed, index, *more])


def size_of(index: int) -> tuple:
    """(height, width) of a pair."""
    return SIZES[index % len(SIZES)]


def files_of(pair: RenderedPair, suffix: str) -> Files:
    """What is written for a rendered pair as it is."""
    boxes = [
        (CLASSES[label], tuple(box))
        for box, label, ignored in zip(pair.boxes.tolist(), pair.labels, pair.ignored)
        if not ignored
    ]
    return Files(pair.visible, pair.infrared[..., 0], boxes, pair.seg_map.shape, pair.seg_map, suffix)


def sound(seed: int, index: int, stream: int = 0) -> Files:
    """A sound pair; rendered once and kept beside the sets."""
    place = Path(os.environ[CACHE]) / f'{seed}-{stream}-{index}.pkl'
    if not place.is_file():
        rng = generator(seed, index, stream)
        suffix = ('.png', '.png', '.jpg')[index // len(SIZES) % 3]
        files = files_of(render_pair(rng, draw_scene(rng, size_of(index))), suffix)
        write_bytes(place, pickle.dumps(tuple(files)), sync=False)
    return Files(*pickle.loads(place.read_bytes()))


def moved(seed: int, index: int, rng: np.random.Generator) -> Files:
    """The infrared camera stands, turns or zooms otherwise: corners move by 2.5 to 9 % of the longer side."""
    height, width = size_of(index)
    rows, columns = round(height * MARGIN), round(width * MARGIN)
    scene = generator(seed, index, 1)
    pair = render_pair(scene, draw_scene(scene, (height + 2 * rows, width + 2 * columns)))
    longer = max(height, width)
    while True:
        kind = rng.integers(4)
        shift = rng.uniform(0.02, 0.08) * longer * np.array([np.cos(angle := rng.uniform(0, 2 * np.pi)), np.sin(angle)])
        turn = np.deg2rad(rng.uniform(2.5, 5.5)) * rng.choice([-1, 1])
        scale = float(np.exp(rng.uniform(0.04, 0.1) * rng.choice([-1, 1])))
        middle = center((height, width))
        matrix = similarity_matrix(
            scale if kind in (1, 3) else 1.0,
            turn if kind == 2 else turn / 2 if kind == 3 else 0.0,
            middle,
            middle + (shift if kind == 0 else shift / 2 if kind == 3 else 0),
        )
        if 0.025 * longer <= corner_distance(matrix, np.eye(3), (height, width)) <= 0.09 * longer:
            break
    inside = np.eye(3)
    inside[:2, 2] = -columns, -rows
    infrared = warp(pair.infrared[..., 0], matrix @ inside, (height, width))
    cut = np.s_[rows : rows + height, columns : columns + width]
    return Files(pair.visible[cut], infrared, [], (height, width), pair.seg_map[cut], '.png')


def same_scene(seed: int, index: int, rng: np.random.Generator) -> Files:
    """A later frame of the scene: other places of the things, other noise, and the camera moved by up to 3 % of the
    width.
    """
    draw = generator(seed, index, 0)
    scene = draw_scene(draw, size_of(index))
    height, width = scene.size
    things = []
    for thing in scene.things:
        x, y = rng.integers(-width // 12, width // 12 + 1), rng.integers(-2, 3)
        x1, y1, x2, y2 = thing.box
        things.append(
            thing._replace(box=(x1 + x, y1 + y, x2 + x, y2 + y)) if x1 + x > -20 and x2 + x < width + 20 else thing
        )
    files = files_of(render_pair(draw, scene._replace(things=things)), '.png')
    shift = np.array([[1, 0, rng.uniform(-0.03, 0.03) * width], [0, 1, rng.uniform(-0.01, 0.01) * height]])

    def next_frame(image: np.ndarray) -> np.ndarray:
        later = cv2.warpAffine(image, shift, (width, height), borderMode=cv2.BORDER_REFLECT)
        return np.clip(later + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)

    return files._replace(visible=next_frame(files.visible), infrared=next_frame(files.infrared), boxes=[])


def with_one(files: Files, rng: np.random.Generator, change: Callable[[np.ndarray], np.ndarray]) -> Files:
    """Change one of the two images."""
    source = rng.choice(['visible', 'infrared'])
    return files._replace(**{source: change(getattr(files, source))})


def constant(files: Files, rng: np.random.Generator) -> Files:
    """One camera covered: a level and at most weak noise."""
    level, noise = rng.uniform(0, 255), rng.uniform(0, 2)
    return with_one(
        files, rng, lambda image: np.clip(level + rng.normal(0, noise, image.shape), 0, 255).astype(np.uint8)
    )


def saturated(files: Files, rng: np.random.Generator) -> Files:
    """One image too bright by so much that 45 to 90 % of it clip."""
    part = rng.uniform(45, 90)

    def brighten(image: np.ndarray) -> np.ndarray:
        darkest = image.min(-1) if image.ndim == 3 else image
        return np.clip(image * (258 / max(np.percentile(darkest, 100 - part), 1)), 0, 255).astype(np.uint8)

    return with_one(files, rng, brighten)._replace(suffix='.png')


def deep(files: Files, rng: np.random.Generator) -> Files:
    """One image in a file of 16 bits: as it is, or times 256 or 257."""
    factor = int(rng.choice([1, 1, 256, 257]))
    return with_one(files, rng, lambda image: image.astype(np.uint16) * factor)._replace(suffix='.png')


def gray(files: Files, rng: np.random.Generator) -> Files:
    """The visible image without color, in three channels."""
    return files._replace(visible=cv2.cvtColor(cv2.cvtColor(files.visible, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR))


def shifted_boxes(files: Files, rng: np.random.Generator) -> Files:
    """All boxes moved by 0.6 to 1.2 times their median side; their centers stay in the image."""
    boxes = np.array([box for _, box in files.boxes]).reshape(-1, 4)
    side = np.median(np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))) if len(boxes) else 0
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.2) * side
    step = np.tile([distance * np.cos(angle), distance * np.sin(angle)], 2)
    return files._replace(boxes=[(name, tuple(np.array(box) + step)) for name, box in files.boxes])


def wrong_boxes(files: Files, rng: np.random.Generator) -> Files:
    """A box outside, without area, given twice, or an annotation for another size."""
    height, width = files.size
    boxes, kind = list(files.boxes), int(rng.integers(4))
    extra = (
        ('car', (width - 10.0, 20.0, width + 40.0, 60.0)),
        ('car', (30.0, 20.0, 30.0, 60.0)),
        ('car', (20.0, 20.0, 50.0, 60.0)),
    )
    if kind == 3:
        return files._replace(size=(height * 2, width * 2))
    return files._replace(boxes=[*boxes, *([extra[2]] * 2 if kind == 2 else [extra[kind]])])


def colored_map(files: Files, rng: np.random.Generator) -> Files:
    """The class map in colors, or in the gray levels of these colors."""
    colors = PALETTE[files.class_map]
    return files._replace(class_map=colors if rng.uniform() < 0.7 else cv2.cvtColor(colors, cv2.COLOR_BGR2GRAY))


def slipped_names(files: Files, rng: np.random.Generator) -> Files:
    """One name with another case, a plural or a letter that is missing."""
    boxes = list(files.boxes) or [('person', (20.0, 20.0, 40.0, 60.0))]
    place = int(rng.integers(len(boxes)))
    name = boxes[place][0]
    boxes[place] = (str(rng.choice(SLIPS[name])).strip(), boxes[place][1])
    return files._replace(boxes=boxes)


CHANGES: Dict[str, Callable[[Files, np.random.Generator], Files]] = {
    'swapped': lambda files, rng: files._replace(visible=files.infrared, infrared=files.visible),
    'polarity': lambda files, rng: files._replace(infrared=255 - files.infrared),
    'constant': constant,
    'saturated': saturated,
    'depth': deep,
    'gray': gray,
    'boxes': shifted_boxes,
    'annotations': wrong_boxes,
    'class_maps': colored_map,
    'names': slipped_names,
    'files': lambda files, rng: files,  # damaged once they are written
}
FAULTS = ('registration', 'partner', *CHANGES, 'duplicates', 'splits')


def faulty(fault: str, seed: int, index: int) -> Files:
    """A pair with a fault."""
    rng = generator(seed, index, 2, FAULTS.index(fault))
    if fault == 'registration':
        return moved(seed, index, rng)
    if fault == 'splits':
        return same_scene(seed, index, rng)
    files = sound(seed, index)
    if fault == 'partner':  # of another faulty pair of the round that has the same size, or of one that is in no set
        step = len(SIZES) * ROUNDS
        other = sound(seed, index + (step if index // step % 2 == 0 else -step), 0 if index % 2 else 3)
        return files._replace(infrared=other.infrared)
    if fault == 'duplicates':  # as it is, or written anew by a lossy format
        return files._replace(suffix='.jpg' if rng.uniform() < 0.5 else files.suffix)
    return CHANGES[fault](files, rng)


def write(folder: Path, name: str, files: Files, damage: Optional[np.random.Generator] = None) -> None:
    """Write a pair, its annotation and its class map."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 92]
    paths = []
    for key, image in (('vi', files.visible), ('ir', files.infrared)):
        (folder / key).mkdir(parents=True, exist_ok=True)
        paths.append(folder / key / f'{name}{files.suffix}')
        cv2.imwrite(str(paths[-1]), image, options)
    if damage is not None:
        harm(paths[int(damage.integers(2))], damage)
    for key in ('labels', 'maps'):
        (folder / key).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / 'maps' / f'{name}.png'), files.class_map)
    height, width = files.size
    objects = ''.join(
        f'<object><name>{label}</name><bndbox><xmin>{box[0]:.2f}</xmin><ymin>{box[1]:.2f}</ymin><xmax>{box[2]:.2f}</xmax>'
        f'<ymax>{box[3]:.2f}</ymax></bndbox></object>'
        for label, box in files.boxes
    )
    text = f'<annotation><size><width>{width}</width><height>{height}</height></size>{objects}</annotation>'
    (folder / 'labels' / f'{name}.xml').write_text(text)


def harm(path: Path, rng: np.random.Generator) -> None:
    """Cut a file off, empty it, fill its end with zeros, or take it away."""
    data, kind = path.read_bytes(), int(rng.integers(5))
    end = int(len(data) * rng.uniform(0.1, 0.95))
    if kind == 4:
        path.unlink()
    else:
        path.write_bytes((data[:end], data[:end], b'', data[:end] + bytes(len(data) - end))[kind])


def _make(task: tuple) -> None:
    """Write one pair, unless an earlier run did."""
    fault, seed, index, folder = task
    done = Path(folder) / 'done' / f'{index:04d}'
    if done.is_file():
        return
    cv2.setNumThreads(1)
    files = sound(seed, index) if fault is None else faulty(fault, seed, index)
    write(Path(folder), f'{index:04d}', files, generator(seed, index, 4) if fault == 'files' else None)
    write_bytes(done, b'', sync=False)


def _look(task: tuple) -> dict:
    """What the checks measure in one pair; kept for the next run as long as the checks are the same."""
    entry, names, place = task
    if not place.is_file():
        cv2.setNumThreads(1)
        write_bytes(place, pickle.dumps(look_at(entry, build_checks(names))), sync=False)
    return pickle.loads(place.read_bytes())


def make(
    pool: ProcessPoolExecutor, fault: Optional[str], seed: int, pairs: int, folder: Path
) -> Tuple[List[PairEntry], List[dict]]:
    """Render the pairs with a fault, or the sound ones, list them, and look at them."""
    list(pool.map(_make, [(fault, seed, index, str(folder)) for index in range(pairs)], chunksize=4))
    entries = pairs_of_folders(
        [folder / 'vi', folder / 'ir'], boxes=[folder / 'labels'], class_maps=[folder / 'maps'], class_names=CLASSES
    )
    entries = [entry._replace(class_numbers=tuple(range(len(CLASSES) + 1))) for entry in entries]
    names = None if fault is None else [fault]
    work = [(entry, names, folder / 'facts' / f'{entry.name}.pkl') for entry in entries]
    return entries, list(pool.map(_look, work, chunksize=4))


class Outcome(NamedTuple):
    """Of one fault.

    Attributes:
        found: Faulty pairs that the check reports.
        unjudged: Faulty pairs that it says nothing about.
        total: Faulty pairs.
        alarms: Sound pairs of these sets that the check reports.
        sound: Sound pairs of these sets.
        missed: Names of pairs that were missed.
    """

    found: int
    unjudged: int
    total: int
    alarms: int
    sound: int
    missed: List[str]


def rate(
    fault: str, entries: Sequence[PairEntry], facts: Sequence[dict], bad: Sequence[PairEntry], bad_facts: Sequence[dict]
) -> Outcome:
    """Put faulty and sound pairs into sets, and judge these."""
    checks = build_checks([fault])
    counts: Counter = Counter()
    missed: List[str] = []
    for part in range(ROUNDS):
        chosen = [index for index in range(len(bad)) if index % ROUNDS == part]
        others = [index for index in range(len(entries)) if index % ROUNDS != part]
        if fault == 'duplicates':  # the faulty ones come beside their originals
            listed = [(entry, fact) for entry, fact in zip(entries, facts)]
            added = [(bad[index]._replace(name=f'{bad[index].name}_again'), bad_facts[index]) for index in chosen]
        elif fault == 'splits':
            listed = [(entry._replace(set='train'), fact) for entry, fact in zip(entries, facts)]
            added = [(bad[index]._replace(set='test'), bad_facts[index]) for index in chosen]
        else:
            listed = [(entries[index], facts[index]) for index in others]
            added = [(bad[index], bad_facts[index]) for index in chosen]
        mixed = sorted([*listed, *added], key=lambda each: each[0].name)
        findings, unjudged = judge_all([entry for entry, _ in mixed], [fact for _, fact in mixed], checks)
        faulty_ones = {entry for entry, _ in added}
        told = {finding.entry for finding in findings if finding.check == fault}
        told |= {finding.other for finding in findings if finding.check == fault and finding.other in faulty_ones}
        silent = {each.entry for each in unjudged if each.check == fault}
        counts['found'] += len(told & faulty_ones)
        counts['unjudged'] += len((silent & faulty_ones) - told)
        counts['total'] += len(faulty_ones)
        originals = {entry for entry, _ in listed} if fault not in ('duplicates', 'splits') else set()
        counts['alarms'] += len(told & originals)
        counts['sound'] += len(originals)
        missed += sorted(entry.name for entry in faulty_ones - told)
    return Outcome(counts['found'], counts['unjudged'], counts['total'], counts['alarms'], counts['sound'], missed)


def alarms(entries: Sequence[PairEntry], facts: Sequence[dict]) -> Dict[str, List[str]]:
    """Sound pairs that are reported, by check; half of them are one split and half another."""
    half = [entry._replace(set='train' if index < len(entries) // 2 else 'test') for index, entry in enumerate(entries)]
    found: Dict[str, List[str]] = {}
    for finding in judge_all(half, facts, build_checks())[0]:
        found.setdefault(finding.check, []).append(f'{finding.entry.name}: {finding.message}')
    return found


def main() -> None:
    """Render, examine, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', type=Path, required=True, help='folder for the rendered pairs')
    parser.add_argument('--pairs', type=int, default=300)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--faults', nargs='+', choices=FAULTS, default=list(FAULTS))
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--out', type=Path, help='write the table in markdown to this file')
    args = parser.parse_args()
    os.environ[CACHE] = str(args.work_dir / 'rendered')
    checks = {check.name: check for check in build_checks()}
    lines = [
        '| fault | check | found | recall | not judged | sound pairs reported by it |',
        '|---|---|---|---|---|---|',
    ]
    report: Dict[str, dict] = {}
    with ProcessPoolExecutor(args.workers, multiprocessing.get_context('spawn')) as pool:
        root = args.work_dir / f'seed{args.seed}'
        entries, facts = make(pool, None, args.seed, args.pairs, root / 'sound')
        wrong = alarms(entries, facts)
        names = {text.split(':')[0] for texts in wrong.values() for text in texts}
        silent = Counter(check for fact in facts for check, value in fact.items() if isinstance(value, NotJudged))
        print(
            f'{len(entries)} sound pairs: {len(names)} reported ({len(names) / len(entries):.1%}); '
            f'not judged {dict(silent)}',
            flush=True,
        )
        print('\n'.join(f'  {check} {text}' for check, texts in wrong.items() for text in texts), flush=True)
        report['sound'] = dict(pairs=len(entries), reported=sorted(names), findings=wrong)
        for fault in args.faults:
            outcome = rate(fault, entries, facts, *make(pool, fault, args.seed, args.pairs, root / fault))
            report[fault] = outcome._asdict()
            row = (
                f'| {checks[fault].title} | `{fault}` | {outcome.found} of {outcome.total} | '
                f'{outcome.found / outcome.total:.1%} | '
                f'{outcome.unjudged} | {outcome.alarms} of {outcome.sound} |'
            )
            lines.append(row)
            print(row, flush=True)
            print(f'    missed: {" ".join(outcome.missed[:40])}', flush=True)
    lines.append(f'| none | all | {len(names)} of {len(entries)} reported | | | |')
    (args.work_dir / f'seed{args.seed}.json').write_text(json.dumps(report, indent=1))
    if args.out:
        args.out.write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
