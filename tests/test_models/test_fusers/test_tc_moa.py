"""TC-MoA: the recorded original, sizes and tiles, what learns, control at inference, and the ways to compute it that
must agree.
"""

import copy

import pytest
import recorded
import torch
import torch.nn.functional as F
from small_fusers import SMALL
from torch.func import functional_call

from mmfusion.models.fusers import TCMoA
from mmfusion.models.fusers.tc_moa.conversion import convert_official
from mmfusion.models.fusers.tc_moa.details import prompt_loss
from mmfusion.models.fusers.tc_moa.vit import ARCHS, MaskedAutoencoder
from mmfusion.models.fusers.tc_moa.windows import WindowLayout
from mmfusion.models.layers import balance_loss, whole_images
from mmfusion.models.layers.tiles import blend, cut, plan_axis, reflect_to


def small(**options):
    """Multiples of 16 pixels, 4 x 4 tokens in a window; routers that decide."""
    torch.manual_seed(1)
    fuser = TCMoA(**{**SMALL['TCMoA'], **options})
    with torch.no_grad():
        for name, parameter in fuser.named_parameters():
            if 'gate' in name or name.endswith('table'):
                parameter.normal_(0, 0.5)
            elif 'experts' in name:
                parameter.mul_(3)
    return fuser


def pair(height=33, width=47, number=2):
    return torch.rand(2, number, 3, height, width)


def smooth(height, width):
    y, x = torch.meshgrid(torch.arange(height) / 60, torch.arange(width) / 60, indexing='ij')
    return torch.stack(
        [torch.stack([(x + k + y * 0.7).sin(), (y - k).cos(), (x * 0.5 + y + k).sin()]) * 0.3 + 0.5 for k in range(2)]
    ).unsqueeze(1)


def trained(fuser):
    return {name: parameter for name, parameter in fuser.named_parameters() if parameter.requires_grad}


# The recorded original ------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def original():
    reference = recorded.load('tc_moa')
    sizes = {name: value for name, value in reference['config'].items() if name in ARCHS['base']._fields}
    fuser = TCMoA(arch=sizes).eval()
    shifts = {
        f'{blocks}.{m}.modal_shifts': value
        for part, blocks in (('enc', 'blocks_MoA'), ('dec', 'decoder_blocks_MoA'))
        for m, value in enumerate(reference['modal_shifts'][part])
    }
    fuser.load_state_dict(convert_official({**reference['state_dict'], **shifts}))
    return fuser, reference['cases']


@pytest.mark.parametrize('index', range(5))
def test_reference_vectors(original, index):
    """Float32 over two dozen layers: a few 1e-6 on numbers up to 3.9."""
    fuser, case = original[0], original[1][index]
    sources = [case[name] * fuser.std + fuser.mean for name in 'ab']
    task = fuser.fusion_tasks[case['task']]
    decisions, hooks = [], []
    for module in fuser.modules():
        if type(module).__name__ == 'TaskGate':
            hooks.append(module.register_forward_hook(lambda gate, args, out: decisions.append(out)))
    with torch.no_grad():
        found = fuser.fuse_in_detail(*sources, fusion_task=task, raw=True)
        [hook.remove() for hook in hooks]
        fused = fuser(*sources, fusion_task=task).fused
    torch.testing.assert_close(case['raw'].of(found.raw), case['raw'].values, atol=1e-5, rtol=0)
    torch.testing.assert_close(fused.clamp(0, 1), case['pred'], atol=2e-6, rtol=0)
    torch.testing.assert_close(fused, found.fused, atol=1e-6, rtol=0)  # four of four pixels decoded, or one
    prompts = torch.cat(
        [
            found.prompts.encoder[:, 0],
            found.prompts.encoder[:, 1],
            found.prompts.decoder[:, 0],
            found.prompts.decoder[:, 1],
        ]
    )
    torch.testing.assert_close(
        prompts.flatten(2), torch.cat([part.squeeze(-1) for part in case['prompts']]), atol=1e-6, rtol=0
    )
    for stream, name in zip(found.latents, ('latent', 'latent_t')):
        if name in case:
            torch.testing.assert_close(case[name].of(stream.flatten(1, 2)), case[name].values, atol=1e-5, rtol=0)
    assert prompt_loss(found.prompts).item() == pytest.approx(case['loss']['prompt_loss'], rel=1e-5)
    assert 1e-3 * sum(balance_loss(decision) for decision in decisions).item() == pytest.approx(
        case['loss']['aux_loss'], rel=1e-5
    )


