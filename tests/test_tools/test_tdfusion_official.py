"""The converter, on state dicts made from the list of the official code's keys."""

import importlib.util
from collections import OrderedDict

import pytest
import torch
from mmengine.config import Config

from mmfusion.apis import FusionInferencer
from mmfusion.models.fusers import ReFusion
from mmfusion.models.fusers.refusion.conversion import convert_checkpoint, convert_fuser, convert_loss_module
from mmfusion.models.losses import LossGenerationModule
from mmfusion.utils.errors import UserError


def block(place, c):
    """Shapes of one block: c channels, feed-forward network twice as wide."""
    shapes = {f'{place}.norm{n}.body.{kind}': (c,) for n in (1, 2) for kind in ('weight', 'bias')}
    shapes[f'{place}.attn.temperature'] = (8, 1, 1)
    layers = dict(
        attn=dict(qkv=(3 * c, c, 1, 1), qkv_dwconv=(3 * c, 1, 3, 3), project_out=(c, c, 1, 1)),
        ffn=dict(project_in=(4 * c, c, 1, 1), dwconv=(4 * c, 1, 3, 3), project_out=(c, 2 * c, 1, 1)),
    )
    return {
        **shapes,
        **{f'{place}.{part}.{name}.weight': shape for part, convs in layers.items() for name, shape in convs.items()},
    }


def encoders(c):
    shapes = {}
    for place, width in (('encoder1', c), ('encoder2', c)):
        for index in range(2):
            shapes.update(block(f'{place}.{index}', width))
    return shapes


def official_fuser(c=16):
    shapes = {**{f'project_in_{i}.weight': (c, 1, 3, 3) for i in (1, 2)}, **encoders(c)}
    convs = {'project_E': (8 * c, 2 * c, 1, 1), 'project_E_d': (8 * c, 1, 3, 3)}
    for i in (1, 2):
        shapes[f'FM.temperature{i}'] = (8, 1, 1)
        convs.update(
            {
                f'qkv{i}': (3 * c, c, 1, 1),
                f'qkv{i}_dwconv': (3 * c, 1, 3, 3),
                f'project_mid{i}': (c, c, 1, 1),
                f'project_E{i}': (4 * c, c, 1, 1),
                f'project_E{i}_d': (4 * c, 1, 3, 3),
                f'project_out{i}': (2 * c, 4 * c, 1, 1),
            }
        )
    shapes.update({f'FM.{name}.weight': shape for name, shape in convs.items()})
    for index in range(2):
        shapes.update(block(f'decoder.{index}', 2 * c))
    return {**shapes, 'project_out_0.weight': (c, 2 * c, 3, 3), 'project_out_1.weight': (1, c, 3, 3)}


def official_loss_module(c=16):
    shapes = {**{f'patch_embed{i}.weight': (c, 1, 3, 3) for i in (1, 2)}, **encoders(c)}
    for index in range(2):
        shapes.update(block(f'encoder3.{index}', 2 * c))
    return {**shapes, 'out1.weight': (c, 2 * c, 3, 3), 'out2.weight': (1,), 'out3.weight': (2, c, 3, 3)}


def filled(shapes, aliases=True):
    """Random weights, every convolution twice as in the official files."""
    state = OrderedDict()
    for key, shape in shapes.items():
        state[key] = torch.rand(shape)
        if aliases and len(shape) == 4:
            state[key.replace('.weight', '.conv.weight')] = state[key]
    return state


def small_config():
    return Config(dict(fuser=dict(type='ReFusion', channels=8)))


def write(path, state):
    torch.save(state, path)
    return path


def test_the_official_numbers_of_entries():
    assert len(filled(official_fuser())) == 140 and len(official_fuser()) == 86
    assert len(filled(official_loss_module())) == 111 and len(official_loss_module()) == 71


@pytest.mark.parametrize('aliases', [True, False])
def test_published_shapes_fit_the_published_networks(aliases):
    ReFusion().load_state_dict(convert_fuser(filled(official_fuser(), aliases)))
    LossGenerationModule().load_state_dict(convert_loss_module(filled(official_loss_module(), aliases)))


