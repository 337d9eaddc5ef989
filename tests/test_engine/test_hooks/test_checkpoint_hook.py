"""A run that dies at any moment has a whole checkpoint, and ends as an undisturbed one when it is resumed."""

import os
from types import SimpleNamespace

import mmengine.hooks
import pytest
import torch
from full_disk import FullDisk
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from tiny_runner import NoisyDataset, TinyModel, collate, make_runner
from two_processes import in_two_processes

from mmfusion.engine.hooks import CheckpointHook
from mmfusion.engine.hooks.checkpoint_hook import gathered_gradients
from mmfusion.registry import HOOKS
from mmfusion.utils import NonFiniteError, UserError, newest_checkpoint, safe_load

SEED = [dict(type='EpochSeedHook')]


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


class DieAt(Hook):
    """Die in the n-th call of a stage."""

    def __init__(self, stage, number, priority='LOWEST'):
        self.stage, self.left, self.priority = stage, number, priority

    def _die(self, *args, **kwargs):
        self.left -= 1
        if not self.left:
            raise Killed

    def __getattribute__(self, name):
        if (
            name in ('after_train_iter', 'after_train_epoch', 'before_val', 'after_val_epoch', 'after_val')
            and name == self.stage
        ):
            return self._die
        return super().__getattribute__(name)


class Score(BaseMetric):
    """Falls and rises with the epochs, so that the best checkpoint is not the last one."""

    default_prefix = 'tiny'
    values = [0.1, 0.5, 0.3, 0.4]

    def __init__(self, weights):
        super().__init__()
        self.weights, self.seen = weights, []

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        epoch = next(
            i
            for i, known in enumerate([*self.weights, None])
            if known is None or torch.equal(known, self.model.layer.weight)
        )
        self.weights += [self.model.layer.weight.detach().clone()] if epoch == len(self.weights) else []
        self.seen.append(epoch)
        return dict(score=self.values[epoch])


class PredictingModel(TinyModel):
    """Has a validation step."""

    def forward(self, inputs, mode='loss'):
        return super().forward(inputs) if mode == 'loss' else [dict() for _ in inputs]


def state(runner):
    return {key: value.clone() for key, value in runner.model.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


def whole_run(folder, epochs=4, **options):
    """Weights at the start and at the end of an undisturbed run."""
    runner = make_runner(folder, epochs, hooks=SEED, **options)
    start = state(runner)
    runner.train()
    return start, state(runner)


def run_again(folder, start, hooks=(), epochs=4, **options):
    """One attempt: from the newest whole checkpoint if there is one, else from ``start``."""
    path, passed = newest_checkpoint(folder)
    options = dict(options, runner={**options.get('runner', {}), 'load_from': path})
    runner = make_runner(folder, epochs, resume=path is not None, hooks=[*SEED, *hooks], **options)
    runner.model.load_state_dict(start)
    runner.train()
    return runner, path, passed


@pytest.mark.parametrize('keep', [1, 2, -1])
def test_full_disk_at_every_write(tmp_path, monkeypatch, keep):
    options = dict(epochs=3, checkpoint=dict(max_keep_ckpts=keep))
    start, end = whole_run(tmp_path / 'whole', **options)
    names = sorted(name for name in os.listdir(tmp_path / 'whole') if name.endswith('.pth'))
    failures = 0
    for room in range(99):
        folder = tmp_path / str(room)
        with monkeypatch.context() as patch:
            FullDisk(patch, room)
            try:
                runner, *_ = run_again(folder, start, **options)
            except OSError as error:
                assert 'No space left' in str(error) and 'cannot write' in str(error)
            else:
                break
        failures += 1
        path, passed = newest_checkpoint(folder)
        assert not passed and (path is None) == (room == 0), (
            room,
            path,
        )  # nothing damaged, and whatever was written first can be gone on from
        runner, resumed, _ = run_again(folder, start, **options)
        assert resumed == path
        assert_same(state(runner), end)
        assert sorted(name for name in os.listdir(folder) if name.endswith(('.pth', '.tmp'))) == names
    assert failures == 6  # three checkpoints and three times `last_checkpoint`


def test_the_former_checkpoint_is_there_until_the_new_one_is_whole(tmp_path, monkeypatch):
    runner = make_runner(tmp_path, 3, hooks=SEED, checkpoint=dict(max_keep_ckpts=1))
    seen, replace = [], os.replace

    def watched(source, target):
        seen.append(sorted(name for name in os.listdir(tmp_path) if name.endswith('.pth')))
        replace(source, target)

    monkeypatch.setattr(os, 'replace', watched)
    runner.train()
    assert seen == [
        [],
        ['epoch_1.pth'],
        ['epoch_1.pth'],
        ['epoch_1.pth', 'epoch_2.pth'],
        ['epoch_2.pth'],
        ['epoch_2.pth', 'epoch_3.pth'],
    ]
    assert [name for name in os.listdir(tmp_path) if name.endswith('.pth')] == ['epoch_3.pth']


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    start, end = whole_run(tmp_path)
    path = tmp_path / 'epoch_4.pth'
    path.write_bytes(path.read_bytes()[:1000])
    runner, resumed, passed = run_again(tmp_path, start)
    assert resumed == str(tmp_path / 'epoch_3.pth') and len(passed) == 1 and 'epoch_4.pth' in passed[0]
    assert runner.iter == 16
    assert_same(state(runner), end)
    for name in os.listdir(tmp_path):
        if name.endswith('.pth'):
            (tmp_path / name).write_bytes(b'')
    path, passed = newest_checkpoint(tmp_path)
    assert path is None and len(passed) == 4
    assert newest_checkpoint(tmp_path / 'absent') == (None, [])


def best_options(folder, known, **checkpoint):
    data = dict(
        dataset=NoisyDataset(),
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type=collate),
    )
    metric, model = Score(known), PredictingModel()
    metric.model = model
    options = dict(
        checkpoint=dict(dict(save_best='tiny/score', rule='greater', max_keep_ckpts=1), **checkpoint),
        runner=dict(model=model, val_dataloader=data, val_cfg=dict(), val_evaluator=Evaluator([metric])),
    )
    return options, metric


