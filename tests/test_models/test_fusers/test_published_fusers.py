"""Published fusers: equal to recorded numbers of the official programs where these are there, and to a slow twin
everywhere; their converters.
"""

import contextlib
import io

import numpy as np
import pytest
import torch
from mmengine.config import Config
from published_files import OFFICIAL, RECORDED, made_up, read_recording
from published_twins import TWINS
from small_fusers import SMALL

from mmfusion.apis import FusionInferencer
from mmfusion.cli.main import PUBLISHED as COMMANDS
from mmfusion.cli.main import main as mmfusion
from mmfusion.model_zoo import add_model
from mmfusion.models.couplings import FusionOnly
from mmfusion.models.fusers import published, smoa
from mmfusion.models.fusers.published import PUBLISHED, convert_checkpoint, convert_state
from mmfusion.models.layers import local, whole_images
from mmfusion.models.layers.color import luminance, rgb_to_ycbcr
from mmfusion.registry import MODELS
from mmfusion.utils import UserError

METHODS = sorted(OFFICIAL)


def converted(method, state, **arguments):
    """Fuser with official weights, in eval mode."""
    dtype = next(value.dtype for value in state.values() if value.is_floating_point())
    fuser = MODELS.build({**PUBLISHED[method].fuser(state), **arguments}).to(dtype)
    fuser.load_state_dict(convert_state(method, state))
    return fuser.eval()


def in_double(state):
    """Tolerances of twins then measure formulas and not rounding, which a network that counts levels makes large."""
    return {key: value.double() if value.is_floating_point() else value for key, value in state.items()}


def sources(fuser, batch=2, size=(17, 30)):
    return [torch.rand(batch, fuser.channels[-1], *size) for _ in range(2)]


def test_every_method_has_a_command_a_twin_and_keys():
    assert list(COMMANDS) == list(PUBLISHED) and set(TWINS) == set(PUBLISHED) == set(OFFICIAL)
    assert {name: entry.title for name, entry in PUBLISHED.items()} == COMMANDS


def recording(shared_dir, name):
    """What was recorded, and the pairs, visible first, in [0, 1]."""
    path = shared_dir / 'reference' / 'zoo' / f'{name}.pt'
    if not path.is_file():
        pytest.skip(f'{path.name} is not on this machine')
    return read_recording(path)


@pytest.mark.parametrize('name', RECORDED)
def test_recorded_numbers_of_the_official_program(name, shared_dir):
    recorded, pairs = recording(shared_dir, name)
    fuser = converted(RECORDED[name].method, recorded['state_dict'], **RECORDED[name].arguments)
    for pair, output in zip(pairs, recorded['outputs']):
        with torch.no_grad():
            fused = fuser(*pair).fused
        expected = output / RECORDED[name].scale
        agree = torch.isclose(fused, expected, atol=1e-5, rtol=0)
        assert agree.float().mean() >= RECORDED[name].share, (fused - expected).abs().max()
        torch.testing.assert_close(fused, expected, atol=1e-5 if RECORDED[name].share == 1 else 1e-3, rtol=0)


