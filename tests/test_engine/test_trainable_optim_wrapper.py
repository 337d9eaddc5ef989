"""TrainableOptimWrapperConstructor: what the optimizer holds, and with which options."""

import pytest
import torch
from mmengine.logging import MMLogger
from torch import nn

from mmfusion.engine import PartOptimWrapperConstructor, TrainableOptimWrapperConstructor
from mmfusion.utils import UserError


def model():
    parts = nn.ModuleDict(
        dict(fuser=nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)), tasks=nn.Linear(2, 1))
    )
    parts['fuser'][0].requires_grad_(False)
    return parts


def held(optimizer):
    return {id(parameter) for group in optimizer.param_groups for parameter in group['params']}


@pytest.mark.parametrize('paramwise', [None, dict(norm_decay_mult=0.0, bias_decay_mult=0.0)])
def test_frozen_parameters_are_left_out(paramwise):
    parts = model()
    wrapper = TrainableOptimWrapperConstructor(dict(optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5)), paramwise)(
        parts
    )
    assert held(wrapper.optimizer) == {id(parameter) for parameter in parts.parameters() if parameter.requires_grad}
    assert all(group['params'] for group in wrapper.optimizer.param_groups)
    decay = {id(p): group['weight_decay'] for group in wrapper.optimizer.param_groups for p in group['params']}
    assert decay[id(parts['fuser'][2].weight)] == 0.5
    assert decay[id(parts['fuser'][1].weight)] == (0.5 if paramwise is None else 0.0)
    before = parts['fuser'][0].weight.clone()
    wrapper.update_params(parts['tasks'](parts['fuser'](torch.rand(5, 3))).sum())
    assert torch.equal(parts['fuser'][0].weight, before)
    torch.optim.lr_scheduler.StepLR(wrapper.optimizer, 1).step()
    wrapper.load_state_dict(wrapper.state_dict())


class Numbers(nn.Module):
    """Parameters with no, one and two axes."""

    def __init__(self):
        super().__init__()
        self.mix, self.flat, self.matrix, self.own = (
            nn.Parameter(torch.ones(shape)) for shape in ((), (3,), (3, 3), ())
        )


@pytest.mark.parametrize(
    'paramwise, expected',
    [
        (dict(flat_decay_mult=0.1), dict(mix=0.05, flat=0.05, matrix=0.5, own=0.05)),
        (
            dict(flat_decay_mult=0.0, custom_keys=dict(own=dict(decay_mult=2.0))),
            dict(mix=0.0, flat=0.0, matrix=0.5, own=1.0),
        ),
        (dict(norm_decay_mult=0.0), dict(mix=0.5, flat=0.5, matrix=0.5, own=0.5)),
    ],
)
def test_flat_decay_counts_for_single_numbers(paramwise, expected):
    parts = nn.ModuleDict(dict(inner=nn.ModuleDict(dict(numbers=Numbers()))))
    wrapper = TrainableOptimWrapperConstructor(dict(optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5)), paramwise)(
        parts
    )
    decay = {id(p): group['weight_decay'] for group in wrapper.optimizer.param_groups for p in group['params']}
    assert {name: decay[id(p)] for name, p in parts['inner']['numbers'].named_parameters()} == pytest.approx(expected)


@pytest.mark.parametrize('paramwise', [None, dict(bias_decay_mult=0.0)])
def test_shared_weights_are_held_once(paramwise):
    """As in the heads of RTMDet."""
    parts = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    parts[1].weight = parts[0].weight
    wrapper = TrainableOptimWrapperConstructor(dict(optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5)), paramwise)(
        parts
    )
    found = [id(parameter) for group in wrapper.optimizer.param_groups for parameter in group['params']]
    assert found == [id(parameter) for parameter in (parts[0].weight, parts[0].bias, parts[1].bias)]


def test_of_each_part_too():
    parts = model()
    wrappers = PartOptimWrapperConstructor(dict(fuser=dict(optimizer=dict(type='SGD', lr=0.1))))(parts)
    assert held(wrappers['fuser'].optimizer) == {id(parameter) for parameter in parts['fuser'][1:].parameters()}


@pytest.mark.parametrize('paramwise', [None, dict(norm_decay_mult=0.0)])
def test_nothing_to_train(paramwise):
    with pytest.raises(UserError, match='all parameters are frozen'):
        TrainableOptimWrapperConstructor(dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1)), paramwise)(
            nn.Linear(2, 1).requires_grad_(False)
        )


def test_a_frozen_module_is_passed_over_in_silence(monkeypatch):
    """Hundreds of lines for a frozen transformer would hide everything else in the log."""
    texts = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'log', lambda level, text: texts.append(text))
    TrainableOptimWrapperConstructor(
        dict(optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5)), dict(norm_decay_mult=0.0)
    )(model())
    assert any('fuser.1.weight' in text for text in texts) and not any('is skipped' in text for text in texts)
