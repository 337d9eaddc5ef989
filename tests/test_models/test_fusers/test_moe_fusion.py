"""MoEFusion against its slow twin (tests/twins/moe_fusion_twin.py) and against the vectors of the original network."""

import pytest
import recorded
import torch
from moe_fusion_twin import twin

from mmfusion.models.fusers import MoEFusion
from mmfusion.models.fusers.moe_fusion import blocks
from mmfusion.models.fusers.moe_fusion.blocks import ConvExpert, run_together
from mmfusion.models.fusers.moe_fusion.conversion import convert_fusion_head
from mmfusion.models.layers import cv_squared
from mmfusion.models.losses import BoxGuidedPixelLoss, SobelMaxLoss

SMALL = dict(base_channels=4, expert_channels=4, decoder_channels=(8, 4), local_grid=(6, 8), global_grid=(3, 4))
MIXTURES = {'moe_fg': 'foreground', 'moe_bg': 'background', 'DecoderMoE': 'global'}


def make_fuser(**kwargs):
    fuser = MoEFusion(**{**SMALL, **kwargs})
    with torch.no_grad():
        for mixture in MIXTURES.values():
            gate = getattr(fuser, f'{mixture}_gate')
            gate.weight.normal_()
            gate.noise_weight.normal_(0, 0.1)
    return fuser


def watch_gates(fuser):
    """Collect what the gates decide."""
    seen = {}
    for mixture in MIXTURES.values():
        getattr(fuser, f'{mixture}_gate').register_forward_hook(
            lambda layer, args, out, name=mixture: seen.__setitem__(name, out)
        )
    return seen