@pytest.mark.parametrize('size', [(16, 16), (17, 30), (45, 16)])
@pytest.mark.parametrize('method', METHODS)
def test_twin(method, size, monkeypatch):
    monkeypatch.setattr(local, 'STRIP_BYTES', 1)  # strips as low as they get
    state = in_double(made_up(method))
    fuser = converted(method, state)
    visible, infrared = (image.double() for image in sources(fuser, size=size))
    with torch.no_grad():
        fused, expected = fuser(visible, infrared).fused, TWINS[method](state, visible, infrared)
    assert expected.std() > 1e-3  # a constant picture would say nothing
    torch.testing.assert_close(fused, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize('method', METHODS)
def test_inference_and_learning_agree(method):
    """In float32, where nothing learns, layers run as one operation that are several elsewhere."""
    fuser = converted(method, made_up(method))
    pair = sources(fuser, batch=1, size=(45, 38))
    with torch.no_grad():
        fused = fuser(*pair).fused
    agree = torch.isclose(fused, fuser(*pair).fused, atol=1e-5, rtol=1e-5)
    assert agree.float().mean() >= RECORDED[method].share


@pytest.mark.parametrize('method', METHODS)
def test_gradients_of_the_twin(method):
    """Every parameter learns, and learns what the formulas say."""
    state = in_double(made_up(method))
    fuser = converted(method, state)
    visible, infrared = (image.double() for image in sources(fuser))
    weights = torch.rand(visible.shape).double()
    (fuser(visible, infrared).fused * weights).sum().backward()
    leaves = {
        key: value.clone().requires_grad_(value.is_floating_point() and 'running_' not in key)
        for key, value in state.items()
    }
    (TWINS[method](leaves, visible, infrared) * weights).sum().backward()
    expected = convert_state(
        method, {key: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for key, leaf in leaves.items()}
    )
    scale = convert_state(method, {key: torch.ones_like(value) for key, value in state.items()})
    for key, parameter in fuser.named_parameters():
        assert parameter.grad.any(), key
        # a weight that conversion multiplied by s has a gradient that is 1 / s times as large
        torch.testing.assert_close(
            parameter.grad,
            expected[key] / scale[key] ** 2,
            atol=1e-4,
            rtol=1e-3,
            msg=lambda text, key=key: f'{key}: {text}',
        )


@pytest.mark.parametrize('method', METHODS)
def test_second_derivatives(method):
    """A step of a meta coupling needs them: what moves the gradient of the fuser."""
    name = PUBLISHED[method].fuser({})['type']
    fuser = MODELS.build(dict(type=name, **SMALL.get(name, {}))).double().train()
    first, second = (image.double() for image in sources(fuser, size=(16, 20)))
    with whole_images():
        gradients = torch.autograd.grad(
            fuser(first, second).fused.square().sum(), list(fuser.parameters()), create_graph=True
        )
    again = torch.autograd.grad(sum(gradient.square().sum() for gradient in gradients), list(fuser.parameters()))
    assert all(torch.isfinite(gradient).all() for gradient in again) and any(gradient.any() for gradient in again)


def files(tmp_path, method, state=None):
    path = tmp_path / f'{method}.official'
    torch.save(made_up(method) if state is None else state, path)
    return str(path), str(tmp_path / f'{method}.pth')


@pytest.mark.parametrize('method', METHODS)
def test_command_and_config(method, tmp_path, capsys):
    """Official file, command, config, picture."""
    state = made_up(method)
    source, target = files(tmp_path, method, state)
    mmfusion(['convert', method, source, target])
    assert f'{PUBLISHED[method].fuser(state)["type"]}(' in capsys.readouterr().out
    content = torch.load(target, weights_only=True)
    assert content['meta']['modalities'] == ('visible', 'infrared') and all(
        key.startswith('fuser.') for key in content['state_dict']
    )
    fuse = FusionInferencer(f'{method}_ivif', target)
    rng = np.random.default_rng(0)
    visible, infrared = (rng.integers(0, 256, (40, 33), dtype=np.uint8) for _ in range(2))
    fused = fuse(visible, infrared)[0].fused
    with torch.no_grad():
        expected = TWINS[method](
            state, *(torch.from_numpy(image / 255).float()[None, None] for image in (visible, infrared))
        )
    assert fused.std() > 0 and np.abs(fused[..., 0] - (expected[0, 0].clamp(0, 1) * 255).numpy()).max() < 0.501
    alone = FusionInferencer(PUBLISHED[method].fuser(state), target)(visible, infrared)[0].fused
    assert np.array_equal(fused[..., 0], alone)  # a config reads the visible image in color


OFFICIAL_WEIGHTS = dict(
    densefuse='densefuse_ivif',
    densefuse_rgb='densefuse_ivif_rgb',
    ifcnn='ifcnn_ivif',
    seafusion='seafusion_ivif',
    tardal='tardal_ivif_batch_statistics',
    tardalplusplus='tardal_ivif',
    sage='sage_ivif',
    lrrnet=dict(type='LRRNet', stretch_sources=True, stretch=True),
    didfuse='didfuse_ivif',
    lesefuse='lesefuse_ivif',
    smoa='smoa_ivif',
    gifnet='gifnet_ivif',
)


@pytest.mark.parametrize('name', OFFICIAL_WEIGHTS)
def test_official_weights(name, shared_dir, tmp_path):
    """With the weights of its authors a fuser makes a picture of two real ones that resembles both."""
    path = shared_dir / 'weights' / f'{name}.pth'
    if not path.is_file():
        pytest.skip(f'{path.name} is not on this machine')
    convert_checkpoint(RECORDED[name].method, path, tmp_path / 'converted.pth')
    fuse = FusionInferencer(OFFICIAL_WEIGHTS[name], tmp_path / 'converted.pth')
    visible = np.tile(np.linspace(20, 200, 64).astype(np.uint8), (48, 1))
    infrared = np.full((48, 64), 40, np.uint8)
    infrared[16:32, 24:40] = 230
    fused = fuse(visible, infrared)[0].fused.astype(float).reshape(48, 64, -1).mean(-1)
    assert np.corrcoef(fused[4:12, 4:-4].ravel(), visible[4:12, 4:-4].ravel())[0, 1] > 0.7
    assert fused[18:30, 26:38].mean() > fused[[8, 40], 26:38].mean() + 20


@pytest.mark.parametrize('method', METHODS)
def test_weights_become_a_model_that_goes_by_name(method, tmp_path, monkeypatch):
    monkeypatch.setenv('MMFUSION_MODELS', str(tmp_path / 'models'))
    source, target = files(tmp_path, method)
    card = add_model(source, method, 'unknown, not to be passed on', name='official')
    convert_checkpoint(method, source, target)
    image = np.random.default_rng(0).integers(0, 256, (24, 32), dtype=np.uint8)
    fused = FusionInferencer('official')(image, image[::-1].copy())[0].fused
    assert card.sources == ('visible', 'infrared')
    assert np.array_equal(
        fused, FusionInferencer(PUBLISHED[method].fuser({}), target)(image, image[::-1].copy())[0].fused
    )


# Files that are
# wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('method', METHODS)
def test_renamed_missing_and_other_shapes(method, tmp_path):
    state = made_up(method)
    key, value = next((key, value) for key, value in state.items() if value.dim() == 4)
    others = {name: entry for name, entry in state.items() if name != key}
    for wrong, words in (
        (
            {**others, 'renamed.weight': value},
            f'not part of {PUBLISHED[method].title}, unexpected keys: renamed.weight',
        ),
        (others, 'does not fit the config:\n  missing'),
        ({**state, key: torch.cat([value, value])}, r'has shape \(\d+.*the config needs'),
    ):
        source, target = files(tmp_path, method, wrong)
        with pytest.raises(UserError, match=f'(?s){method}.official.*{words}'):
            convert_checkpoint(method, source, target)
    assert [path.name for path in tmp_path.iterdir()] == [f'{method}.official']


@pytest.mark.parametrize('method', METHODS)
def test_file_that_is_cut_short(method, tmp_path):
    source, target = files(tmp_path, method)
    with open(source, 'r+b') as file:
        file.truncate(2000)
    with pytest.raises(UserError, match=f'{method}.official'):
        convert_checkpoint(method, source, target)


@pytest.mark.parametrize('method', METHODS)
def test_weights_of_another_method_are_named(method, tmp_path, monkeypatch):
    toy = published.PublishedMethod('Toy', [(r'a\.(\w+)', r'stem.0.\1')], lambda state: dict(type='DenseFuse'))
    monkeypatch.setitem(PUBLISHED, 'toy', toy)
    source, target = files(tmp_path, method)
    with pytest.raises(
        UserError, match=f'these are weights of {PUBLISHED[method].title}, not of Toy; use `mmfusion convert {method}`'
    ):
        convert_checkpoint('toy', source, target)


def test_another_width_is_an_argument(tmp_path):
    small = {
        key: value[: value.shape[0] // 2 or 1, : value.shape[1] // 2 or 1]
        if value.dim() == 4
        else value[: len(value) // 2 or 1]
        for key, value in made_up('densefuse').items()
    }
    source, target = files(tmp_path, 'densefuse', small)
    with pytest.raises(UserError, match=r'those of another width or variant.*--cfg-options'):
        convert_checkpoint('densefuse', source, target)
    mmfusion(['convert', 'densefuse', source, target, '--cfg-options', 'fuser.width=8'])
    fuser = FusionInferencer(dict(type='DenseFuse', width=8), target).coupling.fuser
    assert torch.equal(fuser.decoder[2][0].weight, small['conv4.conv2d.weight'])


def test_config_of_a_training_names_the_fuser(tmp_path):
    source, target = files(tmp_path, 'densefuse')
    mmfusion(['convert', 'densefuse', source, target, '--config', 'densefuse_msrs_det'])
    with pytest.raises(UserError, match='has neither'):
        convert_checkpoint('densefuse', source, target, Config(dict(model=dict(type='FusionOnly'))))


def test_networks_in_files_of_their_own(tmp_path):
    state = made_up('didfuse')
    for part in ('encoder', 'decoder'):
        torch.save(
            dict(weight={key[8:]: value for key, value in state.items() if key.startswith(part)}, epoch=9),
            tmp_path / f'{part}.pkl',
        )
    mmfusion(['convert', 'didfuse', *(str(tmp_path / name) for name in ('encoder.pkl', 'decoder.pkl', 'target.pth'))])
    written, expected = (
        torch.load(tmp_path / 'target.pth', weights_only=True)['state_dict'],
        convert_state('didfuse', state),
    )
    assert {key: value.tolist() for key, value in written.items()} == {
        f'fuser.{key}': value.tolist() for key, value in expected.items()
    }
    for method, number, words in (
        ('didfuse', 3, r'from one file or from 2, encoder. decoder.; got 3'),
        ('densefuse', 2, 'from one file; got 2'),
    ):
        with pytest.raises(UserError, match=words):
            convert_checkpoint(method, number * [tmp_path / 'encoder.pkl'], tmp_path / 'other.pth')


def test_the_program_needs_a_name(capsys):
    from mmfusion.cli.convert_published import main

    for arguments, words in (
        (['file.pth', 'out.pth'], 'give the name of a method first, one of densefuse'),
        (['--help'], 'usage'),
    ):
        with pytest.raises(SystemExit), contextlib.redirect_stdout(io.StringIO()) as shown:
            main(arguments)
        assert words in shown.getvalue() + capsys.readouterr().err


# DenseFuse --------------------------------------------------------------------------------------------------------------


def test_densefuse_arguments():
    rgb = MODELS.build(dict(type='DenseFuse', in_channels=3))
    assert rgb.color_space == 'rgb' and rgb(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)).fused.shape == (
        1,
        3,
        16,
        16,
    )
    for wrong in dict(in_channels=2), dict(width=0), dict(postprocess=('blur',)):
        with pytest.raises(ValueError, match='must be|takes steps'):
            MODELS.build(dict(type='DenseFuse', **wrong))


def test_densefuse_begins_alive():
    """A last ReLU that begins below zero would never learn."""
    for seed in range(5):
        torch.manual_seed(seed)
        fuser = MODELS.build(dict(type='DenseFuse'))
        assert (fuser(torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32)).fused > 0).all()


# LRRNet and
# DIDFuse -----------------------------------------------------------------------------------------------------


def test_lrrnet_stretches_its_sources():
    plain, stretched = (
        MODELS.build(dict(type='LRRNet', width=4, stretch_sources=flag)).eval() for flag in (False, True)
    )
    stretched.load_state_dict(plain.state_dict())
    first, second = torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16)
    for image in first, second:
        image[:, :, 0, 0], image[:, :, 0, 1] = 0, 1
    torch.testing.assert_close(stretched(first, second).fused, plain(first, second).fused, atol=1e-6, rtol=0)
    torch.testing.assert_close(
        stretched(0.2 + first / 2, second / 3).fused, plain(first, second).fused, atol=1e-5, rtol=0
    )


