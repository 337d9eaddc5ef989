"""From records to the answer and the page: what is said, what is shown, and what is refused."""

import csv
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from verdict_data import CLASSES, make_record

from mmfusion.experiments.verdict.examples import image_scores, operating_score
from mmfusion.experiments.verdict.groups import group_images, members
from mmfusion.experiments.verdict.matching import match
from mmfusion.experiments.verdict.record import Boxes, Record, confusion_matrix
from mmfusion.experiments.verdict.report import make_report
from mmfusion.experiments.verdict.run import row_facts, write_results
from mmfusion.experiments.verdict.segmentation import intersection_over_union
from mmfusion.experiments.verdict.tasks import RowFacts
from mmfusion.utils import UserError

ROWS = dict(
    visible=RowFacts('visible', True),
    infrared=RowFacts('infrared', True),
    average=RowFacts('average', False),
    joint=RowFacts('joint', False),
)


def records(seeds=3, images=30, **skill):
    return {
        name: {seed: make_record(100 * place + seed, images=images, skill=value) for seed in range(seeds)}
        for place, (name, value) in enumerate(skill.items())
    }


def answer(report):
    return next(iter(report.tasks[0].judgments.values()))


def test_fusion_helps():
    report = make_report(records(visible=0.4, infrared=0.45, average=0.5, joint=0.97), ROWS, resamples=400)
    assert answer(report).kind == 'fusion' and answer(report).fused == 'joint'
    assert report.sentence.startswith('Fusion helps: joint is better than infrared, the better source alone (mAP50')
    assert 'it is better than average too' in report.sentence and report.sentence.count('.\n') == 0


def test_a_source_alone_does_best():
    report = make_report(records(visible=0.3, infrared=0.97, average=0.5, joint=0.5), ROWS, resamples=400)
    assert answer(report).kind == 'single' and report.sentence.startswith(
        'Infrared does best: every way to fuse is worse'
    )


def test_the_data_cannot_tell():
    report = make_report(records(visible=0.6, infrared=0.6, average=0.6, joint=0.62), ROWS, resamples=400)
    assert answer(report).kind == 'untold' and report.sentence.startswith('The data cannot tell whether fusion helps')


def test_fusion_that_gains_nothing_is_not_needed():
    """The same boxes in both rows: the data can tell that nothing is gained."""
    same = records(infrared=0.8)['infrared']
    report = make_report(
        dict(infrared=same, average=same),
        {name: ROWS[name]._replace(trains=False) for name in ('infrared', 'average')},
        resamples=200,
    )
    assert answer(report).kind == 'single' and 'no way to fuse gains as much as 0.01' in report.sentence


def test_one_seed_tells_nothing():
    report = make_report(records(seeds=1, visible=0.3, joint=0.97), ROWS, resamples=200)
    assert (
        answer(report).kind == 'untold'
        and 'trained with one seed' in report.sentence
        and any('One seed only' in note for note in report.notes)
    )


def test_rows_are_missing():
    report = make_report(records(visible=0.5), ROWS, resamples=200)
    assert answer(report).kind == 'incomplete' and 'no row of a way to fuse' in report.sentence


def test_untouched_rows_are_judged_among_themselves():
    rows = row_facts(['visible', 'joint', 'visible_untouched', 'frozen'])
    found = records(visible=0.5, joint=0.97, visible_untouched=0.3, frozen=0.9)
    found['visible_untouched'] = {0: found['visible_untouched'][0]}
    report = make_report(found, rows, resamples=400)
    judgments = report.tasks[0].judgments
    assert (judgments['trained'].single, judgments['trained'].fused) == ('visible', 'joint')
    assert (judgments['untouched'].single, judgments['untouched'].fused) == ('visible_untouched', 'frozen')
    assert judgments['untouched'].sentence.startswith('With the task networks as loaded, fusion helps: frozen teacher')


def test_values_are_those_of_all_images_and_groups_those_of_some():
    found = records(visible=0.6, joint=0.9)
    report = make_report(found, ROWS, resamples=200)
    task = report.tasks[0]
    value = task.metrics['mAP50']['joint'].value
    assert list(task.metrics) == ['mAP50', 'mAP75', 'mAP'] and value > task.metrics['mAP75']['joint'].value
    by_hand = np.mean([find_precision(record, range(30)) for record in found['joint'].values()])
    assert value == pytest.approx(by_hand, abs=1e-12)
    night = [index for index, name in enumerate(found['joint'][0].names) if name.endswith('N')]
    by_hand = np.mean([find_precision(record, night) for record in found['joint'].values()])
    assert task.groups['time']['night']['joint'].value == pytest.approx(by_hand, abs=1e-12)
    assert set(task.groups['class']) == set(CLASSES) and set(task.groups['size']) == {'small', 'medium', 'large'}
    assert np.mean([task.groups['class'][name]['joint'].value for name in CLASSES]) == pytest.approx(value)


