"""Activations of other packages' networks as one operation: the same values and gradients, in place only where nothing
learns.
"""

import torch
from mmcv.cnn.bricks.swish import Swish
from torch import nn

from mmfusion.models.layers.silu import InferenceInPlaceSiLU, in_one_pass
from mmfusion.models.scoped import build_scoped


class Own(nn.SiLU):
    """An activation of somebody else."""


def network():
    torch.manual_seed(0)
    act = nn.Sequential(nn.Conv2d(3, 4, 3), Swish(), nn.Sequential(nn.Conv2d(4, 4, 1), nn.SiLU(inplace=True)), Own())
    return act.double()


def test_values_and_gradients():
    plain, ours = network(), in_one_pass(network())
    kinds = [type(module) for module in ours.modules()]
    assert Swish not in kinds and Own in kinds and InferenceInPlaceSiLU in kinds and nn.SiLU in kinds
    assert plain.state_dict().keys() == ours.state_dict().keys()
    x = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    for one, two in zip(plain.parameters(), ours.parameters()):
        two.data.copy_(one.data)
    outputs = [model(x) for model in (plain, ours)]
    torch.testing.assert_close(*outputs)
    grads = [torch.autograd.grad(out.square().sum(), model.parameters()) for out, model in zip(outputs, (plain, ours))]
    torch.testing.assert_close(*grads)


def test_in_place_in_inference_alone():
    layer, x = InferenceInPlaceSiLU(inplace=True), torch.randn(5)
    before = x.clone()
    assert layer(x) is not x and torch.equal(x, before)
    expected = nn.functional.silu(x)
    with torch.no_grad():
        assert layer(x) is x
    assert torch.equal(x, expected)


def test_task_networks_have_it():
    backbone = build_scoped(dict(type='mmdet.CSPDarknet', deepen_factor=0.33, widen_factor=0.125))
    kinds = {type(module) for module in backbone.modules()}
    assert nn.SiLU in kinds and Swish not in kinds