def test_lrrnet_stretches_its_luminance_before_the_color_is_put_back():
    """Each picture by itself, in eval mode alone; the color of the sources stays as strong as it was."""
    plain, stretched = (FusionOnly(fuser=dict(type='LRRNet', width=4, stretch=flag)) for flag in (False, True))
    stretched.load_state_dict(plain.state_dict())
    inputs = dict(first=torch.rand(2, 3, 16, 16) * 0.1 + 0.45, second=torch.rand(2, 1, 16, 16))
    with torch.no_grad():
        assert torch.equal(plain.train().fuse(inputs).fused, stretched.train().fuse(inputs).fused)
        raw, fusion = plain.eval().fuse(inputs).fused, stretched.eval().fuse(inputs)
    for before, after in zip(raw, fusion.fused):
        torch.testing.assert_close(after, (before - before.min()) / (before.max() - before.min()), atol=1e-6, rtol=0)
    inside = ((fusion.fused > 0.2) & (fusion.fused < 0.8)).expand(-1, 2, -1, -1)  # nothing is clamped there
    chroma = rgb_to_ycbcr(fusion.image)[:, 1:], rgb_to_ycbcr(inputs['first'])[:, 1:]
    torch.testing.assert_close(chroma[0][inside], chroma[1][inside], atol=1e-5, rtol=0)


