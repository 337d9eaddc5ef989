import pickle
from urllib.error import URLError

import pytest
import torch
from mmengine.config import Config
from torch.utils.data import DataLoader, Dataset

from mmfusion.fileio.markdown import markdown_table
from mmfusion.models.fusers.base import BaseFuser
from mmfusion.registry import METRICS, MODELS, build_configured
from mmfusion.running.runner import build_runner
from mmfusion.utils import UserError, friendly_main
from mmfusion.utils.errors import InputError, InputKeyError, InputTypeError, MissingFileError, WriteError, building


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
    build_configured(MODELS, dict(type='JointCupling'))


def raise_unknown_metric():
    build_configured(METRICS, dict(type='FusionMetric', metrics=['XYZ']))


def raise_unknown_argument():
    build_configured(MODELS, dict(type='mmdet.L1Loss', los_weight=1.0))


def raise_while_building():
    from mmengine.registry import OPTIM_WRAPPERS

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    build_configured(OPTIM_WRAPPERS, dict(type='OptimWrapper', optimizer=optimizer, accumulative_counts=0))


def raise_from_the_runner():
    from mmengine.runner import Runner

    with building():
        Runner.build_dataloader(
            dict(dataset=BadDataset(), sampler=dict(type='DefaultSampler', shuffle=False), batchsize=2)
        )


def raise_from_half_a_config():
    build_runner(Config(dict(model=dict(type='AverageFuser'), work_dir='unused', train_dataloader=dict(batch_size=2))))


def raise_without_network():
    raise URLError('Name or service not known')


@pytest.mark.parametrize(
    ('function', 'message'),
    [
        (raise_while_building, 'the config cannot be built: _accumulative_counts at least greater than or equal to 1'),
        (
            raise_from_the_runner,
            "the config cannot be built: DataLoader.__init__() got an unexpected keyword argument 'batchsize'",
        ),
        (
            raise_from_half_a_config,
            'the config cannot be built: train_dataloader, train_cfg, and optim_wrapper should be either all '
            'None or not None\n',
        ),
        (raise_without_network, 'init_cfg=None'),
        (raise_user_error, 'a.png is truncated; copy it again'),
        (raise_own_input_error, 'images must be at least 16x16'),
        (raise_in_worker, 'images must be at least 16x16'),
        (raise_unknown_type, 'JointCupling is not in the mmfusion::model registry'),
        (raise_unknown_metric, 'XYZ'),
        (raise_unknown_argument, "unexpected keyword argument 'los_weight'"),
    ],
)
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


@pytest.mark.parametrize(
    'error', [IndexError('x'), AttributeError('x'), ZeroDivisionError('x'), RuntimeError('x'), ValueError('x')]
)
def test_bugs_keep_their_traceback(error):

    def buggy():
        raise error

    with pytest.raises(type(error)):
        friendly_main(buggy)()


@pytest.mark.parametrize(
    'call',
    [lambda: markdown_table(['one'], [['a', 'b']]), lambda: Fuser().fuse('too few')],
    ids=['ValueError', 'TypeError'],
)
def test_bugs_in_lines_of_the_package_keep_their_traceback_too(call):
    with pytest.raises((ValueError, TypeError)):
        friendly_main(call)()


@pytest.mark.parametrize(
    ('kind', 'builtin'),
    [
        (InputError, ValueError),
        (InputTypeError, TypeError),
        (InputKeyError, KeyError),
        (MissingFileError, FileNotFoundError),
        (WriteError, OSError),
    ],
)
def test_errors_are_of_two_kinds_and_say_their_message_as_it_is(kind, builtin):
    with pytest.raises(builtin, match='^a.png: copy it again$') as caught:
        raise kind('a.png: copy it again')
    assert (
        isinstance(caught.value, UserError) and str(pickle.loads(pickle.dumps(caught.value))) == 'a.png: copy it again'
    )


def test_files_that_the_system_refuses(capsys, tmp_path):
    with pytest.raises(SystemExit):
        friendly_main((tmp_path / 'none.txt').read_text)()
    assert 'No such file or directory' in capsys.readouterr().err
    with pytest.raises(OSError):
        friendly_main(lambda: (_ for _ in ()).throw(OSError('of no file')).__next__())()


def test_a_gpu_without_enough_memory(capsys):

    def crowded():
        raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.\nmuch more')

    with pytest.raises(SystemExit):
        friendly_main(crowded)()
    shown = capsys.readouterr().err
    assert 'Tried to allocate 2.00 GiB. Lower the batch size' in shown and 'much more' not in shown


def test_what_is_not_of_the_config_passes_through_its_building():
    for error in (UserError('mend it'), AttributeError('a bug'), URLError('no network')):
        with pytest.raises(type(error)) as caught, building():
            raise error
        assert caught.value is error
    with pytest.raises(UserError, match='^the card cannot be built: no depth$'), building('the card'):
        raise KeyError('no depth')


def test_result_and_arguments_pass_through():
    assert friendly_main(lambda a, b=0: a + b)(1, b=2) == 3


def test_tools_call_their_wrapped_main(repo_dir):
    """``friendly_main(main)`` only wraps; without the second pair of parentheses nothing runs."""
    for path in [*(repo_dir / 'tools').rglob('*.py'), *(repo_dir / 'demo').rglob('*.py')]:
        lines = [line.strip() for line in path.read_text().splitlines()]
        assert 'friendly_main(main)' not in lines, path