def inputs(batch=4, size=(24, 30)):
    return torch.rand(batch, 1, *size), torch.rand(batch, 1, *size), torch.rand(batch, 2, size[0] // 4, size[1] // 4)


# ---- against the twin ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('batch', [1, 4])
@pytest.mark.parametrize('size', [(24, 30), (17, 23)])
def test_equals_twin_forward_and_backward(training, batch, size):
    """float64, so that the tolerance measures the formulas and not the rounding."""
    fuser = make_fuser().double().train(training)
    first, second, attention = (x.double() for x in inputs(batch, size))
    seen = watch_gates(fuser)
    results = []
    for run in (lambda: fuser(first, second, attention=attention), lambda: twin(fuser, first, second, attention)):
        fuser.zero_grad()
        torch.manual_seed(7)
        fused, aux, *gates = run()
        aux = aux.get('loss_balance', 0.0) if isinstance(aux, dict) else aux if training else 0.0
        (fused.square().mean() + aux).backward()
        gradients = {
            key: p.grad.clone() if p.grad is not None else torch.zeros_like(p) for key, p in fuser.named_parameters()
        }
        results.append((fused.detach(), torch.as_tensor(aux).detach(), gradients))
    for name, expected in zip(MIXTURES.values(), gates[0]):
        torch.testing.assert_close(seen[name].gates, expected)
    (fused, aux, gradients), (fused_twin, aux_twin, gradients_twin) = results
    torch.testing.assert_close(fused, fused_twin, atol=1e-10, rtol=0)
    torch.testing.assert_close(aux, aux_twin, check_dtype=False, atol=1e-6, rtol=0)  # the twin sums its load in float32
    for key, gradient in gradients.items():
        torch.testing.assert_close(
            gradient, gradients_twin[key], atol=1e-7, rtol=1e-5, msg=lambda text, key=key: f'{key}: {text}'
        )


def test_equals_twin_where_the_published_grid_meets_its_size():
    fuser = make_fuser(base_channels=8, decoder_channels=(16, 8), local_grid=(120, 160), global_grid=(60, 80)).eval()
    for mixture in MIXTURES.values():
        getattr(fuser, f'{mixture}_gate').weight.data.mul_(1e-3)
    sources = inputs(1, (480, 640))
    with torch.inference_mode():
        ours = fuser(*sources[:2], attention=sources[2]).fused
        torch.testing.assert_close(ours, twin(fuser, *sources)[0], atol=1e-5, rtol=0)


# ---- against the original --------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def reference():
    return recorded.load('moe_fusion')


def original(reference, device='cpu'):
    fuser = MoEFusion(local_grid=(16, 20), global_grid=(8, 10))
    fuser.load_state_dict(convert_fusion_head(reference['state_dict']))
    data = reference['inputs']
    attention = torch.cat([data['att_rgb0'], data['att_tir0']], 1)
    return fuser.to(device), [x.to(device) for x in (data['source_img_r'] / 255, data['source_img_i'] / 255, attention)]


def test_reference_eval(reference):
    fuser, (first, second, attention) = original(reference)
    fuser.eval()
    seen = watch_gates(fuser)
    with torch.no_grad():
        fused = fuser(first, second, attention=attention).fused
    assert (fused - reference['eval']['fused']).abs().max() <= 1e-5
    balance = 0
    for (old, new), weight in zip(MIXTURES.items(), fuser.balance_weights):
        gates, load = reference['eval']['gates'][old]
        assert (seen[new].gates - gates).abs().max() <= 1e-5
        assert torch.equal(seen[new].load, load)
        balance = balance + weight * (cv_squared(seen[new].importance) + cv_squared(seen[new].load))
    assert abs(balance - reference['eval']['aux']) <= 1e-6


def test_reference_eval_one_by_one(reference):
    fuser, sources = original(reference)
    fuser.eval()
    with torch.no_grad():
        fused = torch.cat([fuser(a, b, attention=c).fused for a, b, c in zip(*(x.split(1) for x in sources))])
    assert (fused - reference['eval']['fused']).abs().max() <= 1e-5


def test_reference_train(reference):
    """Fused image, gates, load and every loss to 1e-5; gradient norms within what single pixels at a kink can move.

    The gradient of the Sobel term jumps where |x| has its kink, and the fused images differ by 3e-6 from rounding, so
    the sign of a few of the 20480 pixels may differ; norms then move by up to 8e-3 of their value. That this is the
    cause is inferred, not proved: the layers of the global expert 0 behind its first one, which other images use, agree
    to 1e-4, and the exact gradient equals the slow twin's above in float64.
    """
    fuser, (first, second, attention) = original(reference)
    expected = reference['train']
    seen = watch_gates(fuser.train())
    torch.manual_seed(expected['seed'])
    fused, losses = fuser(first, second, attention=attention)
    assert (fused - expected['fused']).abs().max() <= 1e-5
    for old, new in MIXTURES.items():
        gates, load = expected['gates'][old]
        assert (seen[new].gates - gates).abs().max() <= 1e-5
        assert (seen[new].load - load).abs().max() <= 1e-5
    gradient = SobelMaxLoss()(fused, first, second)
    pixel = BoxGuidedPixelLoss()(fused, first, second, boxes=reference['inputs']['gt_bboxes'])
    total = gradient + pixel + losses['loss_balance']
    for value, name in (
        (losses['loss_balance'], 'aux'),
        (gradient, 'loss_grad'),
        (pixel, 'loss_pixel'),
        (total, 'total'),
    ):
        assert abs(value - expected[name]) <= 1e-5, name
    total.backward()
    norms = convert_fusion_head({key: torch.as_tensor(norm) for key, norm in expected['grad_norm'].items()})
    assert set(norms) == {key for key, _ in fuser.named_parameters()}
    for key, parameter in fuser.named_parameters():
        assert parameter.grad.norm().item() == pytest.approx(norms[key].item(), rel=5e-3, abs=1e-4), key
    untouched = [
        key for key in norms if key.startswith('global_experts.0.') and not key.startswith('global_experts.0.0')
    ]
    for key in untouched:
        assert fuser.get_parameter(key).grad.norm().item() == pytest.approx(norms[key].item(), rel=1e-4), key
    assert len(untouched) == 6


@pytest.mark.gpu
def test_reference_on_gpu(reference):
    fuser, (first, second, attention) = original(reference, 'cuda')
    fuser.eval()
    with torch.no_grad():
        fused = fuser(first, second, attention=attention).fused
    # TF32 is off for matmul but on for convolutions by default
    assert (fused.cpu() - reference['eval']['fused']).abs().max() <= 2e-3


# ---- behavior -------------------------------------------------------------------------------------------------------


def test_only_chosen_experts_run(monkeypatch):
    fuser = make_fuser().eval()
    names = {
        expert: (mixture, index)
        for mixture in MIXTURES.values()
        for index, expert in enumerate(getattr(fuser, f'{mixture}_experts'))
    }
    runs = {}

    def watched(experts, x):  # experts that look at the same features run together
        for expert in experts:
            runs[names[expert]] = runs.get(names[expert], 0) + len(x)
        return run_together(experts, x)

    monkeypatch.setattr(blocks, 'run_together', watched)
    seen = watch_gates(fuser)
    first, second, attention = inputs(6)
    with torch.no_grad():
        fuser(first, second, attention=attention)
    for mixture in MIXTURES.values():
        assert [runs.get((mixture, index), 0) for index in range(4)] == seen[mixture].load.tolist()
    assert sum(runs.values()) == 6 * 2 * 3


def test_idle_experts_get_zero_gradient_in_training():
    fuser = make_fuser().train()
    seen = watch_gates(fuser)
    first, second, attention = inputs(1)
    fuser(first, second, attention=attention).fused.mean().backward()
    for mixture in MIXTURES.values():
        for index, expert in enumerate(getattr(fuser, f'{mixture}_experts')):
            norms = [p.grad.norm().item() for p in expert.parameters()]
            assert (max(norms) > 0) == (index in seen[mixture].chosen)


def test_each_half_of_the_local_experts_sees_one_source(monkeypatch):
    fuser = make_fuser().train()
    seen = watch_gates(fuser)
    first, second, attention = inputs(8)
    received, experts = {}, list(fuser.foreground_experts)

    def watched(chosen, x):
        for expert in chosen:
            if expert in experts:
                received.setdefault(experts.index(expert), []).append(x)
        return run_together(chosen, x)

    monkeypatch.setattr(blocks, 'run_together', watched)
    fuser(first, second, attention=attention)
    assert len(received) == 4
    area = torch.nn.functional.interpolate(
        attention.amax(1, keepdim=True), size=(24, 30), mode='bilinear', align_corners=True
    )
    features = [fuser.encoder_first(first)[1] * area, fuser.encoder_second(second)[1] * area]
    for index, tensors in received.items():
        images = [n for n in range(8) if index in seen['foreground'].chosen[n]]
        if images:
            torch.testing.assert_close(torch.cat(tensors), features[index // 2][images])


@pytest.mark.parametrize('channels', [(6, 3), (6, 4, 5), (6, 4, 3, 7), (6, 4, 7, 2), (6, 20, 1)])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_experts_that_run_together(channels, layout):
    """Outputs and gradients of each by itself."""
    experts = [ConvExpert(channels).double() for _ in range(3)]
    results = []
    x = torch.rand(2, channels[0], 9, 8, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    weights = [weight for expert in experts for weight in expert.parameters()]
    for outputs in (
        run_together(experts, x),
        [expert(x) for expert in experts],
        [run_together([expert], x)[0] for expert in experts],
    ):
        loss = sum((index + 1) * output.square().sum() for index, output in enumerate(outputs))
        results.append([*outputs, *torch.autograd.grad(loss, [x, *weights])])
    for result in results[1:]:
        torch.testing.assert_close(result, results[0])


def test_topk_per_modality():
    fuser = make_fuser(topk_per_modality=True).eval()
    seen = watch_gates(fuser)
    first, second, attention = inputs(10)
    fuser(first, second, attention=attention)
    for mixture in ('foreground', 'background'):
        assert ((seen[mixture].chosen < 2).sum(1) == 1).all()


def test_without_guidance_attention_is_one_half():
    fuser = make_fuser().eval()
    first, second, _ = inputs()
    with torch.no_grad():
        expected = fuser(first, second, attention=torch.full((4, 2, 6, 7), 0.5)).fused
        torch.testing.assert_close(fuser(first, second).fused, expected)


def test_attention_is_the_larger_of_both():
    fuser = make_fuser().eval()
    first, second, attention = inputs()
    with torch.no_grad():
        expected = fuser(first, second, attention=attention).fused
        assert torch.equal(fuser(first, second, attention=attention.flip(1)).fused, expected)
        assert torch.equal(fuser(first, second, attention=attention.amax(1, keepdim=True)).fused, expected)
        assert not torch.allclose(fuser(first, second, attention=1 - attention).fused, expected)


@pytest.mark.parametrize('shape', [(3, 2, 6, 7), (4, 3, 6, 7), (4, 6, 7)])
def test_wrong_attention(shape):
    first, second, _ = inputs()
    with pytest.raises(ValueError, match='attention must be'):
        make_fuser()(first, second, attention=torch.rand(shape))


def test_gradient_reaches_attention_when_it_is_not_detached():
    first, second, attention = inputs()
    attention.requires_grad_()
    make_fuser()(first, second, attention=attention).fused.mean().backward()
    assert attention.grad.abs().sum() > 0


def test_large_activations_in_autocast_stay_finite():
    """exp of these would overflow float16 and bfloat16 arithmetic alike."""
    fuser = make_fuser().train()
    with torch.no_grad():
        for expert in fuser.global_experts:
            expert[-1].bias.fill_(120.0)
    first, second, attention = inputs()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        fused, losses = fuser(first, second, attention=attention)
    assert fused.dtype == torch.float32 and torch.isfinite(fused).all() and fused.mean() > 100
    (fused.mean() + losses['loss_balance']).backward()
    assert all(torch.isfinite(p.grad).all() for p in fuser.parameters())


def test_options():
    first, second, attention = inputs()
    linear = make_fuser(combine='linear').eval()
    published = make_fuser(combine='logsumexp').eval()
    published.load_state_dict(linear.state_dict())
    with torch.no_grad():
        a, b = linear(first, second, attention=attention).fused, published(first, second, attention=attention).fused
    assert not torch.allclose(a, b, atol=1e-5)
    average = make_fuser(gate_pooling='average', local_grid=(2, 2), global_grid=(2, 2))
    assert average.foreground_gate.in_features == 2 * 4 * 4 and average.global_gate.in_features == 10 * 4 * 4
    assert average(first, second).fused.shape == first.shape


def test_published_numbers_of_parameters():
    with torch.device('meta'):
        fuser = MoEFusion()

    def count(*names):
        return sum(p.numel() for key, p in fuser.named_parameters() if key.startswith(names))

    assert sum(p.numel() for p in fuser.parameters()) == 16_482_916
    assert sum(p.numel() for key, p in fuser.named_parameters() if '_gate.' in key) == 15_974_400
    assert count('encoder') == 28_064
    assert count('foreground_experts', 'background_experts') == 18_624
    assert count('global_experts') == 461_828


@pytest.mark.parametrize(
    'kwargs, words',
    [
        (dict(num_experts=3), 'even'),
        (dict(gate_pooling='max'), 'gate_pooling'),
        (dict(combine='mean'), 'combine'),
        (dict(balance_weights=(1, 2)), 'balance_weights'),
        (dict(local_grid=(0, 4)), 'local_grid'),
        (dict(global_grid=(4,)), 'global_grid'),
        (dict(top_k=5), 'top_k'),
    ],
)
def test_bad_options(kwargs, words):
    with pytest.raises(ValueError, match=words):
        MoEFusion(**{**SMALL, **kwargs})


def test_twin_as_a_fuser_is_the_same_network():
    """What the benchmark compares: same weights, same result."""
    from moe_fusion_twin import MoEFusionTwin

    fuser = make_fuser().eval()
    other = MoEFusionTwin(**SMALL).eval()
    other.load_state_dict(fuser.state_dict())
    first, second, attention = inputs(2)
    with torch.no_grad():
        ours, theirs = (network(first, second, attention=attention).fused for network in (fuser, other))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
