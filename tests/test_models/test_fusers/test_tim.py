"""TIM against its literal twin (tests/twins/tim_twin.py) and against the vectors of the original networks."""

import copy
import os
import subprocess
import sys

import pytest
import recorded
import torch
from tim_twin import cell_twin, operation_twin, stage1_twin, two_stage_twin
from torch import nn

from mmfusion.models.fusers import TIM, TwoStageTIM
from mmfusion.models.fusers.tim import Cell, build_operation, load_genotype
from mmfusion.models.fusers.tim.cells import build_cell
from mmfusion.models.fusers.tim.conversion import convert_stage1, convert_stage2

NAMES = (
    'residual_3_1',
    'residual_5_2',
    'dense_3_1',
    'dense_5_1',
    'dil_conv_3_2',
    'dil_conv_7_1',
    'sep_conv_3_1',
    'sep_conv_5_2',
    'eca_3',
    'eca_5',
    'spatial_3',
    'spatial_7',
    'non_local_3',
)
MIXED = dict(
    cells=[
        dict(kind='chain', operations=['sep_conv_3_1', 'eca_3', 'spatial_5']),
        dict(kind='multiscale', operations=['eca_3', 'dense_3_1']),
        dict(kind='chain', operations=['non_local_3', 'residual_5_1']),
    ]
)


def shaken(network, double=True):
    """Eval mode, with weights, statistics and slopes that make every part matter; float64, so that a tolerance measures
    formulas.
    """
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3), module.running_var.uniform_(0.5, 2.0)
                module.weight.uniform_(0.5, 1.5), module.bias.normal_(0, 0.3)
            elif isinstance(module, nn.PReLU):
                module.weight.uniform_(-0.5, 0.8)
            elif hasattr(module, 'weight') and module.weight.dim() > 2:
                fan = module.weight[0].numel()
                module.weight.normal_(0, (2 / fan) ** 0.5)
    return (network.double() if double else network).eval()


def images(*size, batch=2, dtype=torch.float64):
    return [torch.rand(batch, 1, *size, dtype=dtype) for _ in range(2)]


# ---- against the twin ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'layout', [torch.contiguous_format, torch.channels_last], ids=['channels_first', 'channels_last']
)
@pytest.mark.parametrize('channels', [6, 8])
@pytest.mark.parametrize('name', NAMES)
def test_operation(name, channels, layout):
    """8 channels do not make groups of three, so groups of the dense operation hold channels of two features."""
    operation = shaken(build_operation(name, channels))
    x = torch.randn(2, channels, 37, 18, dtype=torch.float64).contiguous(memory_format=layout)
    kept = x.clone()
    with torch.no_grad():
        expected = operation_twin(operation, name, x)
        torch.testing.assert_close(operation(x), expected, atol=1e-12, rtol=1e-12)
        assert torch.equal(x, kept)
        assert (expected - x).abs().max() > 0.1


