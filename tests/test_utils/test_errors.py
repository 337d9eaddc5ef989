import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from mmfusion.models.fusers.base import BaseFuser
from mmfusion.registry import METRICS, MODELS
from mmfusion.utils import UserError, friendly_main


class Fuser(BaseFuser):
    def fuse(self, first, second):
        return None


class BadDataset(Dataset):
    """The error comes from a line of the package, inside a data worker."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return Fuser()(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))


def raise_user_error():
    raise UserError('a.png is truncated; copy it again')


def raise_own_input_error():
    Fuser()(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))


def raise_in_worker():
    next(iter(DataLoader(BadDataset(), num_workers=1)))


def raise_unknown_type():
    MODELS.build(dict(type='JointCupling'))


def raise_unknown_metric():
    METRICS.build(dict(type='FusionMetric', metrics=['XYZ']))


def raise_unknown_argument():
    MODELS.build(dict(type='mmdet.L1Loss', los_weight=1.))


def raise_while_building():
    from mmengine.registry import OPTIM_WRAPPERS
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.)
    OPTIM_WRAPPERS.build(dict(type='OptimWrapper', optimizer=optimizer, accumulative_counts=0))


def raise_from_the_runner():
    from mmengine.runner import Runner
    Runner.build_dataloader(dict(dataset=BadDataset(), sampler=dict(type='DefaultSampler', shuffle=False), batchsize=2))


def raise_from_half_a_config():
    from mmengine.runner import Runner
    Runner(model=torch.nn.Identity(), work_dir='unused', train_dataloader=dict(batch_size=2))


def raise_without_network():
    from urllib.error import URLError
    raise URLError('Name or service not known')


@pytest.mark.parametrize(('function', 'message'), [
    (raise_while_building, 'the config cannot be built: _accumulative_counts at least greater than or equal to 1'),
    (raise_from_the_runner, "the config cannot be built: DataLoader.__init__() got an unexpected keyword argument 'batchsize'"),
    (raise_from_half_a_config, 'the config cannot be built: train_dataloader, train_cfg, and optim_wrapper should be either all None or not None\n'),
    (raise_without_network, 'init_cfg=None'),
    (raise_user_error, 'a.png is truncated; copy it again'),
    (raise_own_input_error, 'images must be at least 16x16'),
    (raise_in_worker, 'images must be at least 16x16'),
    (raise_unknown_type, 'JointCupling is not in the mmfusion::model registry'),
    (raise_unknown_metric, 'XYZ'),
    (raise_unknown_argument, "unexpected keyword argument 'los_weight'"),
])
def test_known_errors_are_one_message_and_exit_code_2(function, message, capsys, monkeypatch):
    monkeypatch.delenv('MMFUSION_DEBUG', raising=False)
    with pytest.raises(SystemExit) as caught:
        friendly_main(function)()
    shown = capsys.readouterr().err
    assert caught.value.code == 2 and message in shown and 'Traceback' not in shown and 'File "' not in shown


def test_interruption(capsys, monkeypatch):
    monkeypatch.delenv('MMFUSION_DEBUG', raising=False)

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        friendly_main(interrupted)()
    assert caught.value.code == 130 and 'stopped by Ctrl-C; what has been written is whole' in capsys.readouterr().err


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setenv('MMFUSION_DEBUG', '1')
    with pytest.raises(UserError):
        friendly_main(raise_user_error)()


@pytest.mark.parametrize('error', [IndexError('x'), AttributeError('x'), ZeroDivisionError('x'), RuntimeError('x'), ValueError('x')])
def test_bugs_keep_their_traceback(error):

    def buggy():
        raise error

    with pytest.raises(type(error)):
        friendly_main(buggy)()


def test_result_and_arguments_pass_through():
    assert friendly_main(lambda a, b=0: a + b)(1, b=2) == 3


def test_tools_call_their_wrapped_main(repo_dir):
    """``friendly_main(main)`` only wraps; without the second pair of parentheses nothing runs."""
    for path in [*(repo_dir / 'tools').rglob('*.py'), *(repo_dir / 'demo').rglob('*.py')]:
        lines = [line.strip() for line in path.read_text().splitlines()]
        assert 'friendly_main(main)' not in lines, path
