"""MetaTrainLoop: which batches each phase gets, in which order, what is logged, and that resuming is exact."""

import io
import itertools

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from tiny_config import CONFIGS
from tiny_runner import NoisyDataset, StopAfterEpochs, collate
from torch import nn

from mmfusion.engine import ProgressBarHook
from mmfusion.models.couplings.steps.loss_check import LossCheck
from mmfusion.utils import UserError

COUNT = itertools.count()


class Numbered(NoisyDataset):
    """Twenty samples that are their own numbers."""

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return torch.tensor([float(index)])


class Recorder(BaseModel):
    """Keeps which samples each phase was given."""

    def __init__(self):
        super().__init__()
        self.fuser = nn.Linear(1, 1)
        self.loss_check = LossCheck()
        self.seen = []

    def forward(self, inputs, mode='loss'):
        return dict(loss=self.fuser(inputs).mean())

    def train_step(self, data, optim_wrapper):
        self.seen.append(('train', data['inputs'].flatten().tolist()))
        return dict(loss=torch.tensor(1.0))

    def meta_step(self, inner, outer, optim_wrapper):
        self.seen.append(('meta', inner['inputs'].flatten().tolist(), outer['inputs'].flatten().tolist()))
        return {'meta.loss': torch.tensor(float(len(self.seen)))}