STAGES = [
    ('before_val', 'LOWEST'),
    ('after_val_epoch', 'VERY_HIGH'),
    ('after_val_epoch', 'LOWEST'),
    ('after_train_epoch', 'LOWEST'),
    ('after_train_iter', 'LOWEST'),
]


@pytest.mark.parametrize('number', range(1, 5))
@pytest.mark.parametrize(('stage', 'priority'), STAGES)
def test_killed_around_a_validation(tmp_path, stage, priority, number):
    """The best checkpoint is that of an undisturbed run, whenever it was cut off."""
    known = []
    options, _ = best_options(tmp_path, known)
    start, end = whole_run(tmp_path / 'whole', **options)
    names = sorted(name for name in os.listdir(tmp_path / 'whole') if name.endswith('.pth'))
    assert names == ['best_tiny_score_epoch_2.pth', 'epoch_4.pth']
    options, _ = best_options(tmp_path, known)
    with pytest.raises(Killed):
        run_again(
            tmp_path / 'cut', start, hooks=[dict(type=DieAt, stage=stage, number=number, priority=priority)], **options
        )
    options, _ = best_options(tmp_path, known)
    runner, *_ = run_again(tmp_path / 'cut', start, **options)
    assert_same(state(runner), end)
    assert sorted(name for name in os.listdir(tmp_path / 'cut') if name.endswith('.pth')) == names
    for name in names:
        first, second = (safe_load(tmp_path / folder / name) for folder in ('whole', 'cut'))
        assert_same(first['state_dict'], second['state_dict'])
        for key in ('epoch', 'iter', 'validated_step', 'best_score', 'keep_ckpt_ids'):
            assert first['message_hub']['runtime_info'].get(key) == second['message_hub']['runtime_info'].get(key), (
                name,
                key,
            )
    infos = [runner.message_hub.runtime_info['best_score'], first['message_hub']['runtime_info']['best_score']]
    assert infos == [0.5, 0.5]


def test_a_validation_that_was_done_is_not_repeated(tmp_path):
    known = []
    options, metric = best_options(tmp_path, known)
    start, _ = whole_run(tmp_path, epochs=2, **options)
    assert metric.seen == [0, 1]
    options, metric = best_options(tmp_path, known)
    run_again(tmp_path, start, epochs=4, **options)
    assert metric.seen == [2, 3]


def test_full_disk_keeps_the_former_best_checkpoint(tmp_path, monkeypatch):
    options, _ = best_options(tmp_path, [])
    runner = make_runner(tmp_path, 4, hooks=SEED, **options)
    FullDisk(
        monkeypatch, 7
    )  # checkpoint, pointer, best, and both again; checkpoint and pointer of epoch 2, and no room for its best one
    with pytest.raises(OSError, match='best_tiny_score_epoch_2'):
        runner.train()
    assert sorted(name for name in os.listdir(tmp_path) if name.endswith('.pth')) == [
        'best_tiny_score_epoch_1.pth',
        'epoch_2.pth',
    ]