@pytest.mark.parametrize('kind', ['chain', 'multiscale'])
def test_cell(kind):
    cell = Cell(kind, ('residual_3_1', 'eca_3', 'dil_conv_3_2'))
    module = shaken(build_cell(cell, 6))
    x = torch.randn(2, 6, 44, 20, dtype=torch.float64)
    with torch.no_grad():
        expected = cell_twin(module, cell, x)
        torch.testing.assert_close(module(x), expected, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize('genotype, size', [('fusion', (44, 20)), ('fusion_light', (37, 18)), (MIXED, (40, 16))])
def test_stage1(genotype, size):
    network = shaken(TIM(genotype, width=6))
    first, second = images(*size)
    with torch.no_grad():
        expected = stage1_twin(network, first, second)
        torch.testing.assert_close(network(first, second).fused, expected, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(network(first, second).fused, expected, atol=1e-10, rtol=1e-10)


TWO_STAGES = [
    dict(),
    *(
        dict(branches={'mri': f'mri_{other}_mri', other: f'mri_{other}_{other}'}, merge='concat')
        for other in ('ct', 'pet', 'spect')
    ),
]


@pytest.mark.parametrize('options', TWO_STAGES, ids=['ivif', 'mri_ct', 'mri_pet', 'mri_spect'])
def test_two_stages(options):
    network = shaken(TwoStageTIM(width=6, stage1='fusion_light', **options))
    first, second = images(37, 18)
    with torch.no_grad():
        expected = two_stage_twin(network, first, second)
        torch.testing.assert_close(network(first, second).fused, expected[2], atol=1e-10, rtol=1e-10)
        found = network.images(first, second)
    for name, value in zip((*network.modalities, 'fused'), expected):
        torch.testing.assert_close(found[name], value, atol=1e-10, rtol=1e-10)


# ---- against the original --------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def reference():
    return recorded.load('tim')


def test_reference(reference):
    network, nets, outputs = TwoStageTIM(), reference['nets'], reference['outputs']
    genotypes = {name: branch.genotype for name, branch in network.branches.items()}
    stage1 = convert_stage1(nets['ivif_fusion'], network.stage1.genotype, swap=True)
    stage2 = convert_stage2(nets['ivif_enhance'], genotypes, ('visible', 'infrared'))
    network.load_state_dict({**{f'stage1.{key}': value for key, value in stage1.items()}, **stage2})
    assert (len(nets['ivif_fusion']), len(nets['ivif_enhance'])) == (131, 91)
    visible, infrared = reference['inputs']['vis'], reference['inputs']['ir']
    network.eval()
    with torch.no_grad():
        assert (network.stage1(visible, infrared).fused - outputs['ivif_fusion_eval']).abs().max() <= 1e-5
        assert (network(visible, infrared).fused - outputs['ivif_enhance_eval'][2]).abs().max() <= 1e-5
        found = network.images(visible, infrared)
    for name, expected in zip(('visible', 'infrared', 'fused'), outputs['ivif_enhance_eval']):
        assert (found[name] - expected).abs().max() <= 1e-5, name


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_numbers_of_parameters():
    assert count(TIM()) == 994_917 and count(TIM('fusion_light')) == 127_358
    assert len(TIM('fusion_light').state_dict()) == 49
    assert (
        sum(count(build_operation(name, 48)) for name in ('residual_3_1', 'residual_5_1', 'residual_7_1'))
        == 3265 + 4033 + 5185
    )
    assert [
        count(build_operation(name, 48))
        for name in ('dense_3_1', 'dense_5_1', 'dil_conv_3_2', 'dil_conv_5_2', 'sep_conv_3_1', 'eca_3', 'spatial_3')
    ] == [2593, 7201, 2832, 3600, 5664, 20740, 18]
    for options, number in zip(TWO_STAGES, (237_308, 235_059, 244_815, 230_643)):
        network = TwoStageTIM(**options)
        assert count(network) - count(network.stage1) == number, options


# ---- batch norm with image statistics --------------------------------------------------------------------------------


def test_batch_statistics_are_those_of_training_mode_for_one_image():
    first, second = images(24, 20, batch=1)
    fuser = shaken(TIM('fusion_light', width=6, bn_batch_stats=True))
    twin = copy.deepcopy(fuser)
    before = {key: value.clone() for key, value in fuser.state_dict().items()}
    with torch.no_grad():
        fused, expected = fuser(first, second).fused, twin.train()(first, second).fused
        torch.testing.assert_close(fused, expected, atol=1e-12, rtol=0)
        both = fuser(torch.cat([first, second]), torch.cat([second, first])).fused
        torch.testing.assert_close(both[:1], fused, atol=1e-12, rtol=0)  # image by image
    assert all(torch.equal(value, before[key]) for key, value in fuser.state_dict().items())


@pytest.mark.parametrize('stages', [(2,), (1, 2)])
def test_batch_statistics_by_stage(stages):
    fuser = shaken(TwoStageTIM(stage1='fusion_light', width=6, bn_batch_stats=stages))
    first, second = images(24, 20, batch=1)
    twin = copy.deepcopy(fuser).train()
    twin.stage1.train(1 in stages)
    with torch.no_grad():
        torch.testing.assert_close(fuser(first, second).fused, twin(first, second).fused, atol=1e-12, rtol=0)


def test_a_part_in_training_mode_stays_in_it():
    fuser, (first, second) = shaken(TIM('fusion_light', width=6)), images(24, 20)
    with torch.no_grad():
        before = fuser(first, second).fused
        fuser.cells.train()  # as the published programs leave parts of their networks
        fused = fuser(first, second).fused
        features = fuser.cells(fuser.stem(torch.cat([first, second], dim=1)))
        torch.testing.assert_close(fused, fuser.head(features), atol=1e-12, rtol=0)
    assert (fused - before).abs().max() > 1e-3


# ---- behavior --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('grad', [True, False])
def test_an_empty_batch_stays_empty(grad):
    with torch.set_grad_enabled(grad):
        for fuser in (TIM(width=4), TwoStageTIM(stage1='fusion_light', width=4)):
            assert fuser.eval()(*images(17, 20, batch=0, dtype=torch.float32)).fused.shape == (0, 1, 17, 20)


def test_auxiliary_terms():
    fuser, (first, second) = (
        TwoStageTIM(stage1='fusion_light', width=6, auxiliary_weight=0.5).train(),
        images(20, 20, dtype=torch.float32),
    )
    losses = fuser(first, second).losses
    assert set(losses) == {'loss_auxiliary_visible', 'loss_auxiliary_infrared'}
    sum(losses.values()).backward()
    assert all(
        p.grad is not None and p.grad.any() for branch in fuser.branches.values() for p in branch.auxiliary.parameters()
    )
    fuser.auxiliary_weight = 0.0
    assert fuser(first, second).losses == {} and fuser.eval()(first, second).losses == {}


def test_frozen_stage1():
    fuser, (first, second) = (
        TwoStageTIM(stage1='fusion_light', width=6, freeze_stage1=True).train(),
        images(20, 20, dtype=torch.float32),
    )
    before = {key: value.clone() for key, value in fuser.stage1.state_dict().items()}
    out = fuser(first, second)
    (out.fused.mean() + sum(out.losses.values())).backward()
    assert fuser.training and not fuser.stage1.training and all(p.grad is None for p in fuser.stage1.parameters())
    assert all(p.grad is not None for name, p in fuser.named_parameters() if not name.startswith('stage1.'))
    assert all(torch.equal(value, before[key]) for key, value in fuser.stage1.state_dict().items())


def test_stage1_comes_from_a_checkpoint(tmp_path):
    trained = TIM('fusion_light', width=6)
    torch.save(
        dict(state_dict={f'fuser.{key}': value for key, value in trained.state_dict().items()}), tmp_path / 'stage1.pth'
    )
    fuser = TwoStageTIM(
        stage1='fusion_light',
        width=6,
        stage1_init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'stage1.pth'), prefix='fuser.'),
    )
    fuser.init_weights()
    assert all(torch.equal(value, trained.state_dict()[key]) for key, value in fuser.stage1.state_dict().items())


