import pytest
from tiny_runner import make_runner


def weights_of(tmp_path, max_epochs=4, **hook):
    runner = make_runner(tmp_path, max_epochs, hooks=[dict(type='TaskWeightHook', task='det', **hook)])
    runner.train()
    return runner.model.weights_seen  # four iterations an epoch, configured weight 2


def test_weight_changes_by_epoch(tmp_path):
    seen = weights_of(tmp_path, start_factor=0.0, end_factor=1.0, begin=1, end=3)
    assert seen == [0.0] * 4 + [0.0] * 4 + [1.0] * 4 + [2.0] * 4


def test_weight_changes_by_epoch_in_a_loop_by_iterations(tmp_path, monkeypatch):
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', lambda seconds: None)
    runner = make_runner(
        tmp_path,
        None,
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=12),
        hooks=[dict(type='TaskWeightHook', task='det', begin=0, end=2)],
    )
    runner.train()
    assert runner.model.weights_seen == [0.0] * 4 + [1.0] * 4 + [2.0] * 4


def test_weight_changes_by_iteration_to_the_end_of_training(tmp_path):
    seen = weights_of(tmp_path, max_epochs=2, start_factor=1.0, end_factor=0.5, by_epoch=False)
    assert seen == pytest.approx([2 - step / 8 for step in range(8)])


def test_resumed_run_has_the_same_weights(tmp_path):
    hook = [dict(type='TaskWeightHook', task='det', start_factor=0.0, end_factor=1.0, end=4)]
    make_runner(tmp_path, 4, stop_after=2, hooks=hook).train()
    resumed = make_runner(tmp_path, 4, resume=True, hooks=hook)
    resumed.train()
    assert resumed.model.weights_seen == [1.0] * 4 + [1.5] * 4


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match='must be after begin'):
        weights_of(tmp_path, begin=3, end=2)
    with pytest.raises(ValueError, match='must not be negative'):
        weights_of(tmp_path, start_factor=-1.0)
    with pytest.raises(ValueError, match="has no task 'seg'; its tasks are \\['det'\\]"):
        make_runner(tmp_path, 1, hooks=[dict(type='TaskWeightHook', task='seg')]).train()
