import pytest
import torch
from scipy.stats import norm

from mmfusion.models.layers import NoisyTopKGate, balance_loss, cv_squared


def make_gate(in_features=12, num_experts=4, top_k=2, **kwargs):
    gate = NoisyTopKGate(in_features, num_experts, top_k, **kwargs)
    torch.nn.init.normal_(gate.weight)
    torch.nn.init.normal_(gate.noise_weight)
    return gate


def test_starts_from_zero():
    gate = NoisyTopKGate(5)
    assert not gate.weight.any() and not gate.noise_weight.any()


@pytest.mark.parametrize('shape', [(12,), (3, 12), (2, 7, 12)])
@pytest.mark.parametrize('training', [True, False])
def test_gates_of_images_and_tokens(shape, training):
    gate = make_gate().train(training)
    if len(shape) == 1:
        shape = (1, *shape)
    out = gate(torch.randn(shape))
    assert out.gates.shape == (*shape[:-1], 4) and out.chosen.shape == (*shape[:-1], 2)
    assert torch.equal((out.gates > 0).sum(-1), torch.full(shape[:-1], 2))
    torch.testing.assert_close(out.gates.sum(-1), torch.ones(shape[:-1]))
    assert torch.equal(out.gates.gather(-1, out.chosen) > 0, torch.ones_like(out.chosen, dtype=torch.bool))
    torch.testing.assert_close(out.importance, out.gates.reshape(-1, 4).sum(0))


def test_eval_takes_the_largest_logits_and_counts():
    gate = make_gate().eval()
    x = torch.randn(9, 12)
    out = gate(x)
    logits = x @ gate.weight
    for row, weights in zip(logits, out.gates):
        best = row.argsort(descending=True)[:2]
        expected = torch.zeros(4)
        expected[best] = row[best].softmax(0)
        torch.testing.assert_close(weights, expected)
    assert torch.equal(out.load, (out.gates > 0).sum(0))


def test_noise_can_be_replayed_from_a_seed():
    gate = make_gate(noise_epsilon=0.1)
    x = torch.randn(6, 12)
    torch.manual_seed(5)
    out = gate(x)
    torch.manual_seed(5)
    noise = torch.randn(6, 4)  # one draw, of the logits' shape
    noisy = x @ gate.weight + noise * (torch.nn.functional.softplus(x @ gate.noise_weight) + 0.1)
    assert torch.equal(out.chosen.sort(-1).values, noisy.topk(2).indices.sort(-1).values)


def test_training_load_is_the_chance_to_be_chosen():
    """Against scipy, and against what happens when one expert's noise is drawn many times."""
    gate = make_gate(in_features=3)
    x = torch.randn(1, 3)
    torch.manual_seed(1)
    load = gate(x).load
    torch.manual_seed(1)
    draw = torch.randn(1, 4)
    clean = (x @ gate.weight)[0].detach()
    deviation = (torch.nn.functional.softplus(x @ gate.noise_weight) + 0.01)[0].detach()
    noisy = clean + draw[0] * deviation
    for expert in range(4):
        others = sorted((noisy[e].item() for e in range(4) if e != expert), reverse=True)
        chance = norm.cdf(
            (clean[expert].item() - others[1]) / deviation[expert].item()
        )  # it must beat the second of the others
        assert load[expert].item() == pytest.approx(chance, abs=1e-5)
        again = clean[expert] + torch.randn(20000) * deviation[expert]
        assert (again > others[1]).float().mean().item() == pytest.approx(chance, abs=0.02)


def test_load_carries_gradient_to_both_matrices():
    gate = make_gate()
    gate(torch.randn(5, 12)).load.square().sum().backward()
    assert gate.weight.grad.abs().sum() > 0 and gate.noise_weight.grad.abs().sum() > 0


@pytest.mark.parametrize('training', [True, False])
def test_groups_choose_in_each_run(training):
    gate = make_gate(num_experts=6, top_k=4, groups=2).train(training)
    out = gate(torch.randn(50, 12))
    picked = out.gates > 0
    assert (picked[:, :3].sum(1) == 2).all() and (picked[:, 3:].sum(1) == 2).all()
    assert out.load.sum().item() == pytest.approx(200, rel=0.2)


def test_all_experts_chosen():
    out = make_gate(top_k=4)(torch.randn(3, 12))
    assert (out.gates > 0).all() and out.load.tolist() == [3, 3, 3, 3]
    assert torch.isfinite(balance_loss(out))


def test_balance_loss_formula():
    values = torch.tensor([1.0, 2.0, 3.0, 6.0])
    mean = 3.0
    variance = sum((v - mean) ** 2 for v in (1.0, 2.0, 3.0, 6.0)) / 3
    assert cv_squared(values).item() == pytest.approx(variance / mean**2)
    assert cv_squared(torch.tensor([4.0, 4.0])).item() == 0
    assert cv_squared(torch.tensor([4.0])).item() == 0
    assert torch.isfinite(cv_squared(torch.zeros(4)))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_input_decides_as_float(dtype):
    gate = make_gate(in_features=4000).eval()
    x = (torch.rand(4, 4000) * 60).to(dtype)  # sums beyond the range of float16
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = gate(x)
    assert out.gates.dtype == torch.float32 and torch.isfinite(out.gates).all()
    assert torch.equal(out.chosen, gate(x.float()).chosen)


@pytest.mark.parametrize(
    'kwargs, words',
    [
        (dict(top_k=5), 'top_k'),
        (dict(top_k=0), 'top_k'),
        (dict(in_features=0), 'in_features'),
        (dict(groups=3), 'groups'),
        (dict(noise_epsilon=0), 'noise_epsilon'),
    ],
)
def test_bad_numbers(kwargs, words):
    with pytest.raises(ValueError, match=words):
        NoisyTopKGate(**{**dict(in_features=4), **kwargs})


def test_bad_length():
    with pytest.raises(ValueError, match='length 12'):
        make_gate()(torch.rand(2, 11))