def find_precision(record, images):
    """mAP50 of some images alone, by a record that holds only these."""
    images = list(images)

    def only(boxes):
        mask = np.isin(boxes.image, images)
        return Boxes(np.searchsorted(images, boxes.image[mask]), *(field[mask] for field in boxes[1:]))

    part = Record(
        tuple(record.names[i] for i in images),
        record.sizes[images],
        record.classes,
        only(record.truth),
        only(record.found),
    )
    from mmfusion.experiments.verdict.average_precision import average_precision

    return np.nanmean([average_precision(match(part).rankings[label, 'all'])[0] for label in range(2)])


def seg_record(seed, quality, images=20, classes=3):
    rng, truth_rng = np.random.default_rng(seed), np.random.default_rng(0)
    matrices = []
    for _ in range(images):
        truth = truth_rng.integers(0, classes, 400)
        guess = np.where(rng.random(400) < quality + rng.normal(0, 0.02), truth, rng.integers(0, classes, 400))
        matrices.append(confusion_matrix(truth, guess, classes))
    names = tuple(f'{index:05d}N' for index in range(images))
    return Record(
        names, np.array([[20, 20]] * images), seg_classes=('road', 'car', 'person'), confusion=np.stack(matrices)
    )


def test_segmentation_is_judged_by_mean_iou():
    found = {
        name: {seed: seg_record(100 * place + seed, quality) for seed in range(3)}
        for place, (name, quality) in enumerate(dict(visible=0.5, infrared=0.55, joint=0.8).items())
    }
    report = make_report(found, ROWS, resamples=300)
    (task,) = report.tasks
    assert (
        task.metric == 'mIoU'
        and answer(report).kind == 'fusion'
        and 'mIoU' in report.sentence
        and set(task.groups['class']) == {'road', 'car', 'person'}
    )
    by_hand = np.mean([np.nanmean(intersection_over_union(record.confusion)) for record in found['joint'].values()])
    assert task.metrics['mIoU']['joint'].value == pytest.approx(by_hand)
    without = make_report(found, ROWS, resamples=100, ignore_background=True).tasks[0].metrics['mIoU']['joint'].value
    assert without == pytest.approx(
        np.mean([np.nanmean(intersection_over_union(record.confusion)[1:]) for record in found['joint'].values()])
    )
    assert without != pytest.approx(by_hand, abs=1e-6)


def both(boxes, maps):
    return boxes._replace(names=maps.names, seg_classes=maps.seg_classes, confusion=maps.confusion)


def test_what_a_task_gains_from_another():
    """Rows of one task each beside a row of both: each task is judged among the rows that have it."""
    rows = row_facts(['detection_alone', 'segmentation_alone', 'joint'])
    found = {
        'detection_alone': {seed: make_record(seed, images=20, skill=0.4) for seed in range(3)},
        'segmentation_alone': {seed: seg_record(seed, 0.7) for seed in range(3)},
        'joint': {
            seed: both(make_record(seed + 9, images=20, skill=0.97), seg_record(seed + 9, 0.7)) for seed in range(3)
        },
    }
    names = found['joint'][0].names
    found['detection_alone'] = {seed: each._replace(names=names) for seed, each in found['detection_alone'].items()}
    report = make_report(found, rows, resamples=300)
    detection, segmentation = report.tasks
    assert set(detection.study.rows) == {'detection_alone', 'joint'}
    assert set(segmentation.study.rows) == {'segmentation_alone', 'joint'}
    assert report.sentences[0].startswith(
        'Training with another task helps detection: joint is better than detection alone (mAP50 '
    )
    assert report.sentences[1].startswith('The data cannot tell whether training with another task helps segmentation')
    assert 'no row of a single source' in report.sentences[2]
    assert {example.better for example in report.examples} <= {'detection_alone', 'joint'}
    worse = make_report({**found, 'joint': {0: both(make_record(9, images=20, skill=0.1), seg_record(9, 0.2))}}, rows)
    assert 'with one seed; train at least two' in worse.sentences[0]
    fewer = {seed: seg_record(seed, 0.5)._replace(names=names) for seed in range(3)}
    swapped = {**found, 'joint': {seed: both(found['joint'][seed], fewer[seed]) for seed in range(3)}}
    assert (
        make_report(swapped, rows, resamples=300)
        .sentences[1]
        .startswith('Training with another task harms segmentation: joint is worse than segmentation alone (mIoU ')
    )
    other = found['segmentation_alone'][0]
    moved = other._replace(confusion=np.roll(other.confusion, 1, axis=0))
    with pytest.raises(UserError, match='different images or labels'):
        make_report({**found, 'segmentation_alone': {0: moved}}, rows)