def test_weights_that_decayed_to_nothing_are_zero():
    """Arithmetic with subnormal numbers is slow."""
    state = made_up('lrrnet')
    official = state['get_ls1.lrrblock0.conv_Wdz.conv2d.weight']
    official[0, :9] = 1e-39
    weight = convert_state('lrrnet', state)['infrared.reconstruct.0.weight']
    assert not weight[0, :9].any() and torch.equal(weight[0, 9:], official[0, 9:])


@pytest.mark.parametrize(
    'arguments',
    [
        dict(type='LRRNet', width=0),
        dict(type='LRRNet', blocks=0),
        dict(type='DIDFuse', width=0),
        dict(type='LeSeFuse', width=3),
        dict(type='SMoA', width=0),
        dict(type='GIFNet', width=1),
    ],
)
def test_arguments_out_of_range(arguments):
    with pytest.raises(ValueError, match='at least 1|an even number'):
        MODELS.build(arguments)


# IFCNN ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('fusion', ['max', 'mean', 'sum'])
def test_ifcnn_fuses_luminance_as_three_equal_channels(fusion):
    luma, rgb = (
        MODELS.build(dict(type='IFCNN', fusion=fusion, color_space=space)).eval() for space in ('luminance', 'rgb')
    )
    rgb.load_state_dict(luma.state_dict())
    first, second = torch.rand(2, 1, 20, 24), torch.rand(2, 1, 20, 24)
    with torch.no_grad():
        colored = rgb(first.expand(-1, 3, -1, -1), second.expand(-1, 3, -1, -1)).fused
        torch.testing.assert_close(luma(first, second).fused, luminance(colored), atol=1e-6, rtol=1e-5)


