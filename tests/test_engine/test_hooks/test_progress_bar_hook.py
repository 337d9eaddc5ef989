import io

from tiny_runner import make_runner

from mmfusion.engine import ProgressBarHook


def test_bar_counts_every_iteration_of_every_epoch(tmp_path):
    drawn = io.StringIO()
    hook = ProgressBarHook(file=drawn, force=True)
    make_runner(tmp_path, 2, hooks=[hook]).train()
    assert 'epoch 1/2' in drawn.getvalue() and 'epoch 2/2' in drawn.getvalue() and '/4' in drawn.getvalue()
    assert hook.bar is None


def test_updates_reach_the_bar(tmp_path, monkeypatch):
    hook = ProgressBarHook(file=io.StringIO(), force=True)
    ends = []
    close = hook._end
    monkeypatch.setattr(hook, '_end', lambda: (ends.append(hook.bar.n) if hook.bar else None, close()))
    make_runner(tmp_path, 2, hooks=[hook]).train()
    assert ends == [4, 4]


def test_nothing_is_drawn_without_a_terminal(tmp_path):
    drawn = io.StringIO()
    make_runner(tmp_path, 1, hooks=[ProgressBarHook(file=drawn)]).train()
    assert drawn.getvalue() == ''
