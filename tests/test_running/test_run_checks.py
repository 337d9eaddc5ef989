"""Data and model that do not fit together are found before the first iteration."""

from types import SimpleNamespace

import pytest
import tiny_models
from torch import nn
from torch.utils.data import DataLoader

from mmfusion.models.couplings import JointCoupling
from mmfusion.running.checks import check_classes, check_testing, check_training, class_counts
from mmfusion.utils import UserError


class Pairs(list):
    metainfo = dict(classes=('person', 'car', 'lamp'), seg_classes=('background', 'person', 'car'))


def coupling(**tasks):
    return JointCoupling(fuser=dict(type='AverageFuser'), tasks=tasks)


def loader(metainfo=None, length=4, **options):
    data = Pairs(range(length))
    if metainfo is not None:
        data.metainfo = metainfo
    return DataLoader(data, **options)


def test_matching_classes_pass():
    model = coupling(
        a=tiny_models.rtmdet(), b=tiny_models.faster_rcnn(), c=tiny_models.detr(), d=tiny_models.segmentor()
    )
    assert [(part, number) for part, _, number in class_counts(model)] == [
        (f'model.tasks.{name}', 3) for name in 'abcd'
    ]
    check_classes(model, loader(), 'train_dataloader')
    check_classes(nn.DataParallel(model), loader(), 'train_dataloader')


@pytest.mark.parametrize(
    ('make', 'metainfo', 'parts'),
    [
        (
            tiny_models.rtmdet,
            dict(classes=('person', 'car')),
            ['has 2 classes (person, car)', 'model.tasks.net has num_classes=3'],
        ),
        (tiny_models.faster_rcnn, dict(classes=tuple('abcd')), ['has 4 classes', 'model.tasks.net has num_classes=3']),
        (tiny_models.segmentor, dict(seg_classes=('background', 'car')), ['2 segmentation classes', 'num_classes=3']),
    ],
)
def test_other_classes_are_one_message(make, metainfo, parts):
    with pytest.raises(UserError) as error:
        check_classes(coupling(net=make()), loader(metainfo), 'val_dataloader')
    assert all(part in str(error.value) for part in ['val_dataloader', *parts]), str(error.value)


def test_sets_without_class_names_are_passed_over():
    check_classes(coupling(net=tiny_models.rtmdet()), loader(dict(classes=())), 'train_dataloader')


def test_no_batch_and_no_training():
    runner = SimpleNamespace(
        train_loop=object(),
        val_loop=None,
        model=nn.Identity(),
        train_dataloader=loader(batch_size=8, drop_last=True),
        hooks=[],
        _load_from=None,
        _resume=False,
    )
    with pytest.raises(UserError, match='4 pairs make no batch of batch_size=8.*set drop_last=False'):
        check_training(runner)
    runner.train_dataloader = loader(batch_size=8)
    check_training(runner)
    runner.train_loop = None
    with pytest.raises(UserError, match='has no train_dataloader'):
        check_training(runner)


def test_unlabelled_sets():
    unlabelled = loader(dict(classes=()))
    runner = SimpleNamespace(
        train_loop=object(),
        val_loop=None,
        model=coupling(det=tiny_models.rtmdet()),
        train_dataloader=unlabelled,
        _load_from=None,
        _resume=False,
    )
    with pytest.raises(UserError, match='train_dataloader: Pairs has no boxes, but model.tasks.det learns'):
        check_training(runner)

    class VOCMetric:
        pass

    loop = SimpleNamespace(dataloader=unlabelled, evaluator=SimpleNamespace(metrics=[VOCMetric()]))
    with pytest.raises(UserError, match='test_dataloader: Pairs has no boxes to compare'):
        check_testing(runner, loop)
    loop.evaluator.metrics.clear()
    check_testing(runner, loop)


def test_joined_sets_and_coco_metric():
    class CocoMetric:
        pass

    class VOCMetric:
        pass

    data = loader()
    data.dataset.datasets = [1, 2]
    loop = SimpleNamespace(dataloader=data, evaluator=SimpleNamespace(metrics=[VOCMetric(), CocoMetric()]))
    runner = SimpleNamespace(model=nn.Identity())
    with pytest.raises(UserError, match='test_dataloader joins 2 data sets.*img_id'):
        check_testing(runner, loop)
    loop.evaluator.metrics.pop()
    check_testing(runner, loop)
