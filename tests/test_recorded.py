"""The recorded data that ships: small, and refused where random numbers are not those of the recording."""

import pytest
import recorded
import torch


def test_all_files_stay_below_three_megabytes():
    assert sum(path.stat().st_size for path in recorded.DATA.rglob('*') if path.is_file()) < 3e6


@pytest.mark.parametrize('name', ['moe_fusion', 'tdfusion', 'tim', 'tc_moa'])
def test_no_draw_is_left_out(name):
    """Every tensor of the state dicts has numbers, and none is all zero by accident of a draw."""

    def tensors(node):
        if isinstance(node, torch.Tensor):
            yield node
        elif isinstance(node, (dict, list)):
            for part in node.values() if isinstance(node, dict) else node:
                yield from tensors(part)

    found = list(tensors(recorded.load(name)))
    assert len(found) > 80 and all(tensor.isfinite().all() for tensor in found)


def test_other_random_numbers_are_refused(monkeypatch, tmp_path):
    draw = dict(kind='normal', mean=0.0, std=1.0, seed=1, skip=3, shape=[20], then=[])
    torch.save(dict(content=dict(weight=draw), sum_of_draws=1e3), tmp_path / 'small.pt')
    monkeypatch.setattr(recorded, 'DATA', tmp_path)
    with pytest.raises(RuntimeError, match='draws other random numbers'):
        recorded.load('small')


def test_draws_in_one_stream():
    """What follows a normal draw begins where torch has gone on to, and overlapping draws start anew."""
    generator = torch.Generator().manual_seed(5)
    first, second = torch.empty(40).normal_(generator=generator), torch.rand(7, generator=generator)
    draws = [
        dict(kind='uniform', low=0.0, high=1.0, seed=5, skip=56, shape=[7], then=[]),
        dict(kind='normal', mean=0.0, std=1.0, seed=5, skip=0, shape=[40], then=[]),
        dict(kind='uniform', low=0.0, high=1.0, seed=5, skip=50, shape=[10], then=[]),
    ]
    recorded._fill(draws)
    assert torch.equal(draws[1]['tensor'], first) and torch.equal(draws[0]['tensor'], second)
    assert torch.equal(draws[2]['tensor'][6:], second[:4])


def test_samples_compare_like_with_like():
    sample = recorded.Sample(torch.tensor([0.0, 2.0, 4.0]), 2, (2, 3))
    assert torch.equal(sample.of(torch.arange(6.0).view(2, 3)), sample.values)
    with pytest.raises(ValueError, match=r'has shape \(2, 3\), this one \(6,\)'):
        sample.of(torch.arange(6.0))