@pytest.mark.parametrize(
    'cls, options, words',
    [
        (TIM, dict(genotype='fusion_heavy'), "no genotype 'fusion_heavy'"),
        (TIM, dict(width=7), 'even number'),
        (TwoStageTIM, dict(width=0), 'even number'),
        (TwoStageTIM, dict(branches=dict(visible='fusion_light')), 'two modalities'),
        (TwoStageTIM, dict(branches=dict(visible='fusion', infrared='fusion')), 'must be chains'),
        (TwoStageTIM, dict(merge='sum'), 'mask, concat'),
        (TwoStageTIM, dict(bn_batch_stats=(3,)), 'out of 1 and 2'),
        (TwoStageTIM, dict(bn_batch_stats=True), 'out of 1 and 2'),
        (TwoStageTIM, dict(auxiliary_weight=-1.0), 'at least 0'),
    ],
)
def test_bad_options(cls, options, words):
    with pytest.raises(ValueError, match=words):
        cls(**options)


def test_genotype_of_the_published_search_space():
    assert load_genotype('fusion').cells[0] == Cell('multiscale', ('residual_3_1', 'dil_conv_3_2'))


BFLOAT16 = """
import torch
from mmfusion.models.fusers import TIM

torch.manual_seed(0)
genotype = dict(cells=[dict(kind='chain', operations=['dil_conv_3_2', 'dil_conv_5_2'])])
for _ in range(4):
    fuser = TIM(genotype, width=4).train()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        fused = fuser(torch.rand(2, 1, 32, 40), torch.rand(2, 1, 32, 40)).fused
    fused.float().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in fuser.parameters())
"""


def test_gradients_in_bfloat16_are_of_written_memory_alone():
    """A process whose fresh memory is full of numbers beyond all bounds."""
    run = subprocess.run(
        [sys.executable, '-c', BFLOAT16], env=dict(os.environ, MALLOC_PERTURB_='129'), capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize('batch', [1, 2])
@pytest.mark.parametrize(
    'make',
    [
        lambda: TIM('fusion_light', width=8),
        lambda: TIM(MIXED, width=8),
        lambda: TwoStageTIM(width=12),
        lambda: TwoStageTIM(width=8, bn_batch_stats=(1, 2), merge='concat'),
    ],
)
def test_inference_with_fewer_operations(make, batch):
    """Without gradients, in float32, layers run as one operation each; the result is as close to float64 as that of the
    layers one by one.
    """
    torch.manual_seed(0)
    fuser = shaken(make(), double=False)
    first, second = images(24, 28, batch=batch, dtype=torch.float32)
    plain = fuser(first, second).fused.detach()
    with torch.no_grad():
        fast = fuser(first, second).fused
    exact = copy.deepcopy(fuser).double()(first.double(), second.double()).fused.detach()
    error = (plain - exact).abs().max()
    assert not torch.equal(fast, plain)  # other operations ran
    assert (fast - exact).abs().max() <= 4 * error + 1e-6 * exact.abs().max()