def test_positions_of_another_size():
    """A table that rises with the column alone stays so in a map that is not square; the published exchange of sides
    spoils it.
    """
    network = MaskedAutoencoder(ARCHS['tiny'])
    ramp = torch.arange(14.0).expand(14, 14).reshape(1, 196, 1)
    table = F.pad(ramp, (0, 0, 1, 0), value=99.0)
    found = network.positions(table, 14, 28)[0, :, :, 0]
    torch.testing.assert_close(found, ((torch.arange(28) + 0.5) / 2 - 0.5).clamp(0, 13).expand(14, 28))
    published = network.positions(table, 14, 28, published=True)[0, :, :, 0]
    assert (published - found).abs().max() > 6  # in units of the grid
    assert torch.equal(network.positions(table, 20, 20), network.positions(table, 20, 20, published=True))


# Windows --------------------------------------------------------------------------------------------------------------


def test_windows_of_the_map_and_of_the_rolled_map():
    x = torch.rand(2, 8, 12, 3)
    layout = WindowLayout(8, 12, 4)
    tokens = layout.to_windows(x)
    assert torch.equal(layout.to_map(tokens), x)
    for image, windows in ((x, tokens), (x.roll((-2, -2), (1, 2)), layout.rolled.apply(tokens))):
        expected = [image[n, i : i + 4, j : j + 4].reshape(16, 3) for n in range(2) for i in (0, 4) for j in (0, 4, 8)]
        assert torch.equal(windows.reshape(-1, 16, 3), torch.stack(expected))
    assert torch.equal(layout.rolled.undo(layout.rolled.apply(tokens)), tokens)


def test_order_and_its_derivatives():
    layout = WindowLayout(4, 6, 2)
    x = torch.rand(1, 24, 2, dtype=torch.double, requires_grad=True)
    for order in (layout.windows, layout.rolled):
        assert torch.autograd.gradcheck(lambda v, order=order: order.apply(v).square(), x)
        assert torch.autograd.gradgradcheck(lambda v, order=order: order.undo(v).pow(3), x)


def test_mask_keeps_opposite_borders_apart():
    """A change at the right border reaches the left one through the first rolled block, unless masked."""

    def reach(mask_shifted):
        fuser = small(mask_shifted=mask_shifted, window=4).eval()
        x = torch.rand(2, 64, 32)
        layout = WindowLayout(8, 8, 4)
        changed = layout.to_map(x).clone()
        changed[:, :, -1] = torch.rand(2, 8, 32)
        block, bias = fuser.mae.blocks[1], fuser.encoder.biases[0]()
        bias = bias + layout.mask() if mask_shifted else bias
        with torch.no_grad():
            before, after = (
                layout.to_map(block(tokens, bias, layout.rolled)) for tokens in (x, layout.to_windows(changed))
            )
        return (before - after)[:, :, 0].abs().max().item()

    assert reach(False) > 1e-5 and reach(True) == 0
    first, second = pair(64, 64)
    with torch.no_grad():
        assert not torch.equal(
            small(mask_shifted=True).eval()(first, second).fused, small().eval()(first, second).fused
        )


# Sizes and tiles ------------------------------------------------------------------------------------------------------


