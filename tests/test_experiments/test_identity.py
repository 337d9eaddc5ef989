"""A folder of results knows what it was made with: another config, other data or other weights are refused."""

import copy
import json
import shutil

import pytest
import torch
from mmengine.config import Config
from tiny_runs import write_run

from mmfusion.experiments import claim, data_identity, run_identity
from mmfusion.experiments.comparison import compare, run_variant, variant_config
from mmfusion.utils import UserError


@pytest.fixture
def base(tmp_path):
    return Config.fromfile(write_run(tmp_path, 'joint', epochs=1))


def changed(first, second):
    return sorted(key for key in first if first[key] != second[key])


def other(base, **options):
    cfg = copy.deepcopy(base)
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
    return cfg


def test_what_counts_and_what_does_not(base, tmp_path):
    facts = run_identity(base)
    assert facts == run_identity(base.copy()) and json.loads(json.dumps(facts)) == facts
    assert (
        changed(
            facts,
            run_identity(other(base, train_dataloader__num_workers=2, train_cfg__val_interval=9, work_dir='x', seed=3)),
        )
        == []
    )
    assert changed(facts, run_identity(other(base, optim_wrapper__optimizer__lr=0.5))) == ['schedule']
    assert changed(facts, run_identity(other(base, train_cfg__max_epochs=9))) == ['schedule']
    assert changed(facts, run_identity(other(base, model__fuser__width=8))) == ['model']
    assert changed(facts, run_identity(other(base, train_dataloader__batch_size=1))) == ['loaders']
    assert changed(facts, run_identity(other(base, test_evaluator=[dict(type='SegIoUMetric')]))) == ['evaluation']


def test_data_count_by_names_and_sizes(base, tmp_path):
    facts = data_identity(base)
    assert {part: facts[part]['pairs'] for part in facts} == dict(train=6, test=2)
    label = tmp_path / 'MSRS' / 'train' / 'Segmentation_labels' / 'train3.png'
    label.write_bytes(label.read_bytes() + b'x')
    assert changed(facts, data_identity(base)) == ['train']
    facts = data_identity(base)
    for name in ('vi', 'ir', 'Segmentation_labels'):
        (tmp_path / 'MSRS' / 'test' / name / 'test1.png').unlink()
    assert changed(facts, data_identity(base)) == ['test']
    joined = other(base)
    joined.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[base.test_dataloader.dataset] * 2)
    joined.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=base.train_dataloader.dataset)
    assert data_identity(joined) == dict(train=data_identity(base)['train'], test=[data_identity(base)['test']] * 2)


def test_weights_count_by_content(base, tmp_path):
    first, second, third = (tmp_path / f'{name}.pth' for name in 'abc')
    torch.save(dict(a=torch.ones(2)), first)
    shutil.copy(first, second)
    torch.save(dict(a=torch.zeros(2)), third)
    start = run_identity(other(base, load_from=str(first)))
    assert changed(run_identity(base), start) == ['start']
    assert changed(start, run_identity(other(base, load_from=str(second)))) == []
    assert changed(start, run_identity(other(base, load_from=str(third)))) == ['start']
    facts = [
        run_identity(other(base, model__init_cfg=dict(type='Pretrained', checkpoint=str(path))))
        for path in (first, second, third)
    ]
    assert changed(facts[0], facts[1]) == [] and changed(facts[0], facts[2]) == ['model']


def test_claims(tmp_path):
    file = tmp_path / 'run' / 'run.json'
    claim(file, dict(a=1, path='x', sha='s'))
    claim(file, dict(a=1, path='y', sha='s'), ignore=dict(path='sha'))
    with pytest.raises(
        UserError,
        match=r'run.json belongs to another run \(a, sha differ\); choose another --work-dir, or remove .*run',
    ):
        claim(file, dict(a=2, path='x', sha='t'), ignore=dict(path='sha'))
    claim(file, dict(a=1, more=(1, 2)))  # written by an earlier version
    claim(file, dict(a=1, more=(1, 2)))
    with pytest.raises(UserError, match='more differ'):
        claim(file, dict(a=1, more=(1, 3)))
    file.write_text('{"a"')
    with pytest.raises(UserError, match='is damaged.*remove'):
        claim(file, dict(a=1))


def test_compare_refuses_another_config(base, tmp_path):
    """Results that are there are returned only to the config that made them."""
    root = tmp_path / 'runs'
    folder = root / 'average_seed0'
    cfg = variant_config(base, 'average', 0, folder)
    claim(folder / 'run.json', run_identity(cfg))
    (folder / 'result.json').write_text(
        json.dumps(dict(variant='average', seed=0, epochs=1, metrics={'seg/mIoU': 7.0}))
    )
    assert compare(base, ['average'], [0], root)[0]['metrics'] == {'seg/mIoU': 7.0}
    with pytest.raises(UserError, match=r'schedule differ.*choose another --work-dir'):
        compare(other(base, optim_wrapper__optimizer__lr=0.5), ['average'], [0], root)
    (folder / 'run.json').unlink()
    with pytest.raises(UserError, match='does not say by which config'):
        run_variant(base, 'average', 0, root)