def test_a_metric_that_does_not_exist_is_told(tmp_path):
    options, _ = best_options(tmp_path, [], save_best='tiny/scores')
    with pytest.raises(UserError, match="save_best='tiny/scores' is no metric of the validation; there are tiny/score"):
        make_runner(tmp_path, 4, hooks=SEED, **options).train()


@pytest.mark.parametrize('counts', [3, 8])
def test_gradients_between_two_steps_are_resumed(tmp_path, counts):
    """Four iterations an epoch; the remainder waits for the next epoch."""
    options = dict(
        runner=dict(
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.05), accumulative_counts=counts)
        )
    )
    start, end = whole_run(tmp_path / 'whole', **options)
    for number in (1, 2, 3):
        folder = tmp_path / str(number)
        with pytest.raises(Killed):
            run_again(folder, start, hooks=[dict(type=DieAt, stage='after_train_epoch', number=number)], **options)
        assert ('gradients' in safe_load(folder / f'epoch_{number}.pth')) == (4 * number % counts != 0)
        runner, *_ = run_again(folder, start, **options)
        assert_same(state(runner), end)


def in_a_process(rank, world_size):
    """Gradients of this process, kept by the main one and given back."""
    model = torch.nn.Linear(2, 1)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0), accumulative_counts=3)
    runner = SimpleNamespace(model=model, optim_wrapper=wrapper)
    assert gathered_gradients(runner) is None
    wrapper.update_params(model(torch.full((1, 2), 3.0 + rank)).sum())
    own, kept = model.weight.grad.clone(), gathered_gradients(runner)
    model.zero_grad()
    hook = CheckpointHook()
    hook.after_load_checkpoint(runner, dict(gradients=kept))
    hook._restore_gradients(runner)
    assert torch.equal(model.weight.grad, own)
    hook.after_load_checkpoint(runner, dict(gradients=kept[:1]))
    with pytest.raises(UserError, match='was made by 1 processes'):
        hook._restore_gradients(runner)
    return dict(grad=own)


def test_gradients_of_several_processes(tmp_path):
    first, second = in_two_processes(in_a_process, tmp_path)
    assert not torch.equal(first['grad'], second['grad'])


def test_checkpoints_inside_an_epoch_are_refused(tmp_path):
    with pytest.raises(UserError, match='by_epoch=True'):
        make_runner(tmp_path, 1, checkpoint=dict(by_epoch=False)).train()
    runner = make_runner(
        tmp_path,
        1,
        checkpoint=dict(by_epoch=False, interval=2),
        runner=dict(train_cfg=dict(by_epoch=False, max_iters=4, val_interval=9)),
    )
    runner.train()
    assert {'iter_2.pth', 'iter_4.pth'} <= set(os.listdir(tmp_path))


class Spoil(Hook):
    """Makes a weight infinite in the second epoch, without a trace in the loss."""

    def after_train_epoch(self, runner):
        if runner.epoch == 1:
            with torch.no_grad():
                runner.model.layer.bias[0] = float('inf')


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    runner = make_runner(tmp_path, 3, hooks=[*SEED, dict(type=Spoil)], checkpoint=dict(max_keep_ckpts=1))
    with pytest.raises(NonFiniteError, match=r'after iteration 8.*1 of 2 weights.*layer.bias.*epoch_1.pth'):
        runner.train()
    assert [name for name in os.listdir(tmp_path) if name.endswith('.pth')] == ['epoch_1.pth']
    assert all(value.isfinite().all() for value in safe_load(tmp_path / 'epoch_1.pth')['state_dict'].values())


@pytest.mark.parametrize('name', ['CheckpointHook', 'mmengine.CheckpointHook', 'mmfusion.CheckpointHook'])
def test_every_name_leads_to_our_hook(name):
    assert type(MMENGINE_HOOKS.build(dict(type=name))) is CheckpointHook
    assert type(HOOKS.build(dict(type=name))) is CheckpointHook


class Foreign(mmengine.hooks.CheckpointHook):
    """A hook that a user derived from mmengine's."""


def test_a_class_in_the_config_is_replaced(tmp_path, monkeypatch):
    runner = make_runner(
        tmp_path, 1, checkpoint=dict(type=mmengine.hooks.CheckpointHook, max_keep_ckpts=7), hooks=[dict(type=Foreign)]
    )
    messages = []
    monkeypatch.setattr(runner.logger, 'warning', messages.append)
    runner.train()
    mine = [hook for hook in runner.hooks if type(hook) is CheckpointHook]
    assert len(mine) == 1 and mine[0].max_keep_ckpts == 7
    assert len([message for message in messages if 'Foreign' in message]) == 1