def test_ifcnn_fusions_differ_and_a_sum_is_twice_a_mean():
    features = [torch.rand(1, 2, 3, 3) for _ in range(2)]
    fused = {
        fusion: MODELS.build(dict(type='IFCNN', fusion=fusion))._fuse(*features) for fusion in ('max', 'mean', 'sum')
    }
    assert torch.equal(fused['sum'], 2 * fused['mean']) and (fused['max'] >= fused['mean']).all()
    for wrong in dict(fusion='min'), dict(color_space='hsv'), dict(width=0):
        with pytest.raises(ValueError, match='must be'):
            MODELS.build(dict(type='IFCNN', **wrong))


# TarDAL -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['tardal', 'tardalplusplus'])
def test_tardal_with_the_statistics_of_the_batch(name, shared_dir):
    """As recorded: a batch in training mode, and every picture by itself with the option."""
    recorded, pairs = recording(shared_dir, name)
    fuser = converted('tardal', recorded['state_dict'], batch_statistics=True)
    for pair, output in zip(pairs, recorded['outputs_batch_statistics']):
        with torch.no_grad():
            torch.testing.assert_close(fuser.train()(*pair).fused, output, atol=1e-5, rtol=0)
    fuser = converted('tardal', recorded['state_dict'], batch_statistics=True)
    with torch.no_grad():
        torch.testing.assert_close(fuser(*pairs[0]).fused, recorded['outputs_batch_statistics'][0], atol=1e-5, rtol=0)


def test_tardal_normalizes_every_picture_by_itself():
    state = made_up('tardal')
    fuser = converted('tardal', state, batch_statistics=True)
    first, second = torch.rand(3, 1, 20, 24), torch.rand(3, 1, 20, 24)
    with torch.no_grad():
        together = fuser(first, second).fused
        for n in range(3):
            fresh = converted('tardal', state).train()  # its running statistics would change
            torch.testing.assert_close(
                together[n : n + 1], fresh(first[n : n + 1], second[n : n + 1]).fused, atol=1e-5, rtol=1e-4
            )
    assert all(
        torch.equal(value, fuser.state_dict()[key]) for key, value in converted('tardal', state).state_dict().items()
    )


def test_tardal_of_the_second_version_lies_under_a_key(tmp_path):
    state = made_up('tardal')
    source, target = files(tmp_path, 'tardal', dict(fuse=state, disc_t={'conv.weight': torch.rand(1)}, use_eval=False))
    weights, _ = convert_checkpoint('tardal', source, target)
    assert torch.equal(weights['fuser.stem.0.conv.weight'], state['encoder.0.weight'])


def test_smoa_levels():
    """Cut towards zero; what is outside has a place of its own, and so has everything where the largest feature is
    zero.
    """
    levels = smoa._levels(
        torch.tensor([-3.0, -1.01 / 255, -0.99 / 255, 0.0, 0.5, 254.9 / 255, 1.0, 2.0]), torch.tensor(1.0)
    )
    assert levels.tolist() == [0, 0, 1, 1, 128, 255, 256, 257]
    assert smoa._levels(torch.tensor([-1.0, 0.0]), torch.tensor(0.0)).tolist() == [0, 0]
    table, largest = smoa._saliency(torch.tensor([[-1.0, 0.0, 1.0, 1.0]]))
    assert largest == 1 and table.shape == (258,) and table[0] == table[-1] == 0
    assert table[1] == 1 and table[256] == 0.5  # twice as far from two values as from one
