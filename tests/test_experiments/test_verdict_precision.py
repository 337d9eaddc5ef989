"""Average precision from stored matches: pycocotools' numbers, for the test set and for every resampling of it."""

import contextlib
import io

import numpy as np
import pytest
from verdict_data import make_record

from mmfusion.experiments.verdict.average_precision import average_precision, precision_curve
from mmfusion.experiments.verdict.matching import SIZES, evaluate_coco, match
from mmfusion.experiments.verdict.record import Boxes

# Both sum the same 101 numbers, in another order.
TOLERANCE = dict(rtol=0, atol=1e-13)


def coco_precision(evaluation):
    """pycocotools' table (T, 101, classes, sizes) at 100 detections per image, and its 12 numbers."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.eval['precision'][..., -1], evaluation.stats


def replicate(record, counts):
    """The data set that holds image i ``counts[i]`` times."""
    chosen = np.repeat(np.arange(len(record.names)), counts)

    def boxes(old):
        parts = [(new, old.image == image) for new, image in enumerate(chosen)]
        return Boxes(
            np.concatenate([np.full(mask.sum(), new) for new, mask in parts]),
            *(np.concatenate([field[mask] for _, mask in parts]) for field in old[1:]),
        )

    return record._replace(
        names=tuple(f'{n}' for n in range(len(chosen))),
        sizes=record.sizes[chosen],
        truth=boxes(record.truth),
        found=boxes(record.found),
    )


@pytest.mark.parametrize(
    'options', [dict(), dict(ties=True), dict(crowd=0.5), dict(images=1), dict(empty=True)], ids=str
)
def test_equals_pycocotools(options):
    record = make_record(3, **options)
    evaluation = evaluate_coco(record)
    matches = match(record, evaluation=evaluation)
    table, stats = coco_precision(evaluation)
    ours = np.array(
        [[average_precision(matches.rankings[label, size]) for size in SIZES] for label in range(2)]
    )  # (K, A, T)
    theirs = np.where((table > -1).all(1), table.mean(1), np.nan).transpose(1, 2, 0)
    np.testing.assert_allclose(ours, theirs, **TOLERANCE)
    curves = np.array([[precision_curve(matches.rankings[label, size]) for size in SIZES] for label in range(2)])
    np.testing.assert_array_equal(np.nan_to_num(curves, nan=-1), table.transpose(2, 3, 0, 1))
    np.testing.assert_allclose([np.nanmean(ours[:, 0]), np.nanmean(ours[:, 0, 0])], stats[:2], **TOLERANCE)


@pytest.mark.parametrize('ties', [False, True])
def test_resampled_images_equal_pycocotools_on_copies(ties):
    record = make_record(5, images=9, ties=ties)
    rankings = match(record).rankings
    weights = np.random.default_rng(0).multinomial(9, [1 / 9] * 9, size=12)
    ours = {key: average_precision(ranking, weights) for key, ranking in rankings.items()}
    for index, counts in enumerate(weights):
        table, _ = coco_precision(evaluate_coco(replicate(record, counts)))
        for (label, size), values in ours.items():
            part = table[:, :, label, SIZES.index(size)]
            theirs = part.mean(1) if (part > -1).all() else np.full(10, np.nan)
            np.testing.assert_allclose(values[index], theirs, **TOLERANCE)


def test_equals_the_metric_of_mmdet():
    """``mmdet.CocoMetric`` on the same boxes; it prints three decimals."""
    from mmdet.evaluation import CocoMetric

    record = make_record(4, images=6)
    metric = CocoMetric(metric='bbox')
    metric.dataset_meta = dict(classes=record.classes)
    import torch

    for image in range(6):
        truth, found = (
            {field: getattr(boxes, field)[boxes.image == image] for field in ('box', 'label', 'score')}
            for boxes in (record.truth, record.found)
        )
        instances = [
            dict(bbox=box.tolist(), bbox_label=int(label), ignore_flag=int(flag))
            for box, label, flag in zip(*truth.values())
        ]
        predicted = dict(
            bboxes=torch.tensor(found['box']), labels=torch.tensor(found['label']), scores=torch.tensor(found['score'])
        )
        metric.process({}, [dict(img_id=image, ori_shape=(480, 640), instances=instances, pred_instances=predicted)])
    values = metric.evaluate(6)
    rankings = match(record).rankings
    table = np.array([average_precision(rankings[label, 'all']) for label in range(2)])
    assert values['coco/bbox_mAP'] == pytest.approx(np.nanmean(table), abs=5e-4)
    assert values['coco/bbox_mAP_50'] == pytest.approx(np.nanmean(table[:, 0]), abs=5e-4)


def test_objects_that_are_matched():
    record = make_record(3)
    matches = match(record)
    hits = np.flatnonzero((matches.found_match >= 0) & ~matches.found_ignored)
    objects = matches.found_match[hits]
    assert len(set(objects)) == len(objects) > 3
    assert (record.truth.label[objects] == record.found.label[hits]).all() and (
        record.truth.image[objects] == record.found.image[hits]
    ).all()
    assert len(hits) == sum(ranking.hit[0].sum() for (_, size), ranking in matches.rankings.items() if size == 'all')
