"""One sweep over every registered fuser. A new one needs a line in tests/helpers/small_fusers.py only if its default is
too large for a unit test.
"""

import io

import pytest
import torch
from small_fusers import SMALL

import mmfusion.models  # noqa: E402, F401
from mmfusion.models.fusers import BaseFuser
from mmfusion.registry import MODELS

# those of the package: other tests register fusers of their own
NAMES = sorted(
    name
    for name, cls in MODELS.module_dict.items()
    if isinstance(cls, type) and issubclass(cls, BaseFuser) and cls.__module__.startswith('mmfusion.')
)
SIZES = [(16, 16), (17, 23), (33, 47)]


def build(name):
    torch.manual_seed(1)
    fuser = MODELS.build(dict(type=name, **SMALL.get(name, {})))
    with torch.no_grad():  # zero parameters (gates) would tie
        for parameter in fuser.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.3)
    return fuser


def pair(fuser, size=(33, 47), batch=3):
    return [torch.rand(batch, fuser.channels[-1], *size) for _ in range(2)]


def test_all_are_here():
    assert {
        'AverageFuser',
        'LaplacianPyramidFuser',
        'MaximumFuser',
        'MoEFusion',
        'ReFusion',
        'SourceFuser',
        'TCMoA',
    } <= set(NAMES)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('name', NAMES)
def test_forward_and_backward(name, size):
    fuser = build(name).train()
    first, second = pair(fuser, size)
    first.requires_grad_()
    out = fuser(first, second)
    assert out.fused.shape == first.shape and torch.isfinite(out.fused).all()
    (out.fused.square().mean() + sum(out.losses.values())).backward()
    for key, parameter in fuser.named_parameters():
        assert not parameter.requires_grad or (parameter.grad is not None and torch.isfinite(parameter.grad).all()), key
    assert torch.isfinite(first.grad).all()


@pytest.mark.parametrize('name', NAMES)
def test_eval_has_no_losses_and_repeats(name):
    fuser = build(name).eval()
    sources = pair(fuser)
    with torch.inference_mode():
        out = fuser(*sources)
        again = fuser(*sources)
    assert out.losses == {} and torch.equal(out.fused, again.fused)


@pytest.mark.parametrize('name', NAMES)
def test_an_image_does_not_depend_on_its_batch(name):
    fuser = build(name).eval()
    first, second = pair(fuser, batch=5)
    with torch.no_grad():
        together = fuser(first, second).fused
        for n in range(5):
            alone = fuser(first[n : n + 1], second[n : n + 1]).fused
            torch.testing.assert_close(together[n : n + 1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_sources_are_left_as_they_are(name):
    fuser = build(name)
    sources = pair(fuser)
    kept = [x.clone() for x in sources]
    fuser(*sources)
    assert all(torch.equal(a, b) for a, b in zip(sources, kept))


@pytest.mark.parametrize('name', NAMES)
def test_save_and_load(name):
    fuser = build(name).eval()
    file = io.BytesIO()
    torch.save(fuser.state_dict(), file)
    file.seek(0)
    other = MODELS.build(dict(type=name, **SMALL.get(name, {}))).eval()
    other.load_state_dict(torch.load(file, weights_only=True))
    sources = pair(fuser)
    assert torch.equal(fuser(*sources).fused, other(*sources).fused)


@pytest.mark.parametrize('name', NAMES)
def test_autocast(name):
    fuser = build(name)
    for training in (True, False):
        fuser.train(training)
        sources = pair(fuser)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            out = fuser(*sources)
        loss = out.fused.float().mean() + sum(out.losses.values())
        assert torch.isfinite(out.fused).all() and torch.isfinite(loss)
        if training and list(fuser.parameters()):
            loss.backward()
            assert all(torch.isfinite(p.grad).all() for p in fuser.parameters() if p.requires_grad)


@pytest.mark.parametrize('name', NAMES)
def test_bad_input(name):
    fuser = build(name)
    first, second = pair(fuser)
    channels = first.shape[1]
    for bad, error, words in [
        ((first * 255).byte(), TypeError, 'float'),
        ('image.png', TypeError, 'str'),
        (first[0], ValueError, r'\(N, C, H, W\)'),
        (torch.rand(3, 5, 33, 47), ValueError, '5 channels'),
        (first[..., :-1], ValueError, 'equal in N, H and W'),
        (first[:2], ValueError, 'equal in N, H and W'),
        (torch.rand(3, channels, 15, 47), ValueError, '16x16'),
    ]:
        with pytest.raises(error, match=words):
            fuser(bad, second)
    with pytest.raises(TypeError, match='no guidance named'):
        fuser(first, second, saliency=first)


@pytest.mark.parametrize('name', NAMES)
def test_documented(name):
    cls = MODELS.get(name)
    assert cls.__doc__ and cls.color_space in ('luminance', 'rgb')