def test_iou_equals_mmseg_and_resamples():
    from mmfusion.evaluation.metrics import SegIoUMetric

    rng = np.random.default_rng(0)
    import torch

    metric = SegIoUMetric(per_class=True)
    metric.dataset_meta = dict(classes=('a', 'b', 'c', 'd'))
    matrices = []
    for _ in range(5):
        truth, guess = (torch.as_tensor(rng.integers(0, 3, (1, 16, 16))) for _ in range(2))
        truth[0, :2] = 255
        metric.process({}, [dict(gt_sem_seg=dict(data=truth), pred_sem_seg=dict(data=guess))])
        matrices.append(confusion_matrix(truth.numpy(), guess.numpy(), 4))
    values, ours = metric.evaluate(5), intersection_over_union(np.stack(matrices))
    assert [values[f'seg/IoU_{name}'] for name in 'abc'] == pytest.approx(ours[:3] * 100, abs=0.006) and np.isnan(
        ours[3]
    )
    weights = np.array([[2, 0, 1, 0, 3]])
    copies = np.stack([matrices[i] for i in (0, 0, 2, 4, 4, 4)])
    np.testing.assert_allclose(intersection_over_union(np.stack(matrices), weights)[0], intersection_over_union(copies))
    with pytest.raises(ValueError, match='label 7'):
        confusion_matrix(np.array([7]), np.array([0]), 4)


def test_operating_score_has_the_best_f1():
    record = make_record(1, images=20, skill=0.8, crowd=0)
    found = match(record)
    hit, score = found.found_match >= 0, record.found.score

    def quality(threshold):
        shown = score >= threshold
        return 2 * (hit & shown).sum() / (shown.sum() + len(record.truth.image))

    best = operating_score(found)
    assert quality(best) == max(quality(threshold) for threshold in score)
    shown = score >= best
    by_hand = [
        np.sum(shown & hit & (record.found.image == i)) - np.sum(shown & ~hit & (record.found.image == i))
        for i in range(20)
    ]
    assert image_scores(record, found).tolist() == by_hand
    empty = make_record(1, empty=True)
    assert operating_score(match(empty)) == float('inf') and not image_scores(empty, match(empty)).any()


