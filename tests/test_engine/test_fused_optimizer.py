"""Optimizers with few groups and a fused step: the same training to rounding, and nothing of it may be wrong in
silence.
"""

import copy

import pytest
import torch
from torch import nn

from mmfusion.engine import TrainableOptimWrapperConstructor
from mmfusion.engine.optim_wrappers.fused import clip_grad_norm, merged_groups
from mmfusion.utils import UserError

PARAMWISE = dict(norm_decay_mult=0.0, custom_keys={'2.': dict(lr_mult=2.0)})


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 5, 3), nn.PReLU())


def wrapper_of(model, optimizer):
    return TrainableOptimWrapperConstructor(dict(optimizer={'weight_decay': 0.1, **optimizer}), PARAMWISE)(model)


def mmengine_wrapper(model, optimizer):
    from mmengine.optim import DefaultOptimWrapperConstructor

    return DefaultOptimWrapperConstructor(dict(optimizer={'weight_decay': 0.1, **optimizer}), PARAMWISE)(model)


def train(model, wrapper, steps=4):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        wrapper.update_params(model(torch.rand(2, 3, 9, 8, generator=generator)).square().mean())


@pytest.mark.parametrize(
    'optimizer',
    [
        dict(type='AdamW', lr=1e-2),
        dict(type='Adam', lr=1e-2, betas=(0.5, 0.9)),
        dict(type='SGD', lr=1e-1, momentum=0.9),
    ],
)
def test_trains_as_with_one_group_for_each_weight(optimizer):
    ours, theirs = network(), network()
    wrapper, other = wrapper_of(ours, optimizer), mmengine_wrapper(theirs, optimizer)
    assert len(wrapper.optimizer.param_groups) == 3 < len(other.optimizer.param_groups)  # plain, norm, custom
    assert all(group['fused'] for group in wrapper.optimizer.param_groups)
    start = ours[0].weight.detach().clone()
    train(ours, wrapper)
    train(theirs, other)
    assert (ours[0].weight - start).abs().max() > 1e-3
    for one, two in zip(ours.parameters(), theirs.parameters()):
        assert torch.allclose(one, two, rtol=1e-5, atol=1e-6)


def test_each_weight_keeps_its_options():
    model = network()
    groups = wrapper_of(model, dict(type='AdamW', lr=1.0, weight_decay=0.5)).optimizer.param_groups
    options = {id(weight): (group['lr'], group['weight_decay']) for group in groups for weight in group['params']}
    assert [options[id(weight)] for weight in model.parameters()] == [
        (1.0, 0.5),
        (1.0, 0.5),
        (1.0, 0.0),
        (1.0, 0.0),
        (2.0, 0.5),
        (2.0, 0.5),
        (1.0, 0.5),
    ]


@pytest.mark.parametrize('optimizer', [dict(type='AdamW', lr=1e-2), dict(type='SGD', lr=1e-2, momentum=0.9)])
def test_gradients_and_states_in_another_layout(optimizer):
    """What torch.autograd.grad returns behind features in channels_last; the kernel itself does not look at strides."""
    models = [network() for _ in range(2)]
    wrappers = [wrapper_of(model, optimizer) for model in models]
    for step in range(3):
        for model, wrapper, layout in zip(models, wrappers, (torch.channels_last, torch.contiguous_format)):
            generator = torch.Generator().manual_seed(step)
            for weight in model.parameters():
                gradient = torch.randn(weight.shape, generator=generator)
                weight.grad = gradient.contiguous(memory_format=layout) if weight.dim() == 4 else gradient
            wrapper.step()
            if layout is torch.channels_last and step == 1:
                state = copy.deepcopy(wrapper.state_dict())
                for moments in state['state'].values():
                    for name, value in moments.items():
                        if value is not None and value.dim() == 4:
                            moments[name] = value.contiguous(memory_format=torch.channels_last)
                wrapper.load_state_dict(state)
    for one, two in zip(*(model.parameters() for model in models)):
        assert torch.equal(one, two)


