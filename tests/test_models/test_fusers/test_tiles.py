"""Fusing in tiles: equal to the whole image where the receptive field is finite or sums make it infinite, blended
elsewhere, within memory.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mmfusion.models  # noqa: F401
from mmfusion.apis import FusionInferencer
from mmfusion.model_zoo.exchange import ExchangedSources
from mmfusion.models.couplings import FusionOnly
from mmfusion.models.fusers import BaseFuser, FuserOutput, tiling
from mmfusion.models.fusers.reach import HeldReach, probe_reach
from mmfusion.models.fusers.tiling import Tiling, plan_cut
from mmfusion.models.layers.tiles import plan_axis
from mmfusion.registry import MODELS
from mmfusion.utils import UserError
from mmfusion.utils.memory_use import available_memory, peak_tensor_bytes

SMALL_MOE = dict(base_channels=4, expert_channels=2, decoder_channels=(4,), local_grid=(4, 5), global_grid=(2, 2))
FINITE = {
    'AverageFuser': {},
    'MaximumFuser': {},
    'SourceFuser': {},
    'FalseColorFuser': {},
    'LaplacianPyramidFuser': dict(levels=2),
    'DenseFuse': dict(width=2),
    'DIDFuse': dict(width=2),
    'IFCNN': dict(width=2),
    'LRRNet': dict(width=2, blocks=2),
    'LeSeFuse': dict(width=2),
    'PlainConvFuser': dict(width=2, depth=2, rule='maximum'),
    'SAGE': dict(width=2),
    'SeAFusion': dict(width=2),
    'TarDAL': dict(width=2, depth=2),
    'TIM': dict(genotype='mri_pet_pet', width=4),
    'TwoStageTIM': dict(stage1='mri_pet_pet', branches=dict(a='mri_pet_pet', b='mri_ct_ct'), width=4),
    'SearchableTIM': dict(candidates=('residual_3_1', 'spatial_3'), width=4),
}
#: The whole picture by sums alone, and the receptive field that is left without them.
SUMS = {
    'ReFusion': (dict(channels=8, blocks=1), 9),
    'TIM': (dict(genotype='fusion_light', width=8), 12),
    'TIM multiscale': (dict(genotype='fusion', width=4), 41),
    'TIM batch statistics': (dict(genotype='mri_pet_pet', width=4, bn_batch_stats=True), 18),
    'GIFNet': (dict(width=4), 20),
    'SMoA': (dict(width=4), 46),
    'MoEFusion': (SMALL_MOE, 8),
    'MoEFusion average': (dict(**SMALL_MOE, gate_pooling='average'), 8),
    'TarDAL': (dict(width=4, batch_statistics=True), 8),
}


def build(name, options):
    torch.manual_seed(1)
    fuser = MODELS.build(dict(type=name, **options)).eval()
    with torch.no_grad():
        for parameter in fuser.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.3)
    return fuser


def pair(fuser, height, width, number=1):
    """Smooth images, so that a jump is one of the tiles."""
    torch.manual_seed(2)
    return [
        F.interpolate(torch.rand(number, fuser.channels[-1], 5, 5), (height, width), mode='bicubic').clamp(0, 1)
        for _ in range(2)
    ]


@pytest.mark.parametrize('name', FINITE)
def test_stated_reach_is_that_of_the_structure(name):
    fuser = build(name, FINITE[name])
    assert fuser.reach == probe_reach(fuser)


@pytest.mark.parametrize('name', FINITE)
def test_finite_reach_gives_what_the_whole_image_gives(name):
    fuser = build(name, FINITE[name])
    side = 2 * fuser.reach + 2 * fuser.tile_multiple() + 24
    first, second = pair(fuser, 2 * side + 20, side + 36 + fuser.tile_multiple())
    first, second = first + 0.1 * torch.rand_like(first), second + 0.1 * torch.rand_like(second)
    with torch.no_grad():
        whole = fuser(first, second).fused
        fuser.set_tile((side, side))
        assert plan_cut(fuser, first).number >= 6
        torch.testing.assert_close(fuser(first, second).fused, whole, atol=1e-5, rtol=0)


def test_a_margin_below_the_reach_is_seen():
    """The test above can fail."""
    fuser = build('SeAFusion', FINITE['SeAFusion'])
    first, second = pair(fuser, 90, 90)
    with torch.no_grad():
        whole = fuser(first, second).fused
        fuser.reach = 1
        fuser.set_tile((48, 48))
        assert (fuser(first, second).fused - whole).abs().max() > 1e-4


@pytest.mark.parametrize('name', SUMS)
def test_sums_over_the_picture_give_what_the_whole_image_gives(name):
    """Within 1e-5 wherever tiles begin or end, and the sums are needed for it."""
    options, reach = SUMS[name]
    fuser = build(name.split()[0], options)
    assert fuser.reach is None and fuser.held_reach().reach == reach == probe_reach(fuser, held=True)
    side = 2 * reach + 2 * fuser.tile_multiple() + 20
    first, second = pair(
        fuser, side + 61, side + (19 if name == 'MoEFusion' else 0), number=2 if name == 'MoEFusion' else 1
    )
    first = 0.3 * first + 0.6 * torch.linspace(0, 1, first.shape[-1])  # tiles of other brightness
    with torch.no_grad():
        if name == 'GIFNet':  # those that it begins with hardly look at the sources
            for parameter in fuser.parameters():
                parameter.mul_(2)
        whole = fuser(first, second).fused
        fuser.set_tile((side, side))
        cutting = plan_cut(fuser, first)
        assert cutting.number >= 2 and cutting.sums == fuser.held_reach().sums
        wrong = (fuser(first, second).fused - whole).abs().max()
        fuser.held_reach = lambda: HeldReach(0, reach)
        wrong_alone = (fuser(first, second).fused - whole).abs().max()
    assert wrong < 1e-5 and wrong < 0.3 * wrong_alone


def test_parts_of_tiles_fill_the_picture():
    fuser = build('TIM', dict(genotype='fusion', width=4))
    first, second = pair(fuser, 244, 212)
    fuser.set_tile((150, 130))
    counted = torch.zeros(244, 212)
    for part in plan_cut(fuser, first).parts((244, 212)):
        (top, left), (height, width) = part.place, part.tile
        part.crop(counted[None, None, top : top + height, left : left + width]).add_(1)
        assert all(edge % 4 == 0 for edge in (*part.rows, *part.columns) if edge not in part.tile)
    assert (counted == 1).all()


class NonLocal(BaseFuser):
    """A mean over the picture that nobody is asked for."""

    def fuse(self, first, second):
        return FuserOutput(first - second.mean((2, 3), keepdim=True), {})


def test_blended_tiles_leave_no_seam():
    """Jumps of what tiles change, where one begins or ceases to count, in gray levels; tiles side by side jump
    farther.
    """
    fuser = NonLocal().eval()
    assert fuser.reach_at(150, 200) is None and fuser.held_reach() == (0, None)
    first, second = pair(fuser, 400, 500)
    with torch.no_grad():
        whole = fuser(first, second).fused

        def jump():
            difference = (fuser(first, second).fused - whole) * 255
            cutting = plan_cut(fuser, first)
            jumps = []
            for dim, axis in zip((2, 3), (cutting.rows, cutting.columns)):
                for start, weight in zip(axis.starts, axis.weights):
                    counted = start + weight.nonzero().flatten()
                    for line in {int(counted[0]), int(counted[-1]) + 1} - {0, first.shape[dim]}:
                        jumps.append(difference.diff(dim=dim).select(dim, line - 1).abs().max().item())
            return max(jumps)

        fuser.set_tile((256, 256))
        assert plan_cut(fuser, first).number >= 6
        assert jump() < 1
        fuser.tiling = Tiling((256, 256), 0)
        assert jump() > 3


def test_unstated_fusers_are_probed():
    class Odd(BaseFuser):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 1, 7, padding=9, dilation=3)

        def fuse(self, first, second):
            return FuserOutput(self.conv(torch.cat([first, second], dim=1)).relu(), {})

    class Mean(Odd):
        def fuse(self, first, second):
            return FuserOutput(first - second.mean((2, 3), keepdim=True), {})

    assert Odd().reach_at(100, 100) == 9 and Mean().reach_at(100, 100) is None
    fuser = Odd().eval()
    fuser.set_tile((40, 50))
    first, second = pair(fuser, 70, 120)
    with torch.no_grad():
        tiled = fuser(first, second).fused
        fuser.set_tile(None)
        torch.testing.assert_close(tiled, fuser(first, second).fused, atol=1e-6, rtol=0)


def test_sizes_that_sage_enlarges_by_other_ratios_are_blended():
    fuser = build('SAGE', FINITE['SAGE'])
    assert fuser.reach_at(200, 204) == 37 and fuser.reach_at(200, 203) is None


def test_steps_over_the_whole_image_stay_outside_of_tiles():
    for name, options in (('LRRNet', dict(width=2, blocks=1, stretch_sources=True)), ('ReFusion', dict(stretch=True))):
        fuser = build(name, {**(SUMS[name][0] if name in SUMS else {}), **options})
        first, second = (0.2 + 0.5 * image for image in pair(fuser, 150, 170))
        with torch.no_grad():
            whole = fuser(first, second).fused
            fuser.set_tile((96, 96))
            tiled = fuser(first, second).fused
        if name == 'LRRNet':
            torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)
        else:
            assert tiled.min() == 0 and tiled.max() == 1


def test_maps_of_guidance_are_cut_too():
    fuser = build('MoEFusion', SMALL_MOE)
    first, second = pair(fuser, 150, 150)
    attention = torch.zeros(1, 2, 5, 5)
    attention[..., :2] = 1
    fuser.set_tile((96, 96))
    with torch.no_grad():
        small, large = (
            fuser(first, second, attention=maps).fused
            for maps in (attention, F.interpolate(attention, (150, 150), mode='bilinear', align_corners=True))
        )
        torch.testing.assert_close(small, large, atol=1e-5, rtol=0)
        assert not torch.allclose(small, fuser(first, second).fused, atol=1e-4)


def test_batches_and_training():
    fuser = build('SeAFusion', FINITE['SeAFusion'])
    fuser.set_tile((48, 64))
    first, second = pair(fuser, 70, 90, number=2)
    with torch.no_grad():
        both = fuser(first, second).fused
        torch.testing.assert_close(both[1:], fuser(first[1:], second[1:]).fused, atol=1e-6, rtol=0)
        assert plan_cut(fuser.train(), first) is None


def test_auto_follows_memory(monkeypatch):
    fuser = build('AverageFuser', {})
    first, second = pair(fuser, 700, 800)
    fuser.set_tile('auto')
    assert plan_cut(fuser, first) is None
    fixed, of_pixel = fuser.memory_need(first)
    monkeypatch.setattr(tiling, 'available_memory', lambda device: int((fixed + 300 * 300 * of_pixel) * 3))
    cutting = plan_cut(fuser, first)
    assert cutting.rows.weights.shape[1] == cutting.columns.weights.shape[1] == 256
    monkeypatch.setattr(tiling, 'available_memory', lambda device: 0)  # a smallest tile is taken whatever there is
    assert plan_cut(fuser, first).rows.weights.shape[1] == 128


def test_memory_is_measured():
    assert available_memory() > 2**20
    assert peak_tensor_bytes(lambda: [torch.zeros(2**10) for _ in range(3)]) == 3 * 2**12
    fuser = build('DenseFuse', dict(width=4))
    first, second = pair(fuser, 128, 160)
    fixed, of_pixel = fuser.memory_need(first)
    with torch.no_grad():
        found = peak_tensor_bytes(lambda: fuser.fuse(first, second))
    assert fixed + of_pixel * 128 * 160 == pytest.approx(found, rel=0.1)


@pytest.mark.parametrize(
    'size, tile, margin, multiple', [(100, 40, 7, 1), (101, 40, 7, 8), (64, 63, 3, 4), (300, 70, 20, 8)]
)
def test_plans_keep_margins_and_multiples(size, tile, margin, multiple):
    axis = plan_axis(size, tile, 2 * margin + 1, margin, multiple)
    length = axis.weights.shape[1]
    total = torch.zeros(size)
    for start, weight in zip(axis.starts, axis.weights):
        total[start : start + length] += weight
        assert start % multiple == 0
        assert start == 0 or not weight[:margin].any()
        assert start + length == size or not weight[length - margin :].any()
    torch.testing.assert_close(total, torch.ones(size))
    assert tile - multiple < length <= tile and axis.starts[-1] + length == size


@pytest.mark.parametrize('tile', ['large', (0, 64), (64,), 64, (64.0, 64.0), True])
def test_wrong_tiles(tile):
    with pytest.raises(UserError, match='tile must be None'):
        build('AverageFuser', {}).set_tile(tile)


def test_too_small_tiles():
    fuser = build('SeAFusion', FINITE['SeAFusion'])
    fuser.set_tile((16, 16))
    with pytest.raises(UserError, match='SeAFusion: tiles of 16x16 pixels are too small; the receptive field'):
        fuser(*pair(fuser, 64, 64))


def test_reachable_from_config_and_inferencer(capsys):
    coupling = FusionOnly(fuser=dict(type='SeAFusion', width=2, tile=[48, 48])).eval()
    assert coupling.fuser.tiling == Tiling((48, 48))
    first, second = ((image[0, 0].numpy() * 255).astype('uint8') for image in pair(coupling.fuser, 70, 90))
    tiled = FusionInferencer(coupling)(first, second)[0].fused
    assert 'tiles: 1 of 6' in capsys.readouterr().err
    coupling.fuser.set_tile(None)
    assert abs(tiled.astype(int) - FusionInferencer(coupling)(first, second)[0].fused).max() <= 1
    assert 'tiles' not in capsys.readouterr().err
    assert FusionInferencer(coupling, tile='auto').coupling.fuser.tiling == Tiling('auto')
    with pytest.raises(UserError, match='tiles are not compiled'):
        FusionInferencer(coupling, compile=True)


def test_exchanged_sources_cut_too():
    network = build('SeAFusion', FINITE['SeAFusion'])
    fuser = ExchangedSources(network).eval()
    fuser.set_tile((48, 48))
    assert network.tiling == Tiling((48, 48))
    first, second = pair(network, 70, 90)
    with torch.no_grad():
        torch.testing.assert_close(fuser(first, second).fused, network(second, first).fused)
