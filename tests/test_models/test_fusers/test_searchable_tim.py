"""The supernet: mixtures equal slow sums, architecture and weights are apart, and the genotype is what has the largest
weight.
"""

import copy

import pytest
import torch

from mmfusion.models.fusers import TIM, SearchableTIM
from mmfusion.models.fusers.tim import SEARCH_SPACE
from mmfusion.models.fusers.tim.supernet import Architecture, MixedOperation, WeightedSum

MULTISCALE = [dict(kind='chain', length=1), dict(kind='multiscale', length=2)]


def test_weighted_sum_has_exact_gradients_of_both_orders():
    weights = torch.rand(3, dtype=torch.double, requires_grad=True)
    values = [torch.randn(2, 3, dtype=torch.double, requires_grad=True) for _ in range(3)]
    torch.testing.assert_close(WeightedSum.apply(weights, *values), sum(w * v for w, v in zip(weights, values)))
    assert torch.autograd.gradcheck(WeightedSum.apply, (weights, *values))
    assert torch.autograd.gradgradcheck(WeightedSum.apply, (weights, *values))


def test_mixture_equals_the_sum_of_its_candidates():
    architecture = Architecture(['cells.0.0', 'cells.0.1'], SEARCH_SPACE)
    architecture.alpha.data.normal_()
    mixture = MixedOperation(architecture, 'cells.0.1', 4).eval()
    x = torch.randn(2, 4, 9, 11)
    weights = architecture.alpha[1].exp() / architecture.alpha[1].exp().sum()
    wanted = sum(weight * mixture.candidates[name](x) for weight, name in zip(weights, SEARCH_SPACE))
    torch.testing.assert_close(mixture(x), wanted)


def test_architecture_and_weights_are_apart():
    fuser = SearchableTIM(MULTISCALE, width=4)
    names = [name for name, _ in fuser.named_parameters()]
    assert len(names) == len(set(names)) and [name for name in names if not name.startswith('network.')] == [
        'architecture.alpha'
    ]
    assert fuser.architecture.positions == ('cells.0.0', 'cells.1.0', 'cells.1.1') and fuser.size_multiple == 4
    mixtures = [module for module in fuser.modules() if isinstance(module, MixedOperation)]
    assert len(mixtures) == 1 + 2 * 3  # the three scales of a position share its row
    first, second = torch.rand(1, 1, 16, 18), torch.rand(1, 1, 16, 18)
    before = fuser.eval()(first, second).fused
    clone = copy.deepcopy(fuser)
    clone.architecture.alpha.data[:, 0] += 5
    assert not torch.allclose(clone(first, second).fused, before)  # a copy mixes by its own architecture
    assert torch.equal(fuser(first, second).fused, before)


def test_genotype_is_the_largest_weight_and_can_be_trained():
    fuser = SearchableTIM(MULTISCALE, candidates=('eca_3', 'residual_3_1', 'spatial_3'), width=4)
    fuser.architecture.alpha.data = torch.tensor([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
    genotype = fuser.genotype('mine')
    assert [(cell.kind, cell.operations) for cell in genotype.cells] == [
        ('chain', ('residual_3_1',)),
        ('multiscale', ('eca_3', 'spatial_3')),
    ]
    found = TIM(genotype, width=4)
    # With all weight on one candidate the supernet is that network.
    fuser.architecture.alpha.data *= 1e4
    state = {}
    for name, value in fuser.network.state_dict().items():
        parts = name.split('.')
        if 'candidates' in parts:
            at = parts.index('candidates')
            row = fuser.architecture.positions.index(f'cells.{parts[1]}.{parts[at - 1]}')
            if parts[at + 1] != fuser.architecture.chosen()[row]:
                continue
            parts[at : at + 2] = []
        state['.'.join(parts)] = value
    found.load_state_dict(state)
    first, second = torch.rand(2, 1, 16, 20), torch.rand(2, 1, 16, 20)
    torch.testing.assert_close(
        fuser.eval()(first, second).fused, found.eval()(first, second).fused, atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(cells=[]), 'at least one cell'),
        (dict(cells=[dict(kind='tree', length=1)]), 'cell 0 must be'),
        (dict(cells=[dict(kind='chain', length=0)]), 'length of at least 1'),
        (dict(candidates=('eca_3',)), 'at least two'),
        (dict(candidates=('eca_3', 'eca_3')), 'at least two different'),
        (dict(candidates=('eca_3', 'conv_3')), 'is no operation'),
        (dict(width=3), 'even number'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        SearchableTIM(**options)
