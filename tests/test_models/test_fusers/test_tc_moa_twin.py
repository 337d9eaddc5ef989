"""TC-MoA against its literal twin, and the twin against recorded outputs of the original network."""

import math

import pytest
import recorded
import torch
from tc_moa_official import (
    CONFIG,
    TINY,
    TCMoATwin,
    arch_of,
    is_adapter,
    official_shapes,
    options_of,
    parameters_of,
    random_state,
)
from tc_moa_twin import MEAN, STD, dispatch, relative_index, route, twin

from mmfusion.models.fusers import TCMoA
from mmfusion.models.fusers.tc_moa.conversion import convert_official

LARGE = dict(CONFIG, embed_dim=1024, depth=24, num_heads=16)
#: Depths, heads and windows of the base size, narrow.
NARROW = dict(CONFIG, embed_dim=96, decoder_embed_dim=64)
PLAIN = dict(TINY, upsample=False)
SHARP = 6.0  # factor on the router's logits that makes some gates vanish


def fuser_and_state(config=TINY, seed=0, double=True, **options):
    state = random_state(config, seed=seed, shifts=True)
    fuser = TCMoA(arch_of(config), **{**options_of(config), **options})
    fuser.load_state_dict(convert_official(state))
    if double:
        fuser, state = (
            fuser.double(),
            {key: value.double() if value.is_floating_point() else value for key, value in state.items()},
        )
    return fuser, state


def sources(height, width, n=2, dtype=torch.float64):
    draw = torch.Generator().manual_seed(7)
    return torch.rand(2, n, 3, height, width, generator=draw).to(dtype)


@pytest.fixture(scope='module')
def original():
    return recorded.load('tc_moa')


# ---- the twin and the original


def test_twin_reproduces_the_original(original):
    state = {key: value for key, value in original['state_dict'].items() if 'sobelconv' not in key}
    assert {key: tuple(value.shape) for key, value in state.items()} == official_shapes(original['config'])
    for side, prefix in (('enc', ''), ('dec', 'decoder_')):
        state.update(
            {f'{prefix}blocks_MoA.{m}.modal_shifts': shift for m, shift in enumerate(original['modal_shifts'][side])}
        )
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (MEAN, STD))
    assert {case['task'] for case in original['cases']} == {0, 1, 2}
    for case in original['cases']:
        with torch.no_grad():
            out = twin(state, original['config'], case['a'] * std + mean, case['b'] * std + mean, case['task'])
        near = dict(rtol=0, atol=1e-5)
        torch.testing.assert_close(case['raw'].of(out['raw']), case['raw'].values, **near)
        torch.testing.assert_close(out['fused'].clamp(0, 1), case['pred'], **near)
        torch.testing.assert_close(out['prompts'], case['prompts'], **near)
        if 'latent' in case:
            for found, name in zip(out['latents'], ('latent', 'latent_t')):
                torch.testing.assert_close(case[name].of(found), case[name].values, **near)
        assert out['aux'].item() == pytest.approx(case['loss']['aux_loss'], abs=1e-7)
        assert out['prompt'].item() == pytest.approx(case['loss']['prompt_loss'], abs=1e-7)


def test_offsets_inside_windows_are_numbered_as_in_the_original(original):
    assert torch.equal(relative_index(14), original['state_dict']['en_relative_position.0.relative_position_index'])


@pytest.mark.parametrize(
    'config, total, trained, entries',
    [(CONFIG, 115_772_525, 3_865_197, 162), (LARGE, 340_886_920, 11_345_544, 258)],
    ids=['base', 'large'],
)
def test_published_counts(config, total, trained, entries):
    """What the published program counts: 115.77 M and 3.865 M, 340.89 M and 11.346 M."""
    shapes = official_shapes(config)
    sizes = {
        key: math.prod(shape)
        for key, shape in shapes.items()
        if not key.endswith(('position_index', 'MoA.mean', 'MoA.std'))
    }
    assert sum(sizes.values()) == total
    assert sum(size for key, size in sizes.items() if is_adapter(key)) == trained
    assert sum(map(is_adapter, shapes)) == entries


def test_dispatch_is_a_log_sum_exp_over_gates_that_count():
    state = random_state(seed=3)
    phi = torch.randn(300, 12)
    gates, load = route(SHARP * phi @ state['blocks_MoA.0.MoA.w_gate'][0])
    assert ((gates > 0) & (gates <= 1e-4)).any() and load.sum() == 600
    outputs = []
    for e in range(4):
        first, second = (
            [state[f'blocks_MoA.0.MoA.experts.{e}.fc{i}.{kind}'] for kind in ('weight', 'bias')] for i in (1, 2)
        )
        outputs.append((phi @ first[0].T + first[1]).relu() @ second[0].T + second[1])
    logs = torch.where(gates > 1e-4, gates.log(), -math.inf)
    expected = torch.logsumexp(torch.stack(outputs) + logs.T[:, :, None], 0)
    torch.testing.assert_close(dispatch(state, 'blocks_MoA.0.MoA', phi, gates), expected)


