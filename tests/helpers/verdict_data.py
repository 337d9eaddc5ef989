"""Synthetic test results with a known truth: detections of networks whose skill is given."""

import numpy as np

from mmfusion.experiments.verdict.matching import Ranking
from mmfusion.experiments.verdict.record import Boxes, Record

CLASSES = ('person', 'car')


def make_record(seed, images=12, skill=0.7, crowd=0.1, ties=False, empty=False, truth_seed=0):
    """Detections of random quality on random objects, of the same objects for all seeds: right, shifted, relabelled,
    doubled, invented."""
    truth_rng, rng = np.random.default_rng(truth_seed), np.random.default_rng(seed + 1000)
    truth, found = [], []
    for image in range(images):
        for _ in range(truth_rng.integers(0, 6)):
            left, top = truth_rng.uniform(0, 500), truth_rng.uniform(0, 380)
            width, height = truth_rng.uniform(8, 130, 2)
            box, label = np.array([left, top, left + width, top + height]), int(truth_rng.integers(2))
            truth.append((image, box, label, float(truth_rng.random() < crowd)))
            for _ in range(rng.integers(0, 4)):
                shift = rng.normal(0, 0.15 if rng.random() < skill else 0.6, 4) * [width, height, width, height] * 0.5
                wrong = rng.random() > skill
                moved = box + shift
                moved[2:] = np.maximum(moved[2:], moved[:2] + 2)
                found.append((image, moved, (label + wrong) % 2, rng.random()))
        for _ in range(rng.integers(0, 5)):
            left, top = rng.uniform(0, 500), rng.uniform(0, 380)
            found.append(
                (
                    image,
                    [left, top, left + rng.uniform(5, 120), top + rng.uniform(5, 120)],
                    int(rng.integers(2)),
                    rng.random() * 0.8,
                )
            )
    if (
        ties
    ):  # the same scores in all images, each once per image: copies of an image would put equal ones in another order
        places = [sum(other[0] == image for other in found[:index]) for index, (image, *_) in enumerate(found)]
        found = [(image, box, label, 1 - place / 50) for (image, box, label, _), place in zip(found, places)]
    names = tuple(f'{index:05d}{"DN"[index % 2]}' for index in range(images))
    return Record(names, np.array([[480, 640]] * images), CLASSES, Boxes.of(truth), Boxes.of([] if empty else found))


def make_ranking(rng, difficulty, skill, objects=3, wrong=3):
    """Ranking of one class at one threshold: hits score higher, and the more of them the better ``skill`` and the
    easier the image."""
    images = len(difficulty)
    chance = 1 / (1 + np.exp(-(skill - difficulty[:, None] + rng.normal(0, 1, (images, objects)))))
    hit_image, _ = np.nonzero(rng.random((images, objects)) < chance)
    miss_image = np.repeat(np.arange(images), rng.poisson(wrong, images))
    score = np.concatenate([rng.normal(1 + 0.3 * skill, 1, len(hit_image)), rng.normal(0, 1, len(miss_image))])
    image, hit = np.concatenate([hit_image, miss_image]), np.repeat([True, False], [len(hit_image), len(miss_image)])
    order = np.argsort(-score)
    return Ranking(
        image[order], score[order], hit[order][None], np.zeros((1, len(order)), bool), np.full(images, objects)
    )
