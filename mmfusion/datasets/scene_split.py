"""Splits that share no scene, for sets of video frames without an official split (M3FD).

Frames of one sequence in both train and test make a score mean little: the network has seen the test scene. Without
scene labels, scenes are found in two steps. Frames with ids near each other are one scene if they look alike, and
frames anywhere are one scene if they are nearly the same; whole scenes then go to one part. Wrongly joined scenes do no
harm but make the parts less even.

The rule uses no random number and no hash order: the same images give the same lists.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, List, NamedTuple, Sequence

import cv2
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mmfusion.fileio import write_text
from mmfusion.fileio.image_reading import read_image
from mmfusion.fileio.pairing import PairFiles
from mmfusion.fileio.paths import ensure_writable_dir
from mmfusion.utils.errors import InputError

from .base_pair_dataset import hash_ids

RULE_VERSION = 1


class SplitOptions(NamedTuple):
    """Parameters of the rule.

    The thresholds come from measurements with :func:`describe_pair`: of the pairs of frames of different scenes, 99 %
    are less similar than 0.41 (MSRS), 0.62 (10 pairs of M3FD) and 0.67 (RoadScene).

    Attributes:
        train: Part of the images for training.
        val: Part for validation.
        test: Part for test.
        window: Ids at most this far apart are compared by ``neighbor_threshold``.
        neighbor_threshold: Similarity from which near ids are one scene.
        duplicate_threshold: Similarity from which any two frames are one scene.
    """

    train: float = 0.7
    val: float = 0.1
    test: float = 0.2
    window: int = 10
    neighbor_threshold: float = 0.7
    duplicate_threshold: float = 0.9


class SceneSplit(NamedTuple):
    """A split and how it came about.

    Attributes:
        parts: Sorted ids by part, ``train``, ``val`` and ``test``.
        scenes: Sorted ids of every scene.
        options: The parameters.
    """

    parts: Dict[str, List[str]]
    scenes: List[List[str]]
    options: SplitOptions


def describe_pair(pair: PairFiles) -> np.ndarray:
    """Describe a pair by two small gray images, each of mean 0 and norm 1: (2 * 24 * 32, ) float64 of norm 1.

    Small, since frames of a moving camera must still look alike; both sources, since the visible one of a night scene
    may be all black.
    """
    features = []
    for path in (pair.first, pair.second):
        image = read_image(path)
        grey = image[..., 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        small = cv2.resize(grey, (32, 24), interpolation=cv2.INTER_AREA).astype(np.float64).ravel()
        small -= small.mean()
        features.append(small / max(float(np.linalg.norm(small)), 1e-6))
    return np.concatenate(features) / np.sqrt(2)


def find_scenes(ids: Sequence[str], features: np.ndarray, options: SplitOptions) -> List[List[str]]:
    """Join frames to scenes.

    Args:
        ids: Names of the frames. If all are numbers their difference says how near they are, otherwise their place in
            sorted order.
        features: (n, d), rows of norm 1; the similarity is their product.
        options: Window and thresholds.

    Returns:
        Sorted ids of each scene, by first id.
    """
    order = sorted(range(len(ids)), key=lambda index: ids[index])
    names, features = [ids[index] for index in order], features[order]
    place = np.array([int(name) for name in names]) if all(name.isdigit() for name in names) else np.arange(len(names))
    rows, columns = [], []
    for start in range(0, len(names), 512):  # by blocks: all pairs of 4200 frames at once take 141 MB
        block = slice(start, start + 512)
        similarity = np.round(
            features[block] @ features.T, 6
        )  # rounded, so that the last bits of a machine do not decide
        near = np.abs(place[block, None] - place[None]) <= options.window
        joined = (similarity >= options.duplicate_threshold) | (near & (similarity >= options.neighbor_threshold))
        row, column = np.nonzero(joined)
        rows.append(row + start)
        columns.append(column)
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    count, labels = connected_components(
        coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(names), len(names))), directed=False
    )
    scenes = [[names[index] for index in np.nonzero(labels == scene)[0]] for scene in range(count)]
    return sorted(scenes)


def assign_scenes(scenes: List[List[str]], options: SplitOptions) -> Dict[str, List[str]]:
    """Give whole scenes to the parts, largest scene first, each to the part that lacks most of its share.

    Raises:
        ValueError: The shares are not positive or do not add up to 1, or there are fewer scenes than parts.
    """
    shares = {part: getattr(options, part) for part in ('train', 'val', 'test')}
    if min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-6 or shares['train'] == 0:
        raise InputError(f'the shares of train, val and test must be positive and add up to 1, got {shares}')
    wanted = {part: share for part, share in shares.items() if share > 0}
    if len(scenes) < len(wanted):
        raise InputError(f'{len(scenes)} scenes cannot fill {len(wanted)} parts; raise the thresholds or drop a part')
    total, parts = sum(len(scene) for scene in scenes), {part: [] for part in shares}
    for scene in sorted(scenes, key=lambda scene: (-len(scene), scene[0])):
        lacking = max(wanted, key=lambda part: (wanted[part] * total - len(parts[part])) / (wanted[part] * total))
        parts[lacking].extend(scene)
    return {part: sorted(ids) for part, ids in parts.items()}


DEFAULT_OPTIONS = SplitOptions()


def make_scene_split(
    pairs: Sequence[PairFiles], options: SplitOptions = DEFAULT_OPTIONS, workers: int = 0
) -> SceneSplit:
    """Split pairs of images so that no scene is in two parts.

    Args:
        pairs: The files; both sources must be there.
        options: Shares and thresholds.
        workers: Threads that read images; 0 takes one per core.

    Raises:
        PairDataError: An image cannot be read.
        ValueError: See :func:`assign_scenes`.
    """
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        features = np.stack(list(pool.map(describe_pair, pairs)))
    scenes = find_scenes([pair.stem for pair in pairs], features, options)
    return SceneSplit(assign_scenes(scenes, options), scenes, options)


def write_scene_split(split: SceneSplit, folder: str) -> List[str]:
    """Write ``train.txt``, ``val.txt``, ``test.txt`` and ``split.json`` (rule, parameters, sizes, hashes, scenes).

    The hash of a part is the one that data sets report as ``metainfo['split_hash']``. Each file appears complete or not
    at all.

    Returns:
        The paths written.

    Raises:
        UserError: The folder cannot be written.
    """
    summary = dict(
        rule=f'mmfusion scene split, version {RULE_VERSION}',
        parameters=split.options._asdict(),
        sizes={part: len(ids) for part, ids in split.parts.items()},
        split_hash={part: hash_ids(ids) for part, ids in split.parts.items()},
        scenes=split.scenes,
    )
    texts = {f'{part}.txt': ''.join(f'{name}\n' for name in ids) for part, ids in split.parts.items() if ids}
    texts['split.json'] = json.dumps(summary, indent=1) + '\n'
    ensure_writable_dir(folder)
    paths = []
    for name, text in texts.items():
        paths.append(os.path.join(folder, name))
        write_text(paths[-1], text)
    return paths


def describe_split(split: SceneSplit) -> str:
    """A few lines for people: sizes, scenes and hashes of the parts."""
    scene_of = {name: index for index, scene in enumerate(split.scenes) for name in scene}
    lines = [f'{len(scene_of)} pairs in {len(split.scenes)} scenes, the largest of {max(map(len, split.scenes))} pairs']
    for part, ids in split.parts.items():
        scenes = len({scene_of[name] for name in ids})
        lines.append(
            f'{part:5} {len(ids):5} pairs ({len(ids) / len(scene_of):.1%}), {scenes} scenes, split hash {hash_ids(ids)}'
        )
    return '\n'.join(lines)
