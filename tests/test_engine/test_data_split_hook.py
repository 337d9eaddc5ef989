"""DataSplitHook: every result says on which images it was measured."""

from types import SimpleNamespace

import pytest

from mmfusion.datasets import DemoPairs
from mmfusion.registry import HOOKS


@pytest.mark.parametrize('mode', ['val', 'test'])
def test_hash_is_logged(mode):
    lines, dataset = [], DemoPairs(length=3, size=(64, 64), split='test')
    runner = SimpleNamespace(
        logger=SimpleNamespace(info=lines.append), **{f'{mode}_dataloader': SimpleNamespace(dataset=dataset)}
    )
    hook = HOOKS.build(dict(type='DataSplitHook'))
    getattr(hook, f'after_{mode}_epoch')(runner, metrics=dict(mAP=0.5))
    assert lines == [
        f'{mode} results were measured on 3 pairs of DemoPairs, split hash {dataset.metainfo["split_hash"]}'
    ]


def test_other_data_sets_are_passed_over():
    lines = []
    runner = SimpleNamespace(logger=SimpleNamespace(info=lines.append), val_dataloader=SimpleNamespace(dataset=[1, 2]))
    HOOKS.build(dict(type='DataSplitHook')).after_val_epoch(runner)
    assert lines == []