WRAPS = dict(
    bare=lambda state: state,
    wrapped=lambda state: dict(state_dict=state),
    parallel=lambda state: {f'module.{key}': value for key, value in state.items()},
)


@pytest.mark.parametrize('wrap', WRAPS.values(), ids=WRAPS)
def test_file(tmp_path, wrap):
    state = filled(official_fuser(8))
    target = tmp_path / 'new' / 'converted.pth'
    weights = convert_checkpoint(write(tmp_path / 'official.pth', wrap(state)), target, small_config())
    assert len(weights) == 86 and [path.name for path in target.parent.iterdir()] == ['converted.pth']
    fuser = FusionInferencer(dict(type='ReFusion', channels=8), target).coupling.fuser
    for ours, official in (
        ('decoder.1.feed_forward.expand', 'decoder.1.ffn.project_in'),
        ('fusion.expand_second', 'FM.project_E2'),
        ('encoder_second.0.attention.qkv_depthwise', 'encoder2.0.attn.qkv_dwconv'),
        ('output', 'project_out_1'),
        ('fusion.output_first', 'FM.project_out1'),
        ('fusion.gate_depthwise', 'FM.project_E_d'),
    ):
        assert torch.equal(fuser.get_submodule(ours).weight, state[f'{official}.weight'])
    assert torch.equal(fuser.encoder_first[1].norm2.bias, state['encoder1.1.norm2.body.bias'])
    assert torch.equal(fuser.fusion.temperature_second, state['FM.temperature2'])


def damage_missing(state):
    del state['FM.qkv2.weight'], state['FM.qkv2.conv.weight']


def damage_unexpected(state):
    state['decoder.0.attn.bias'] = torch.rand(1)


def damage_shape(state):
    state['project_out_0.weight'] = state['project_out_0.conv.weight'] = torch.rand(8, 8, 3, 3)


def damage_alias(state):
    state['decoder.0.ffn.dwconv.conv.weight'] = state['decoder.0.ffn.dwconv.weight'] + 1


@pytest.mark.parametrize(
    'damage, words',
    [
        (damage_missing, 'missing fusion.qkv_second.weight'),
        (damage_unexpected, 'unexpected keys: decoder.0.attn.bias'),
        (damage_shape, r'reduce.weight has shape \(8, 8, 3, 3\), the config needs \(8, 16, 3, 3\)'),
        (damage_alias, 'should repeat another one differ from it: decoder.0.ffn.dwconv.conv.weight'),
    ],
)
def test_strict(tmp_path, damage, words):
    state = filled(official_fuser(8))
    damage(state)
    with pytest.raises(UserError, match=f'(?s)official.pth.*{words}'):
        convert_checkpoint(write(tmp_path / 'official.pth', state), tmp_path / 'out.pth', small_config())
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.parametrize('content', [{}, dict(epoch=3), [torch.rand(1)]], ids=['empty', 'no tensors', 'list'])
def test_not_a_state_dict(tmp_path, content):
    with pytest.raises(UserError, match='is not a checkpoint of TDFusion or ReFusion: expected tensors by name'):
        convert_checkpoint(write(tmp_path / 'official.pth', content), tmp_path / 'out.pth', small_config())


def test_command(repo_dir, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location(
        'tdfusion_official', repo_dir / 'tools/model_converters/tdfusion_official.py'
    )
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    arguments = [str(write(tmp_path / 'official.pth', filled(official_fuser()))), str(tmp_path / 'out.pth')]
    tool.main(arguments)
    shown = capsys.readouterr().out
    assert (
        '86 entries' in shown
        and 'takes the infrared image first and the visible one second' in shown
        and '--config ReFusion' in shown
    )
    content = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert len(content['state_dict']) == 86 and content['meta']['modalities'] == ('infrared', 'visible')
    with pytest.raises(SystemExit):
        tool.main([*arguments, '--cfg-options', 'fuser.channels=8'])
    assert 'has shape (16, 1, 3, 3), the config needs (8, 1, 3, 3)' in capsys.readouterr().err
