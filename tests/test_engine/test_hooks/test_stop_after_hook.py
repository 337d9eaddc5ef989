"""Training in pieces: when the clock says stop, and whose clock it is."""

from types import SimpleNamespace

import pytest

from mmfusion.engine.hooks import stop_after_hook
from mmfusion.engine.hooks.stop_after_hook import StopAfterHook


def run(minutes, epoch=0):
    loop = SimpleNamespace(stop_training=False)
    runner = SimpleNamespace(epoch=epoch, max_epochs=3, train_loop=loop, logger=SimpleNamespace(info=lambda text: None))
    hook = StopAfterHook(minutes)
    hook.before_train(runner)
    hook.started -= 60
    hook.after_train_epoch(runner)
    return loop.stop_training


def test_stops_after_the_budget_but_not_at_the_end():
    assert run(0.5) and not run(2) and not run(0.5, epoch=2)
    with pytest.raises(ValueError, match='must be positive'):
        StopAfterHook(0)


@pytest.mark.parametrize('first_says', [True, False])
def test_all_processes_follow_the_first(monkeypatch, first_says):

    def broadcast(data):
        data[0] = first_says

    monkeypatch.setattr(stop_after_hook, 'broadcast_object_list', broadcast)
    assert run(2) is first_says and run(0.5) is first_says
