"""ReFusion and LossGenerationModule against their slow twins (tests/twins/tdfusion_twin.py) and against the vectors of
the original networks.
"""

import pytest
import recorded
import torch
from tdfusion_twin import ReFusionTwin, fuser_twin, loss_module_twin

from mmfusion.models.fusers import ReFusion
from mmfusion.models.fusers.refusion.conversion import convert_fuser, convert_loss_module
from mmfusion.models.layers import strips
from mmfusion.models.losses import LearnedFusionLoss, LossGenerationModule

SMALL = dict(channels=8, heads=4, blocks=1)


def make(cls, **kwargs):
    """A network whose norms, temperatures and activations are not at their initial ones and zeros."""
    network = cls(**{**SMALL, **kwargs})
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() != 4:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
            elif 'output' not in name:
                parameter.mul_(2)  # features large enough that every part matters
    return network


def pair(batch=2, size=(24, 30), dtype=torch.float32):
    return torch.rand(batch, 1, *size, dtype=dtype), torch.rand(batch, 1, *size, dtype=dtype)


NETWORKS = [
    (ReFusion, lambda net, a, b: net(a, b).fused, fuser_twin),
    (LossGenerationModule, lambda net, a, b: net(a, b), loss_module_twin),
]


@pytest.fixture(params=['strips', 'whole'])
def path(request, monkeypatch):
    """Small images would fit into one strip; both ways of computing are tested on the same ones."""
    monkeypatch.setattr(strips, 'STRIP_BYTES', 1 if request.param == 'strips' else 2**40)


# ---- against the twin ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('cls, run, twin', NETWORKS)
@pytest.mark.parametrize(
    'size, options',
    [
        ((24, 30), {}),
        ((17, 23), dict(heads=1, factor=1.5)),
        ((45, 16), dict(heads=8)),
        ((16, 16), dict(channels=16, heads=8, blocks=2)),
    ],
)
def test_equals_twin_forward_and_backward(path, cls, run, twin, size, options):
    """float64, so that the tolerance measures the formulas and not the rounding."""
    network = make(cls, **options).double()
    first, second = (x.requires_grad_() for x in pair(2, size, torch.float64))
    results = []
    for call in (run, twin):
        out = call(network, first, second)
        gradients = torch.autograd.grad(
            (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum(), [*network.parameters(), first, second]
        )
        with torch.no_grad():
            torch.testing.assert_close(call(network, first, second), out.detach(), atol=1e-12, rtol=0)
        results.append((out.detach(), gradients))
    (out, gradients), (out_twin, gradients_twin) = results
    torch.testing.assert_close(out, out_twin, atol=1e-11, rtol=0)
    for (name, _), one, other in zip(
        [*network.named_parameters(), ('first', 0), ('second', 0)], gradients, gradients_twin
    ):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-8, msg=lambda text, name=name: f'{name}: {text}')