# ---- the package and the twin

CASES = {
    'one window': (TINY, (32, 32), 0, {}),
    'many windows': (TINY, (96, 64), 1, {}),
    'wide, positions as published': (TINY, (32, 96), 2, dict(position='published')),
    'no attention across borders': (TINY, (96, 64), 0, dict(mask_shifted=True)),
    'without doubling': (PLAIN, (64, 128), 2, {}),
    'linear mixture': (TINY, (64, 64), 2, dict(combine='linear')),
    'recomputed': (TINY, (64, 64), 1, dict(with_cp=True)),
}


@pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])
@pytest.mark.parametrize('config, size, task, options', CASES.values(), ids=list(CASES))
def test_outputs_and_gradients(config, size, task, options, training):
    """In float64, noise of the routers included: image, prompts, losses, and the gradient of every trained
    parameter.
    """
    fuser, _ = fuser_and_state(config, **options)
    fuser.train(training)
    first, second = sources(*size)
    weight = torch.randn_like(first)
    others = {key: value for key, value in options.items() if key != 'with_cp'}

    torch.manual_seed(5)
    out = fuser(first, second, fusion_task=fuser.fusion_tasks[task])
    sum([(out.fused * weight).mean(), *out.losses.values()]).backward()
    grads = {name: parameter.grad for name, parameter in fuser.named_parameters()}
    fuser.zero_grad()
    torch.manual_seed(5)
    expected = twin(parameters_of(fuser), config, first, second, task, training, **others)
    losses = [expected['prompt'], expected['aux']] if training else []
    sum([(expected['fused'] * weight).mean(), *losses]).backward()

    near = dict(rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(out.fused, expected['fused'], **near)
    assert list(out.losses) == (['loss_prompt', 'loss_balance'] if training else [])
    torch.testing.assert_close(list(out.losses.values()), losses, **near)
    for name, parameter in fuser.named_parameters():
        if name.startswith('mae.'):
            assert grads[name] is None, name
        elif name.endswith('noise_weight') and not training:
            assert grads[name] is None or not grads[name].any(), name
        else:
            torch.testing.assert_close(
                grads[name], parameter.grad, rtol=1e-7, atol=1e-12, msg=lambda text, name=name: f'{name}: {text}'
            )
            assert grads[name].any(), name


@pytest.mark.parametrize('task', range(3))
def test_details(task):
    """Against the checkpoint itself: the way through the conversion and back is not what makes them equal."""
    fuser, state = fuser_and_state()
    first, second = sources(64, 96)
    with torch.no_grad():
        details = fuser.eval().fuse_in_detail(first, second, fuser.fusion_tasks[task], raw=True)
    expected = twin(state, TINY, first, second, task)
    near = dict(rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(details.raw, expected['raw'], **near)
    torch.testing.assert_close(details.latents.flatten(2, 3), torch.stack(expected['latents']), **near)
    prompts = [
        details.prompts.encoder[:, 0],
        details.prompts.encoder[:, 1],
        details.prompts.decoder[:, 0],
        details.prompts.decoder[:, 1],
    ]
    torch.testing.assert_close([prompt.flatten(2).unsqueeze(-1) for prompt in prompts], expected['prompts'], **near)


@pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])
def test_gates_that_vanish(training):
    """Gates up to 1e-4 take no part in the mixture, but count in the balance."""
    fuser, state = fuser_and_state()
    for adapter in (*fuser.encoder.adapters, *fuser.decoder.adapters):
        adapter.mixture.gate.weight.data *= SHARP
    first, second = sources(64, 64)
    with torch.no_grad():
        torch.manual_seed(5)
        out = fuser.train(training)(first, second)
        torch.manual_seed(5)
        expected = twin(parameters_of(fuser), TINY, first, second, 0, training)
    torch.testing.assert_close(out.fused, expected['fused'], rtol=1e-9, atol=1e-11)
    if training:
        torch.testing.assert_close(out.losses['loss_balance'], expected['aux'], rtol=1e-9, atol=0)


def test_depths_heads_and_windows_of_the_base_size_in_float32():
    fuser, state = fuser_and_state(NARROW, double=False)
    first, second = sources(112, 224, n=1, dtype=torch.float32)
    with torch.no_grad():
        fused = fuser.eval()(first, second, fusion_task='multi_focus').fused
        expected = twin(state, NARROW, first, second, 2)['fused']
    torch.testing.assert_close(fused, expected, rtol=0, atol=1e-5)


def test_twin_as_a_fuser():
    """The other side of the timing computes the same for sizes that need padding."""
    fuser, _ = fuser_and_state()
    other = TCMoATwin(arch_of(TINY), **options_of(TINY)).double()
    other.load_state_dict(fuser.state_dict())
    first, second = sources(40, 75, n=1)
    with torch.no_grad():
        found, expected = (
            network.eval()(first, second, fusion_task='multi_exposure').fused for network in (fuser, other)
        )
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