def test_reflection():
    image = torch.rand(2, 3, 20, 17)
    assert torch.equal(reflect_to(image, 32, 32), F.pad(image, (0, 15, 0, 12), mode='reflect'))
    assert torch.equal(reflect_to(image, 20, 17), image)
    assert reflect_to(image, 112, 112).shape == (2, 3, 112, 112)  # more than one reflection
    assert torch.equal(reflect_to(image, 112, 112)[..., :20, 32:49], image)


@pytest.mark.parametrize(
    'size, tile, overlap',
    [(70, 32, 16), (33, 32, 16), (100, 32, 5), (449, 448, 112), (640, 448, 112), (65, 32, 0), (20, 32, 8)],
)
def test_shares_of_tiles_sum_to_one(size, tile, overlap):
    axis = plan_axis(size, tile, overlap)
    total = torch.zeros(size)
    for start, weight in zip(axis.starts, axis.weights):
        total[start : start + len(weight)] += weight
    torch.testing.assert_close(total, torch.ones(size))
    assert axis.starts[0] == 0 and axis.starts[-1] + axis.weights.shape[1] == size
    assert all(before + tile - after >= overlap for before, after in zip(axis.starts, axis.starts[1:]))
    if overlap and len(axis.starts) > 1:  # smooth: the steepest part of the ramp, for three tiles in one place
        assert axis.weights.diff(dim=1).abs().max() < 4 / overlap
        assert all(weight[0] < 0.1 for weight in axis.weights[1:]) and all(
            weight[-1] < 0.1 for weight in axis.weights[:-1]
        )


def test_cut_and_blend():
    image = torch.rand(2, 3, 50, 70)
    for overlap in (0, 16):
        rows, columns = plan_axis(50, 32, overlap), plan_axis(70, 32, overlap)
        torch.testing.assert_close(blend(cut(image, rows, columns), rows, columns, (50, 70)), image)


