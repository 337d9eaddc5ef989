"""torch.compile and autocast as options: equal results where they are taken, and a reason where they are refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmfusion.apis import FusionInferencer
from mmfusion.cli.benchmark import main as benchmark
from mmfusion.models.fusers import BaseFuser, FuserOutput
from mmfusion.profiling.benchmark import format_result, run_benchmark
from mmfusion.registry import MODELS
from mmfusion.running import compilation
from mmfusion.running.compilation import autocast, compile_fuser, compiler_errors, refusal
from mmfusion.utils import UserError
from mmfusion.utils.compat import compiler_error

CPU = torch.device('cpu')


class SmallFuser(BaseFuser):
    """A convolution and something element by element, which a compiler joins."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1)

    def fuse(self, first, second):
        return FuserOutput(torch.sigmoid(self.conv(torch.cat([first, second], 1))), {})


def coupling(fuser=SmallFuser, kind='FusionOnly', **kwargs):
    return MODELS.build(
        dict(type=kind, fuser=dict(type=fuser), fusion_loss=dict(l1=dict(type='L1FusionLoss')), **kwargs)
    )


@pytest.fixture
def quick(monkeypatch):
    """Everything of torch.compile but the code generator, which takes long; the calls that came to it."""
    calls, real = [], nn.Module.compile

    def compile(self, *args, **kwargs):
        calls.append(type(self).__name__)
        real(self, *args, backend='eager', **kwargs)

    monkeypatch.setattr(nn.Module, 'compile', compile)
    return calls


def pair(size=(32, 40)):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 256, size, np.uint8)


def test_inferencer_compiles_the_fuser_alone(quick):
    torch.manual_seed(0)
    model = coupling()
    expected = FusionInferencer(model)(*pair())[0].fused
    fuse = FusionInferencer(model, compile=True)
    assert quick == ['SmallFuser']
    for size in ((32, 40), (48, 40)):  # a second size compiles again
        result = fuse(*pair(size))[0].fused
        assert result.shape[:2] == size
    np.testing.assert_array_equal(fuse(*pair())[0].fused, expected)
    assert list(model.state_dict()) == list(coupling().state_dict())  # checkpoints stay as they are


@pytest.mark.parametrize(
    'fuser, reason',
    [
        ('AverageFuser', 'has no parameters'),
        ('ReFusion', '1.01 times the CPU time'),
        ('PlainConvFuser', 'compiler fails on it'),
    ],
)
def test_what_does_not_help_is_refused_on_a_cpu(fuser, reason):
    model = coupling(fuser)
    with pytest.raises(UserError, match=rf'--compile .*{fuser}.*{reason}.*; leave it out'):
        compile_fuser(model, CPU)
    assert (refusal(model, torch.device('cuda')) is None) == (fuser != 'AverageFuser')


def test_gradients_of_gradients_are_refused():
    model = SimpleNamespace(fuser=SmallFuser(), averages_gradients=True)
    assert 'takes gradients in its own way' in refusal(model, torch.device('cuda'), training=True)
    assert refusal(model, CPU) is None


def test_a_missing_compiler_is_one_message(monkeypatch):
    monkeypatch.setenv('CXX', 'no-such-compiler')
    with pytest.raises(UserError, match='no no-such-compiler was found'):
        compile_fuser(coupling(), CPU)


def test_an_error_of_the_compiler_names_the_way_out():
    with (
        pytest.raises(UserError, match='could not compile SmallFuser .*: it broke.*; leave it out'),
        compiler_errors(coupling()),
    ):
        raise compiler_error()('it broke\nmore')


def test_precisions(monkeypatch):
    monkeypatch.setattr(compilation, 'has_fast_bfloat16', lambda: False)
    torch.manual_seed(0)
    model = coupling()
    expected = FusionInferencer(model)(*pair())[0].fused
    with pytest.warns(UserWarning, match='no matrix instructions for bfloat16'):
        fuse = FusionInferencer(model, precision='bf16')
    result = fuse(*pair())[0].fused
    # bfloat16 has 8 bits of significand: about a gray level at half the range
    assert not np.array_equal(result, expected) and np.abs(result.astype(int) - expected).max() <= 3
    with pytest.raises(UserError, match="'fp16' needs a GPU"):
        FusionInferencer(model, precision='fp16')
    with pytest.raises(UserError, match='precision must be out of fp32, bf16, fp16'):
        autocast('half', CPU)


def test_benchmark_compares_with_eager(quick, tmp_path, capsys):
    cfg = Config(dict(model=dict(type='FusionOnly', fuser=dict(type=SmallFuser))))
    result = run_benchmark(
        {'a': cfg, 'eager': cfg}, ['forward'], ['fuser'], 1, 0, shape=(32, 32), compile=True, plain=['eager']
    )
    assert (
        quick == ['SmallFuser']
        and [row['config'] for row in result['rows']] == ['a', 'eager']
        and 'ratio' in result['rows'][0]
    )
    assert 'compiled' in format_result(result)
    Config(dict(model=dict(type='FusionOnly', fuser=dict(type='AverageFuser')))).dump(str(tmp_path / 'a.py'))
    with pytest.raises(SystemExit):
        benchmark([str(tmp_path / 'a.py'), '--device', 'cpu', '--compare', 'eager'])
    assert 'give one of them, or a second config' in capsys.readouterr().err


@pytest.mark.slow
def test_compiled_training_step_equals_eager():
    """The code generator reorders sums: a few units in the last place of float32."""
    torch.manual_seed(0)
    eager, compiled = coupling(), coupling()
    compiled.load_state_dict(eager.state_dict())
    compile_fuser(compiled, CPU, training=True)
    inputs = dict(first=torch.rand(2, 1, 32, 40), second=torch.rand(2, 1, 32, 40))
    from mmfusion.structures import FusionDataSample

    samples = [FusionDataSample(metainfo=dict(img_shape=(32, 40))) for _ in range(2)]
    for model in (eager, compiled):
        total, _ = model.train().parse_losses(model.loss(inputs, samples))
        total.backward()
    for one, other in zip(eager.parameters(), compiled.parameters()):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)
