"""TIDE's error types, box by box in plain loops: the slow twin of ``error_types``.

Written after the paper (arXiv 2008.08115, section 2.2 and 2.3) and the order of tests of its program; works on records
alone, with a matching of its own at an overlap of 0.5.
"""

import numpy as np


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def read(record):
    """Objects and detections as lists of dicts."""
    objects = [
        dict(image=int(i), box=b.tolist(), label=int(n), ignore=bool(s), taken=False)
        for i, b, n, s in zip(*record.truth)
    ]
    boxes = [
        dict(image=int(i), box=b.tolist(), label=int(n), score=float(s), number=k)
        for k, (i, b, n, s) in enumerate(zip(*record.found))
    ]
    return objects, boxes


def match(objects, boxes):
    """Greedy matching at 0.5, best score first; boxes that fall to ignored objects are marked."""
    for box in sorted(boxes, key=lambda box: (-box['score'], box['image'], box['number'])):
        box['hit'] = box['ignored'] = False
        rivals = [o for o in objects if o['image'] == box['image'] and o['label'] == box['label']]
        free = [o for o in rivals if not o['ignore'] and not o['taken'] and overlap(box['box'], o['box']) >= 0.5]
        if free:
            best = max(free, key=lambda o: overlap(box['box'], o['box']))
            best['taken'], box['hit'] = True, True
        elif any(o['ignore'] and crowd_overlap(box['box'], o['box']) >= 0.5 for o in rivals):
            box['ignored'] = True


def crowd_overlap(box, crowd):
    """Part of the box that lies in an ignored region, as COCO has it."""
    width, height = min(box[2], crowd[2]) - max(box[0], crowd[0]), min(box[3], crowd[3]) - max(box[1], crowd[1])
    return max(width, 0) * max(height, 0) / ((box[2] - box[0]) * (box[3] - box[1]))


def classify(objects, boxes):
    for box in boxes:
        box['kind'], box['target'] = None, None
        if box['hit'] or box['ignored']:
            continue
        near = [(overlap(box['box'], o['box']), o) for o in objects if o['image'] == box['image'] and not o['ignore']]
        own = max((pair for pair in near if pair[1]['label'] == box['label']), key=lambda p: p[0], default=(0, None))
        other = max((pair for pair in near if pair[1]['label'] != box['label']), key=lambda p: p[0], default=(0, None))
        used = max((value for value, o in near if o['label'] == box['label'] and o['taken']), default=0)
        if own[1] is not None and 0.1 <= own[0] <= 0.5:
            box['kind'], box['target'] = 'place', own[1]
        elif other[1] is not None and other[0] >= 0.5:
            box['kind'], box['target'] = 'class', other[1]
        elif used >= 0.5:
            box['kind'] = 'duplicate'
        elif max((value for value, _ in near), default=0) <= 0.1:
            box['kind'] = 'background'
        else:
            box['kind'] = 'both'
        if box['target'] is not None and box['target']['taken']:
            box['target'] = None
    for o in objects:
        o['missed'] = not o['ignore'] and not o['taken'] and all(box['target'] is not o for box in boxes)


def precision_of(boxes, positives):
    """101-point average precision of ``(score, image, number, hit)``."""
    if positives == 0:
        return None
    right, curve = 0, []
    for seen, (_, _, _, hit) in enumerate(sorted(boxes, key=lambda b: (-b[0], b[1], b[2])), 1):
        right += hit
        curve.append((right / positives, right / seen))
    return sum(max((p for r, p in curve if r >= recall), default=0) for recall in np.linspace(0, 1, 101)) / 101


def mean_precision(objects, boxes, classes, mended=None):
    values = []
    for label in range(classes):
        positives = sum(
            o['label'] == label and not o['ignore'] and not (mended == 'missed' and o['missed']) for o in objects
        )
        ranked = []
        for box in boxes:
            if box['ignored']:
                continue
            now, hit = box['label'], box['hit']
            if mended is not None and box['kind'] == mended:
                rivals = [b for b in boxes if b['target'] is box['target']] if box['target'] is not None else []
                if not rivals or max(rivals, key=lambda b: (b['score'], -b['number'])) is not box:
                    continue
                now, hit = box['target']['label'], True
            if now == label:
                ranked.append((box['score'], box['image'], box['number'], hit))
        value = precision_of(ranked, positives)
        values += [] if value is None else [value]
    return sum(values) / len(values)


def find_errors(record):
    """Kinds of all boxes, missed objects and gains by type."""
    objects, boxes = read(record)
    match(objects, boxes)
    classify(objects, boxes)
    before = mean_precision(objects, boxes, len(record.classes))
    kinds = ('class', 'place', 'both', 'duplicate', 'background', 'missed')
    gain = {kind: mean_precision(objects, boxes, len(record.classes), kind) - before for kind in kinds}
    return [box['kind'] for box in boxes], [o['missed'] for o in objects], gain