@pytest.mark.parametrize('cls, run, twin', NETWORKS)
def test_equals_twin_in_the_second_derivative(path, cls, run, twin):
    """The gradient of the squared norm of the gradient, which goes through every derivative of second order."""
    network = make(cls).double()
    first, second = (x.requires_grad_() for x in pair(2, (17, 19), torch.float64))
    leaves = [*network.parameters(), first, second]
    results = []
    for call in (run, twin):
        out = call(network, first, second)
        gradients = torch.autograd.grad(
            (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum(), leaves, create_graph=True
        )
        results.append(torch.autograd.grad(sum(g.square().sum() for g in gradients), leaves))
    for (name, _), one, other in zip([*network.named_parameters(), ('first', 0), ('second', 0)], *results):
        torch.testing.assert_close(
            one, other, atol=1e-8 * other.abs().max().item(), rtol=1e-7, msg=lambda text, name=name: f'{name}: {text}'
        )


# ---- against the original --------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def reference():
    return recorded.load('tdfusion')


def originals(reference, device='cpu'):
    fuser, module = ReFusion(), LossGenerationModule()
    fuser.load_state_dict(convert_fuser(reference['F_state_dict']))
    module.load_state_dict(convert_loss_module(reference['G_state_dict']))
    return fuser.to(device), module.to(device), *reference['inputs'].to(device).split(1, dim=1)


@pytest.mark.parametrize('grad', [False, True])
@pytest.mark.parametrize('training', [False, True])
def test_reference(reference, path, training, grad):
    fuser, module, first, second = originals(reference)
    fuser.train(training), module.train(training)
    expected = reference['outputs']
    with torch.set_grad_enabled(grad):
        fused, weights = fuser(first, second).fused, module(first, second)
        terms = LearnedFusionLoss().terms(fused, first, second, weights)
    # float32 rounding: two correct implementations differ by about one unit in the last place of numbers near 1
    assert (fused - expected['F']).abs().max() <= 5e-7
    assert (weights - expected['G_weights']).abs().max() <= 5e-7
    assert abs(terms['intensity'] - expected['loss_int']) <= 5e-7
    assert abs(terms['gradient'] - expected['loss_grad']) <= 5e-7
    total = LearnedFusionLoss()(fused, first, second, weights=weights)
    assert abs(total - expected['loss_int'] - expected['loss_grad']) <= 1e-6


@pytest.mark.gpu
def test_reference_on_gpu(reference):
    fuser, module, first, second = originals(reference, 'cuda')
    with torch.no_grad():
        fused, weights = fuser.eval()(first, second).fused, module.eval()(first, second)
    # TF32 is off for matmul but on for convolutions by default
    assert (fused.cpu() - reference['outputs']['F']).abs().max() <= 2e-3
    assert (weights.cpu() - reference['outputs']['G_weights']).abs().max() <= 2e-3


# ---- behavior -------------------------------------------------------------------------------------------------------


def test_published_numbers_of_parameters():
    fuser, module = ReFusion(), LossGenerationModule()
    assert sum(p.numel() for p in fuser.parameters()) == 59_856
    assert len(fuser.state_dict()) == len(list(fuser.parameters())) == 86
    assert sum(p.numel() for p in module.parameters()) == 44_529
    assert len(module.state_dict()) == 71
    assert sum(p.numel() for p in fuser.decoder.parameters()) == 24_784
    assert sum(p.numel() for p in fuser.fusion.parameters()) == 15_472


def test_functional_call_and_a_gradient_through_an_update(path):
    """What a meta step does: the updated parameters carry a graph to what made the update."""
    fuser, module, loss = make(ReFusion), make(LossGenerationModule), LearnedFusionLoss()
    first, second = pair()
    parameters = dict(fuser.named_parameters())
    value = loss(fuser(first, second).fused, first, second, weights=module(first, second))
    gradients = torch.autograd.grad(value, list(parameters.values()), create_graph=True)
    updated = {name: p.detach() - 0.1 * g for (name, p), g in zip(parameters.items(), gradients)}
    fused = torch.func.functional_call(fuser, updated, (first, second)).fused
    result = torch.autograd.grad(fused.square().mean(), list(module.parameters()))
    assert all(torch.isfinite(g).all() for g in result) and sum(bool(g.any()) for g in result) == len(result)


def test_stretch():
    fuser, first, second = make(ReFusion, stretch=True).eval(), *pair()
    plain = make(ReFusion)
    plain.load_state_dict(fuser.state_dict())
    with torch.no_grad():
        stretched, fused = fuser(first, second).fused, plain.eval()(first, second).fused
        assert torch.equal(fuser.train()(first, second).fused, plain.train()(first, second).fused)
    for one, other in zip(stretched, fused):
        torch.testing.assert_close(one, (other - other.min()) / (other.max() - other.min()))
    flat = torch.full((1, 1, 16, 16), 0.3)
    with torch.no_grad():
        fuser.output.weight.zero_()
        assert (fuser.eval()(flat, flat).fused == 0.5).all()  # one value for all pixels has no range to stretch


def test_twin_as_a_fuser_is_the_same_network():
    """What the benchmark compares: same weights, same result."""
    fuser, other, (first, second) = make(ReFusion).eval(), ReFusionTwin(**SMALL).eval(), pair()
    other.load_state_dict(fuser.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(fuser(first, second).fused, other(first, second).fused, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    'kwargs, words',
    [
        (dict(heads=3), 'heads must divide'),
        (dict(heads=0), 'heads must divide'),
        (dict(blocks=0), 'blocks'),
        (dict(factor=0.0), 'hidden channel'),
    ],
)
@pytest.mark.parametrize('cls', [ReFusion, LossGenerationModule])
def test_bad_options(cls, kwargs, words):
    with pytest.raises(ValueError, match=words):
        cls(**{**SMALL, **kwargs})


@pytest.mark.parametrize(
    'first, second', [((2, 1, 16, 16), (2, 1, 16, 17)), ((2, 3, 16, 16), (2, 3, 16, 16)), ((1, 16, 16), (1, 16, 16))]
)
def test_loss_module_refuses(first, second):
    with pytest.raises(ValueError, match='two equal luminance batches'):
        LossGenerationModule(**SMALL)(torch.rand(first), torch.rand(second))