@pytest.mark.parametrize('chosen', [dict(fused=False), dict(foreach=True), dict(foreach=False, fused=False)])
def test_the_config_decides(chosen):
    wrapper = wrapper_of(network(), dict(type='AdamW', lr=1e-2, **chosen))
    assert all(not group['fused'] for group in wrapper.optimizer.param_groups)
    assert wrapper.optimizer.param_groups[0]['foreach'] == chosen.get('foreach')
    assert (
        not wrapper_of(network(), dict(type='RMSprop', lr=1e-2)).optimizer.param_groups[0].get('fused')
    )  # torch has none for it


def test_resuming(tmp_path):
    ours, theirs = network(), network()
    optimizer = dict(type='AdamW', lr=1e-2)
    wrapper = wrapper_of(ours, optimizer)
    train(ours, wrapper)
    torch.save(dict(weights=ours.state_dict(), optimizer=wrapper.state_dict()), tmp_path / 'state.pth')
    saved = torch.load(tmp_path / 'state.pth')
    theirs.load_state_dict(saved['weights'])
    resumed = wrapper_of(theirs, optimizer)
    resumed.load_state_dict(saved['optimizer'])
    train(ours, wrapper)
    train(theirs, resumed)
    for one, two in zip(ours.parameters(), theirs.parameters()):
        assert torch.equal(one, two)
    with pytest.raises(UserError, match='7 weights in 7 groups, this config makes 7 weights in 3: .*load_from'):
        resumed.load_state_dict(mmengine_wrapper(network(), optimizer).state_dict())


def test_options_that_differ_keep_groups_apart():
    groups = [
        dict(params=[1], lr=1.0, betas=(0.9, 0.99)),
        dict(params=[2], lr=1.0, betas=(0.9, 0.9)),
        dict(params=[3, 4], betas=(0.9, 0.99), lr=1.0),
    ]
    assert [group['params'] for group in merged_groups(groups)] == [[1, 3, 4], [2]]
    assert groups[0]['params'] == [1]


@pytest.mark.parametrize('max_norm', [1e-2, 1e3])
def test_clipping_is_that_of_torch(max_norm):
    models = [network(), network()]
    norms = []
    for model, clip in zip(models, (clip_grad_norm, torch.nn.utils.clip_grad_norm_)):
        (model(torch.ones(2, 3, 9, 8)).square().mean()).backward()
        norms.append(clip(model.parameters(), max_norm))
    assert torch.equal(*norms)
    for one, two in zip(*(model.parameters() for model in models)):
        assert torch.equal(one.grad, two.grad)


def test_clipping_hands_the_rest_to_torch(monkeypatch):
    called = []
    monkeypatch.setattr(torch.nn.utils, 'clip_grad_norm_', lambda *args, **options: called.append((args[1:], options)))
    weight = torch.zeros(2, requires_grad=True)
    clip_grad_norm([weight], 1.0)  # no gradient yet
    weight.grad = torch.ones(2)
    clip_grad_norm([weight], 1.0, norm_type=1.0)
    clip_grad_norm([weight], 1.0, error_if_nonfinite=True)
    assert len(called) == 3
    clip_grad_norm(weight, 1.0, error_if_nonfinite=False)
    assert len(called) == 3 and weight.grad.norm() < 1.0


def test_gradients_that_are_no_numbers_stay_so():
    weight = torch.zeros(2, requires_grad=True)
    weight.grad = torch.tensor([1.0, float('nan')])
    assert clip_grad_norm([weight], 1.0).isnan() and weight.grad.isnan().all()


def test_wrappers_clip_by_it():
    model = network()
    wrapper = TrainableOptimWrapperConstructor(dict(optimizer=dict(type='SGD', lr=1.0), clip_grad=dict(max_norm=1e-3)))(
        model
    )
    assert wrapper.clip_func is clip_grad_norm
    start = [weight.detach().clone() for weight in model.parameters()]
    train(model, wrapper, steps=1)
    moved = torch.cat([(weight - old).flatten() for weight, old in zip(model.parameters(), start)]).norm()
    assert abs(moved.item() - 1e-3) < 1e-5