class Plain(BaseModel):
    """A model without a meta step."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, inputs, mode='loss'):
        return dict(loss=self.layer(inputs).mean())


def make_runner(work_dir, model=None, batch_size=2, hooks=(), **train_cfg):
    model = model or Recorder()
    wrapper = dict(constructor='PartOptimWrapperConstructor', fuser=dict(optimizer=dict(type='SGD', lr=0.5)))
    return Runner(
        model=model,
        work_dir=str(work_dir),
        experiment_name=f'meta_loop_{next(COUNT)}',
        train_dataloader=dict(
            dataset=Numbered(),
            batch_size=batch_size,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type=collate),
        ),
        train_cfg={**dict(type='MetaTrainLoop', max_epochs=2, meta_steps=3), **train_cfg},
        optim_wrapper=wrapper if isinstance(model, Recorder) else dict(optimizer=dict(type='SGD', lr=0.5)),
        param_scheduler=[dict(type='StepLR', step_size=1, gamma=0.1, by_epoch=True)],
        custom_hooks=[dict(type='EpochSeedHook'), *hooks],
        randomness=dict(seed=3),
        default_scope='mmfusion',
    )


def test_each_epoch_is_meta_steps_then_the_whole_set(tmp_path):
    runner = make_runner(tmp_path)
    runner.train()
    seen = runner.model.seen
    assert [entry[0] for entry in seen] == (['meta'] * 3 + ['train'] * 10) * 2
    orders = []
    for epoch in range(2):
        part = seen[epoch * 13 : (epoch + 1) * 13]
        meta = [number for _, inner, outer in part[:3] for number in inner + outer]
        whole = [number for _, batch in part[3:] for number in batch]
        assert len(set(meta)) == 12  # inner and outer samples are all different
        assert sorted(whole) == list(range(20))
        orders += [meta, whole[:12]]
    assert len({tuple(order) for order in orders}) == 4  # every pass has its own order
    assert runner.iter == 20 and runner.max_iters == 20 and runner.epoch == 2
    assert runner.optim_wrapper['fuser'].get_lr()['lr'] == [pytest.approx(0.05)]


def logged(work_dir):
    return next(work_dir.rglob('*.log')).read_text()


def test_meta_values_are_logged(tmp_path):
    runner = make_runner(tmp_path, log_interval=2)
    runner.train()
    lines = [line.split(' INFO - ')[1] for line in logged(tmp_path).splitlines() if 'INFO - Epoch(meta)' in line]
    assert lines == [
        'Epoch(meta) [1][2/3]  lr: 5.000e-01  meta.loss: 1.5000',
        'Epoch(meta) [1][3/3]  lr: 5.000e-01  meta.loss: 3.0000',
        'Epoch(meta) [2][2/3]  lr: 5.000e-02  meta.loss: 14.5000',
        'Epoch(meta) [2][3/3]  lr: 5.000e-02  meta.loss: 16.0000',
    ]
    assert runner.message_hub.get_scalar('train/meta.loss').current() == 16
    scalars = next(tmp_path.rglob('scalars.json')).read_text()
    assert '"meta.loss": 16.0' in scalars and '"meta.step": 6' in scalars


@pytest.mark.parametrize('cycle, steps', [(False, 5), (True, 8)])
def test_small_data_sets(tmp_path, cycle, steps):
    runner = make_runner(tmp_path, meta_steps=8, cycle=cycle, max_epochs=1)
    runner.train()
    meta = [entry for entry in runner.model.seen if entry[0] == 'meta']
    assert len(meta) == steps
    assert 'meta_steps=8 needs 16 batches of a pass, and the training set makes 10' in logged(tmp_path)
    assert ('several times' if cycle else 'takes 5 steps per epoch') in logged(tmp_path)
    numbers = [number for _, inner, outer in meta for number in inner + outer]
    assert sorted(numbers[:20]) == list(range(20))


def test_begin_and_interval(tmp_path):
    runner = make_runner(tmp_path, max_epochs=5, meta_begin=2, meta_interval=2)
    runner.train()
    epochs, kinds = [], [entry[0] for entry in runner.model.seen]
    while kinds:
        count = kinds.index('train')
        epochs.append(count)
        kinds = kinds[count + 10 :]
    assert epochs == [0, 3, 0, 3, 0]


def test_bar_shows_both_phases(tmp_path):
    drawn = io.StringIO()
    make_runner(tmp_path, hooks=[ProgressBarHook(file=drawn, force=True)]).train()
    assert 'meta 1/2' in drawn.getvalue() and '/3' in drawn.getvalue() and 'epoch 2/2' in drawn.getvalue()


def test_bad_input(tmp_path):
    for key in ('meta_steps', 'meta_begin', 'meta_interval', 'log_interval'):
        with pytest.raises(ValueError, match=f'{key} must be at least 1'):
            make_runner(tmp_path, **{key: 0}).train()
    with pytest.raises(UserError, match='Plain has no meta step'):
        make_runner(tmp_path, Plain()).train()
    with pytest.raises(UserError, match='at least two batches'):
        make_runner(tmp_path, batch_size=20).train()


def test_optimizers_are_built_by_part(tmp_path):
    runner = make_runner(tmp_path)
    for wrapper, message in (
        (dict(tasks=dict(optimizer=dict(type='SGD', lr=1.0))), 'no such part to train; it has fuser'),
        (dict(fuser=dict(lr=1.0)), 'must be dict'),
        (dict(paramwise_cfg=dict(bias_lr_mult=2.0)), 'belongs into the entry'),
    ):
        with pytest.raises(UserError, match=message):
            runner.build_optim_wrapper(dict(constructor='PartOptimWrapperConstructor', **wrapper))
    built = runner.build_optim_wrapper(
        dict(
            constructor='PartOptimWrapperConstructor',
            fuser=dict(
                optimizer=dict(type='SGD', lr=1.0), clip_grad=dict(max_norm=1.0), paramwise_cfg=dict(bias_lr_mult=2.0)
            ),
        )
    )
    assert {group['lr'] for group in built['fuser'].optimizer.param_groups} == {1.0, 2.0}


REAL = f"""
_base_ = ['{CONFIGS}/tdfusion_demo.py']
num_classes = 3
detector = _base_.model.tasks.det
detector.backbone.update(stem_channels=8, base_channels=4)
detector.neck.update(in_channels=[16], out_channels=16)
detector.bbox_head.update(in_channels=16, feat_channels=16)
small = dict(channels=4, heads=2, blocks=1)
model = dict(fuser=small, loss_generator=small, tasks=dict(det=detector), crop_size=32)
train_dataloader = dict(batch_size=1, dataset=dict(length=4, size=(64, 64)))
val_dataloader = dict(dataset=dict(length=2, size=(64, 64)))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=2, meta_steps=2, val_interval=2)
param_scheduler = [dict(type='StepLR', by_epoch=True, step_size=1, gamma=0.5)]
custom_hooks = [dict(type='EpochSeedHook'), dict(type='LossWeightVisualizationHook', num_samples=1)]
log_level = 'WARNING'
"""


def test_a_resumed_run_repeats_an_uninterrupted_one(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Config, 'pretty_text', property(lambda self: '')
    )  # formatting the config for the log takes longer than training
    file = tmp_path / 'tiny.py'
    file.write_text(REAL)

    def run(name, stop_after=None, resume=False):
        cfg = Config.fromfile(file)
        cfg.update(work_dir=str(tmp_path / name), resume=resume, experiment_name=f'meta_real_{next(COUNT)}')
        if stop_after:
            cfg.custom_hooks.append(dict(type=StopAfterEpochs, epochs=stop_after))
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner

    whole = run('whole')
    first = run('pieces', stop_after=1)
    assert any(
        not torch.equal(value, whole.model.state_dict()[name]) for name, value in first.model.state_dict().items()
    )
    second = run('pieces', resume=True)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    assert str(whole.optim_wrapper.state_dict()) == str(second.optim_wrapper.state_dict())
    pictures = sorted(path.parent.name for path in (tmp_path / 'whole' / 'loss_weights').rglob('*.png'))
    assert pictures == ['epoch_0', 'epoch_1', 'epoch_2']
    assert list((tmp_path / 'whole' / 'fused' / 'val').glob('*.png'))