def test_published_tiles_overwrite():
    """Without overlap the last tile ends with the image, and later tiles replace earlier ones."""
    fuser = small(large_images='tile', overlap=0).eval()
    first, second = pair(40, 75, number=2)
    expected = torch.zeros_like(first)
    with torch.no_grad():
        for y in (0, 8):
            for x in (0, 32, 43):
                here = (..., slice(y, y + 32), slice(x, x + 32))
                expected[here] = fuser(first[here], second[here]).fused
        torch.testing.assert_close(fuser(first, second).fused, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize('tile_batch', [1, 100])
def test_tiles_at_once_make_no_difference(tile_batch):
    first, second = pair(60, 40)
    with torch.no_grad():
        torch.testing.assert_close(
            small(large_images='tile', tile_batch=tile_batch).eval()(first, second).fused,
            small(large_images='tile').eval()(first, second).fused,
            atol=1e-6,
            rtol=0,
        )


def test_small_images_are_not_cut_and_training_never_cuts():
    fuser, whole = small(large_images='tile'), small()
    with torch.no_grad():
        first, second = pair(32, 20)
        assert torch.equal(fuser.eval()(first, second).fused, whole.eval()(first, second).fused)
        first, second = pair(64, 48)
        assert not torch.equal(fuser(first, second).fused, whole(first, second).fused)
        results = []
        for model in (fuser, whole):
            torch.manual_seed(0)
            results.append(model.train()(first, second))
        assert torch.equal(results[0].fused, results[1].fused) and results[0].losses


def seam(overlap):
    """Mean jump of brightness where tiles begin or end, over that four and eight pixels beside it, between other
    windows of attention.
    """
    # every token is one pixel, so that no step between patches hides the seam
    fuser = small(
        arch=dict(SMALL['TCMoA']['arch'], patch_size=2), large_images='tile', overlap=overlap, tile_batch=16
    ).eval()
    with torch.no_grad():
        fused = fuser(*smooth(96, 96)).fused
    starts = plan_axis(96, 32, overlap).starts
    borders = {*starts, *(start + 32 for start in starts)} - {0, 96}

    def jump(x):
        return sum((fused.select(axis, x) - fused.select(axis, x - 1)).abs().mean().item() for axis in (2, 3))

    return sum(jump(x) for x in borders) / sum(jump(x + beside) / 4 for x in borders for beside in (-8, -4, 4, 8))


def test_seams():
    """Tiles side by side, as published, jump at their borders (2.8 times as far as beside them); overlapping tiles do
    not (0.7 and 0.8).
    """
    assert seam(0) > 2
    assert seam(8) < 1.2 and seam(16) < 1.2


# What learns ----------------------------------------------------------------------------------------------------------


def test_only_adapters_learn():
    fuser = small()
    before = copy.deepcopy(fuser.state_dict())
    assert not fuser.mae.training and fuser.training and fuser.encoder.training
    optimizer = torch.optim.AdamW(fuser.parameters(), lr=1e-2, weight_decay=0.1)
    out = fuser(*pair(), fusion_task='multi_exposure')
    (out.fused.square().mean() + sum(out.losses.values())).backward()
    optimizer.step()
    moved = {name for name, value in fuser.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == set(trained(fuser)) and not any(name.startswith('mae.') for name in moved)
    gate = fuser.encoder.adapters[0].mixture.gate.weight.grad
    assert gate[1].any() and not gate[0].any() and not gate[2].any()  # the router of this task alone has a gradient


def test_everything_learns_where_nothing_is_frozen():
    fuser = small(freeze=False).train()
    assert fuser.mae.training
    out = fuser(*pair())
    (out.fused.square().mean() + sum(out.losses.values())).backward()
    assert [name for name, parameter in fuser.named_parameters() if parameter.grad is None] == ['mae.cls_token']


def test_losses_by_task_and_epoch():
    fuser, sources = small(prompt_weights=dict(multi_exposure=1.8), balance_weight=2e-3), pair()

    def losses(epoch, task):
        fuser.set_epoch(epoch)
        torch.manual_seed(0)
        found = fuser(*sources, fusion_task=task).losses
        assert set(found) == {'loss_prompt', 'loss_balance'}
        return found['loss_prompt'].item(), found['loss_balance'].item()

    for task, weight in (('visible_infrared', 1), ('multi_exposure', 1.8), ('multi_focus', 1)):
        start, main = losses(1, task), losses(3, task)
        assert main[0] == pytest.approx(weight * start[0], rel=1e-5) and main[1] == pytest.approx(
            start[1] / 2, rel=1e-5
        )
    torch.manual_seed(0)
    details = fuser.fuse_in_detail(*sources, fusion_task='multi_focus')
    parts = [(part[:, 0] + part[:, 1] - 1).square().mean() for part in details.prompts]
    assert losses(0, 'multi_focus') == pytest.approx(
        [(0.75 * parts[0] + 0.25 * parts[1]).item(), 2e-3 * details.balance.item()], rel=1e-5
    )


def test_a_bias_learns_before_the_first_adapter():
    """Its place in the encoder is the reason why no block runs entirely without gradient."""
    fuser = small()
    fuser(*pair()).fused.square().mean().backward()
    assert fuser.encoder.biases[0].table.grad.any()


# Tasks and control ----------------------------------------------------------------------------------------------------


def test_tasks_and_sources_are_told_apart():
    fuser, (first, second) = small().eval(), pair()
    with torch.no_grad():
        results = [fuser(first, second, fusion_task=task).fused for task in fuser.fusion_tasks]
        assert torch.equal(fuser(first, second).fused, results[0]) and not torch.equal(
            fuser(second, first).fused, results[0]
        )
        assert torch.equal(small(fusion_task='multi_focus').eval()(first, second).fused, results[2])
    assert all((results[i] - results[j]).abs().max() > 1e-5 for i, j in ((0, 1), (0, 2), (1, 2)))


def test_control():
    fuser, (first, second) = small().eval(), pair()
    second.requires_grad_()
    plain = fuser(first, second).fused
    assert torch.equal(fuser(first, second, scale=1.0, shift=0.0).fused, plain)
    assert torch.equal(
        small(scale=0.5, shift=0.1).eval()(first, second).fused, fuser(first, second, scale=0.5, shift=0.1).fused
    )

    def influence(**control):
        return torch.autograd.grad(fuser(first, second, **control).fused.square().sum(), second)[0].abs().sum().item()

    assert influence(shift=1.0) == 0  # the first source alone counts
    assert 0 < influence(shift=0.3) < influence() < influence(shift=-0.3)
    assert (fuser(first, second, scale=4.0).fused - plain).abs().max() > 1e-6


def test_control_is_for_inference():
    """Training learns the prompts as they are, whatever the config says for later."""
    sources, results = pair(), []
    for options in ({}, dict(scale=2.0, shift=0.4)):
        fuser = small(**options).train()
        torch.manual_seed(0)
        results.append(fuser(*sources).fused)
    assert torch.equal(*results)
    with torch.no_grad():
        assert not torch.equal(fuser.eval()(*sources).fused, small().eval()(*sources).fused)
    for options in (dict(shift='high'), dict(scale=float('nan')), dict(shift=[0.1])):
        with pytest.raises(ValueError, match=f'{next(iter(options))} must be a finite number'):
            fuser(*sources, **options)


def test_control_moves_the_prompts():
    """The mean stays where only the scale changes, and shifts go to both sides."""
    from mmfusion.models.fusers.tc_moa.adapters import Control

    prompts = 0.4 + 0.2 * torch.rand(2, 3, 50, 1)
    scaled = Control(scale=1.5).apply(prompts)
    torch.testing.assert_close(scaled.mean(2), prompts.mean(2))
    torch.testing.assert_close(scaled.std(2), 1.5 * prompts.std(2))
    torch.testing.assert_close(Control(shift=0.1).apply(prompts), prompts + torch.tensor([0.1, -0.1]).view(2, 1, 1, 1))
    assert Control().apply(prompts) is prompts
    assert Control(scale=99.0).apply(prompts).aminmax() == (0, 1)


# Ways to compute the same ---------------------------------------------------------------------------------------------


def test_inference_in_parts_is_the_same():
    """32 windows, eight at a time without gradient."""
    fuser, sources = small().eval(), pair(64, 64)
    with torch.no_grad():
        parts = fuser(*sources).fused
    torch.testing.assert_close(parts, fuser(*sources).fused.detach(), atol=2e-6, rtol=0)


def gradients(fuser, sources, state=None, second_order=False):
    torch.manual_seed(0)
    out = fuser(*sources) if state is None else functional_call(fuser, state, tuple(sources))
    parameters = list(trained(fuser).values()) if state is None else list(state.values())
    loss = out.fused.square().mean() + sum(out.losses.values())
    grads = torch.autograd.grad(loss, parameters, create_graph=second_order)
    return torch.autograd.grad(sum(grad.square().sum() for grad in grads), parameters) if second_order else grads


@pytest.mark.parametrize('second_order', [False, True])
def test_checkpointing(second_order):
    """Computing features again changes nothing, in the first derivative and in the second."""
    sources = pair().double()
    found = [gradients(small(with_cp=with_cp).double(), sources, None, second_order) for with_cp in (False, True)]
    for plain, again in zip(*found):
        torch.testing.assert_close(plain, again, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize('freeze', [False, True])
@pytest.mark.parametrize('with_cp', [False, True])
def test_parameters_from_outside(with_cp, freeze):
    """As the meta coupling does it: the backward pass must not fall back to the parameters of the module."""
    sources, fuser = pair().double(), small(with_cp=with_cp, freeze=freeze).double()
    fuser.mae.cls_token.requires_grad_(False)  # takes part in nothing
    other = {
        name: (value.detach() + 0.1 * torch.randn_like(value)).requires_grad_()
        for name, value in trained(fuser).items()
    }
    found = gradients(fuser, sources, other)
    moved = small(with_cp=False, freeze=freeze).double()
    moved.mae.cls_token.requires_grad_(False)
    moved.load_state_dict(other, strict=False)
    for one, two in zip(found, gradients(moved, sources)):
        torch.testing.assert_close(one, two, atol=1e-12, rtol=1e-9)


def test_attention_for_second_derivatives_is_the_same():
    fuser, sources = small().eval(), pair()
    with torch.no_grad():
        fused = fuser(*sources).fused
        with whole_images():
            torch.testing.assert_close(fuser(*sources).fused, fused, atol=2e-6, rtol=0)


def test_copies_share_nothing():
    fuser, sources = small().eval(), pair()
    other = copy.deepcopy(fuser)
    with torch.no_grad():
        before = fuser(*sources).fused
        other.encoder.adapters[0].mix.fill_(0)
        assert torch.equal(fuser(*sources).fused, before) and not torch.equal(other(*sources).fused, before)


def test_adapters_stay_in_float32_under_autocast():
    fuser, seen = small(), {}

    def watch(name):
        def hook(module, args, out):
            seen[name] = getattr(out, 'streams', out).dtype

        return hook

    for name, module in fuser.named_modules():
        if name.endswith(('adapters.0', 'fusion.conv', 'mlp.fc1', 'attn.qkv')):
            module.register_forward_hook(watch(name))
    with torch.autocast('cpu', torch.bfloat16):
        fuser(*pair())
    assert {dtype for name, dtype in seen.items() if name.startswith('mae')} == {torch.bfloat16}
    assert {dtype for name, dtype in seen.items() if not name.startswith('mae')} == {torch.float32}


def test_output_modes():
    sources = pair(32, 32)
    with torch.no_grad():
        found = {
            mode: small(output=mode).eval().fuse_in_detail(*sources, raw=True)
            for mode in ('nearest', 'area', 'bilinear')
        }
    fuser = small()
    raw = found['area'].raw * fuser.std + fuser.mean
    torch.testing.assert_close(found['nearest'].fused, raw[..., ::2, ::2])
    torch.testing.assert_close(found['area'].fused, F.avg_pool2d(raw, 2))
    assert found['bilinear'].fused.shape == sources[0].shape and not torch.equal(
        found['bilinear'].fused, found['area'].fused
    )
    with torch.no_grad():
        assert small(upsample=False, tile=32).eval()(*sources).fused.shape == sources[0].shape
        clipped = small(clip=True).eval()(*sources).fused
    assert torch.equal(clipped, found['nearest'].fused.clamp(0, 1))


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'options, words',
    [
        (dict(arch='huge'), 'tiny, base, large'),
        (dict(arch=dict(embed_dim=32)), 'missing'),
        (dict(arch=dict(width=32)), 'embed_dim, depth'),
        (
            dict(arch=dict(embed_dim=36, depth=4, num_heads=2, decoder_embed_dim=32, decoder_num_heads=2)),
            'multiple of 8',
        ),
        (dict(fusion_task='other'), 'other'),
        (dict(fusion_tasks=()), 'not among'),
        (dict(fusion_tasks='multi_focus'), 'list of different names'),
        (dict(fusion_tasks=('far', 'far')), 'list of different names'),
        (dict(interval=0), 'interval must be at least 1'),
        (dict(prompt_weights=dict(other=1)), 'other'),
        (dict(combine='sum'), 'logsumexp, linear'),
        (dict(position='best'), 'corrected, published'),
        (dict(output='cubic'), 'nearest'),
        (dict(large_images='crop'), 'pad, tile'),
        (dict(tile=40), 'multiple of 16'),
        (dict(overlap=17), 'at most half'),
        (dict(window=1), 'window'),
        (dict(interval=9, offset=0), 'without an adapter'),
        (dict(top_k=5), 'top_k'),
    ],
)
def test_bad_options(options, words):
    with pytest.raises(ValueError, match=words):
        small(**options)


def test_unknown_task():
    with pytest.raises(ValueError, match="'multi_exposure', 'multi_focus'.*got 'denoising'"):
        small()(*pair(), fusion_task='denoising')