class Page(HTMLParser):
    """Tags, their attributes, and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ''
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def with_pictures(found, **level):
    rng = np.random.default_rng(0)
    return {
        name: {
            seed: record._replace(
                pictures=rng.normal(level[name], 0.05, (len(record.names), 5)) if name in level else None
            )
            for seed, record in seeds.items()
        }
        for name, seeds in found.items()
    }


def test_the_page_stands_alone(tmp_path):
    found = with_pictures(
        records(visible=0.4, infrared=0.5, average=0.6, joint=0.95), visible=0.6, infrared=0.6, joint=-0.3
    )
    report = make_report(found, ROWS, resamples=200)
    sources = tmp_path / 'sources'
    pictures = tmp_path / 'joint_seed0' / 'pictures'
    import cv2

    for folder, names in ((sources, ('{}_first', '{}_second')), (pictures, ('{}',))):
        folder.mkdir(parents=True)
        for name in report.records['joint'].names:
            for pattern in names:
                cv2.imwrite(str(folder / f'{pattern.format(name)}.jpg'), np.full((48, 64, 3), 90, np.uint8))
    page, table = write_results(
        report,
        tmp_path,
        dict(config='configs/<x>.py', modalities=['visible', 'infrared'], budget=dict(max_epochs=3)),
        [],
    )
    text = page.read_text()
    parsed = Page(text)
    assert not {'script', 'link', 'iframe', 'object', 'img'} & {tag for tag, _ in parsed.tags}
    addresses = [
        value
        for _, attrs in parsed.tags
        for key, value in attrs.items()
        if key in ('href', 'src', 'xlink:href', 'action')
    ]
    assert addresses and all(value.startswith(('data:image/jpeg;base64,', '#')) for value in addresses)
    assert not re.search(r'url\((?!#)|@import', text) and 'prefers-color-scheme: dark' in text
    ids = [attrs['id'] for _, attrs in parsed.tags if 'id' in attrs]
    assert len(ids) == len(set(ids)), 'figures of one page share ids'
    assert (
        report.sentence in parsed.text
        and 'look like a negative: 100% of them' in parsed.text
        and 'makes no picture' in parsed.text
    )
    assert '<x>' in parsed.text and '3 epochs' in parsed.text
    for heading in (
        'Every pair',
        'Size of the objects',
        'Types of errors',
        'Precision over recall',
        'What the picture costs',
        'Where the rows differ most',
    ):
        assert heading in parsed.text
    assert sum(tag == 'image' for tag, _ in parsed.tags) >= 3 * len(report.examples) > 0
    assert '▲' in parsed.text and '▼' in parsed.text
    lines = list(csv.DictReader(table.open()))
    assert {line['kind'] for line in lines} == {'value', 'seed', 'difference', 'group', 'error', 'picture'}
    joint = next(
        line for line in lines if line['kind'] == 'value' and line['row'] == 'joint' and line['metric'] == 'mAP50'
    )
    assert (
        float(joint['value']) == pytest.approx(report.tasks[0].metrics['mAP50']['joint'].value, abs=1e-6)
        and joint['seeds'] == '3'
    )
    assert len([line for line in lines if line['kind'] == 'difference']) == 6


def test_nothing_found_is_said(tmp_path):
    found = records(seeds=2, visible=0.5, average=0.5)
    found['average'] = {seed: record._replace(found=Boxes.of([])) for seed, record in found['average'].items()}
    report = make_report(found, ROWS, resamples=200)
    assert report.tasks[0].metrics['mAP50']['average'].value == 0
    assert any('No detection at all: average (seed 1 of 2), average (seed 2 of 2)' in note for note in report.notes)
    write_results(report, tmp_path, {}, [])


def test_what_cannot_be_judged_is_refused():
    found = records(visible=0.5, joint=0.6)
    with pytest.raises(UserError, match='no cell is complete'):
        make_report({}, ROWS)
    other = {**found, 'joint': {0: make_record(0, images=30, truth_seed=5)}}
    with pytest.raises(UserError, match='joint, seed 0 and visible, seed 0 were tested on different images or labels'):
        make_report(other, ROWS, resamples=100)
    bare = {name: {0: seeds[0]._replace(truth=Boxes.of([]))} for name, seeds in found.items()}
    with pytest.raises(UserError, match='no object to compare'):
        make_report(bare, ROWS, resamples=100)
    with pytest.raises(UserError, match='metric must be one of mAP50'):
        make_report(found, ROWS, metric='mAP42')
    with pytest.raises(UserError, match='at least 100 resamplings'):
        make_report(found, ROWS, resamples=10)


def test_groups(tmp_path):
    assert (
        group_images(['00001D', '00004N']) == {'00001D': 'day', '00004N': 'night'}
        and group_images(['00001D', 'b']) == {}
    )
    file = tmp_path / 'groups.csv'
    file.write_text('name,group\na,fog\nb,rain\nc,fog\n')
    assert members(group_images(['a', 'b', 'c'], file), ['a', 'b', 'c']) == {
        'fog': [0, 2]
    }  # one image alone is no group
    with pytest.raises(UserError, match="no group for 1 of 2 test images, the first is 'd'"):
        group_images(['a', 'd'], file)
    file.write_text('image,group\na,fog\n')
    with pytest.raises(UserError, match='header name,group'):
        group_images(['a'], file)
    with pytest.raises(UserError, match='cannot be read'):
        group_images(['a'], tmp_path / 'none.csv')


def test_records_survive_the_disk(tmp_path):
    record = make_record(2)._replace(pictures=np.random.rand(12, 5))
    record.save(tmp_path / 'a.npz')
    again = Record.load(tmp_path / 'a.npz')
    assert again.names == record.names and again.classes == record.classes and again.confusion is None
    assert all(
        np.array_equal(a, b)
        for a, b in zip((*record.truth, *record.found, record.pictures), (*again.truth, *again.found, again.pictures))
    )
    seg = seg_record(0, 0.5)
    seg.save(tmp_path / 'b.npz')
    assert (
        np.array_equal(Record.load(tmp_path / 'b.npz').confusion, seg.confusion)
        and Record.load(tmp_path / 'b.npz').found is None
    )
    content = (tmp_path / 'a.npz').read_bytes()
    (tmp_path / 'a.npz').write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match='cannot be read as the record of a test'):
        Record.load(tmp_path / 'a.npz')
