"""The converter, on state dicts made from the list of the official code's keys."""

import importlib.util

import pytest
import recorded
import tiny_models
import torch
from mmengine.config import Config

from mmfusion.models.fusers.moe_fusion.conversion import convert_checkpoint, convert_detector, convert_fusion_head
from mmfusion.registry import MODELS
from mmfusion.utils.errors import UserError


def norm(name, channels):
    return {f'{name}.{key}': (channels,) for key in ('weight', 'bias', 'running_mean', 'running_var')}


def conv(name, in_channels, out_channels, size, bias=True):
    shapes = {f'{name}.weight': (out_channels, in_channels, size, size)}
    return {**shapes, f'{name}.bias': (out_channels,)} if bias else shapes


def official_detector(classes=6, base=64, neck=256, hidden=1024, attention=128):
    """Keys and shapes of both streams, ResNet-50."""
    shapes = conv('fusion_conv', 2 * neck, neck, 1)
    for side, tag in (('r', 'rgb'), ('i', 'tir')):
        backbone = f'backbone_{side}'
        shapes.update(conv(f'{backbone}.conv1', 3, base, 7, bias=False))
        shapes.update(norm(f'{backbone}.bn1', base))
        inner = base
        for stage, blocks in enumerate((3, 4, 6, 3)):
            mid, out = base * 2**stage, base * 2**stage * 4
            for block in range(blocks):
                place = f'{backbone}.layer{stage + 1}.{block}'
                for n, (a, b, size) in enumerate(((inner, mid, 1), (mid, mid, 3), (mid, out, 1)), 1):
                    shapes.update(conv(f'{place}.conv{n}', a, b, size, bias=False))
                    shapes.update(norm(f'{place}.bn{n}', b))
                if block == 0:
                    shapes.update(conv(f'{place}.downsample.0', inner, out, 1, bias=False))
                    shapes.update(norm(f'{place}.downsample.1', out))
                inner = out
            shapes.update(conv(f'neck_{side}.lateral_convs.{stage}.conv', out, neck, 1))
            shapes.update(conv(f'neck_{side}.fpn_convs.{stage}.conv', neck, neck, 3))
        shapes.update(conv(f'rpn_head_{side}.rpn_conv', neck, neck, 3))
        shapes.update(conv(f'rpn_head_{side}.rpn_cls', neck, 3, 1))
        shapes.update(conv(f'rpn_head_{side}.rpn_reg', neck, 12, 1))
        for name, a, b in (
            ('shared_fcs.0', neck * 49, hidden),
            ('shared_fcs.1', hidden, hidden),
            ('fc_cls', hidden, classes + 1),
            ('fc_reg', hidden, 4 * (classes + 1)),
        ):
            shapes.update({f'bbox_head_{side}.{name}.weight': (b, a), f'bbox_head_{side}.{name}.bias': (b,)})
        shapes.update(conv(f'conv_{tag}att1', neck, attention, 1, bias=False))
        shapes.update(norm(f'bn_{tag}att1', attention))
        shapes.update(conv(f'conv_{tag}att2', attention, 1, 1, bias=False))
        shapes.update(norm(f'bn_{tag}att2', 1))
    return shapes


def official_head(local=(120, 160), whole=(60, 80)):
    shapes = {}
    for name, a in (('Conv1', 1), ('DenseConv1', 16), ('DenseConv2', 32), ('DenseConv3', 48)):
        for side in 'ri':
            shapes.update(conv(f'encoder.{name}.conv_{side}', a, 16, 3))
    for name, size in (
        ('encoder.moe_fg', 32 * local[0] * local[1]),
        ('encoder.moe_bg', 32 * local[0] * local[1]),
        ('DecoderMoE', 160 * whole[0] * whole[1]),
    ):
        shapes.update(
            {f'{name}.w_gate': (size, 4), f'{name}.w_noise': (size, 4), f'{name}.mean': (1,), f'{name}.std': (1,)}
        )
        for expert in range(4):
            if name == 'DecoderMoE':
                widths = (160, 64, 32, 16, 1)
                for n in range(4):
                    shapes.update(conv(f'{name}.experts.{expert}.decoder_Conv{n + 2}', widths[n], widths[n + 1], 3))
            else:
                shapes.update(conv(f'{name}.experts.{expert}.conv1', 16, 8, 3))
                shapes.update(conv(f'{name}.experts.{expert}.conv2', 8, 16, 3))
    return shapes


def filled(shapes, device='cpu'):
    return {key: torch.rand(shape, device=device) for key, shape in shapes.items()}


def small_config():
    detector = tiny_models.faster_rcnn()
    detector['backbone'].update(depth=50)
    detector['neck'].update(in_channels=[32, 64, 128, 256])
    guide = dict(type='TwoStreamGuide', detector=detector, in_channels=32, attention_channels=16)
    return Config(dict(fuser=dict(type='MoEFusion', local_grid=(4, 5), global_grid=(2, 3)), guide=guide))


def small_state(classes=2):
    state = filled(official_detector(classes, base=8, neck=32, hidden=32, attention=16))
    state.update({f'fusion_head.{key}': value for key, value in filled(official_head((4, 5), (2, 3))).items()})
    return state


def save(path, state):
    """As mmcv 0.2 did: meta, weights and optimizer in one dict."""
    optimizer = dict(state={0: dict(step=3, exp_avg=torch.zeros(2))}, param_groups=[dict(lr=1e-4, params=[0])])
    meta = dict(mmdet_version='0.6.0', config='...', CLASSES=('People',), epoch=24, iter=9)
    torch.save(dict(meta=meta, state_dict=state, optimizer=optimizer), path)
    return path


def test_published_shapes_fit_the_published_config(repo_dir):
    config = Config.fromfile(repo_dir / 'configs/_base_/fusers/moe_fusion.py')
    with torch.device('meta'):
        fuser, guide = MODELS.build(config.fuser), MODELS.build(config.guide)
    for module, converted in (
        (fuser, convert_fusion_head(filled(official_head(), 'meta'))),
        (guide, convert_detector(filled(official_detector(), 'meta'))),
    ):
        assert {k: tuple(v.shape) for k, v in converted.items()} == {
            k: tuple(v.shape) for k, v in module.state_dict().items()
        }


def test_background_goes_from_first_to_last():
    state = filled(official_detector(3, base=8, neck=8, hidden=4, attention=4))
    converted = convert_detector(state)
    for side, name in (('r', 'first'), ('i', 'second')):
        old_cls, old_reg = state[f'bbox_head_{side}.fc_cls.weight'], state[f'bbox_head_{side}.fc_reg.weight']
        cls, reg = (
            converted[f'{name}.roi_head.bbox_head.fc_cls.weight'],
            converted[f'{name}.roi_head.bbox_head.fc_reg.weight'],
        )
        assert torch.equal(cls[3], old_cls[0])
        for label in range(3):  # official labels count from 1
            assert torch.equal(cls[label], old_cls[label + 1])
            assert torch.equal(reg[4 * label : 4 * label + 4], old_reg[4 * label + 4 : 4 * label + 8])


def test_whole_file_into_a_coupling(tmp_path):
    state = small_state()
    target = tmp_path / 'new' / 'converted.pth'
    convert_checkpoint(
        save(tmp_path / 'official.pth', {f'module.{key}': value for key, value in state.items()}),
        target,
        small_config(),
    )
    assert [path.name for path in target.parent.iterdir()] == ['converted.pth']
    config = small_config()
    config.guide.detector.roi_head.bbox_head.num_classes = 2
    model = MODELS.build(dict(type='FusionOnly', fuser=config.fuser, guide=config.guide))
    model.load_state_dict(torch.load(target, weights_only=True)['state_dict'])
    assert torch.equal(model.guide.first.backbone.layer3[5].conv2.weight, state['backbone_r.layer3.5.conv2.weight'])
    assert torch.equal(model.guide.second.neck.fpn_convs[2].conv.bias, state['neck_i.fpn_convs.2.conv.bias'])
    assert torch.equal(model.guide.attention.second.reduce.weight, state['conv_tiratt1.weight'])
    assert torch.equal(
        model.fuser.global_experts[3][6].weight, state['fusion_head.DecoderMoE.experts.3.decoder_Conv5.weight']
    )
    model.eval()
    with torch.no_grad():
        assert torch.isfinite(
            model.fuse(dict(first=torch.rand(1, 3, 64, 96), second=torch.rand(1, 1, 64, 96))).image
        ).all()


@pytest.mark.parametrize('prefix', ['', 'fusion_head.'])
def test_fusion_head_alone(tmp_path, prefix):
    source = tmp_path / 'head.pth'
    torch.save({prefix + key: value for key, value in filled(official_head((4, 5), (2, 3))).items()}, source)
    converted = convert_checkpoint(source, tmp_path / 'out.pth', small_config())
    assert all(key.startswith('fuser.') for key in converted)


def damage_missing(state):
    del state['fusion_head.encoder.moe_bg.experts.2.conv1.bias'], state['rpn_head_i.rpn_cls.weight']


def damage_unexpected(state):
    state['mask_head_r.conv.weight'] = torch.rand(1)
    state['backbone_r.layer5.0.conv1.weight'] = torch.rand(1)


def damage_shape(state):
    state['fusion_head.DecoderMoE.w_gate'] = torch.rand(12, 4)


@pytest.mark.parametrize(
    'damage, words',
    [
        (
            damage_missing,
            ['fuser: missing background_experts.2.0.bias', 'guide: missing second.rpn_head.rpn_cls.weight'],
        ),
        (damage_unexpected, ['unexpected', 'mask_head_r.conv.weight']),
        (damage_shape, ['global_gate.weight', r'\(12, 4\)', r'\(960, 4\)']),
    ],
)
def test_strict(tmp_path, damage, words):
    state = small_state()
    damage(state)
    source = save(tmp_path / 'official.pth', state)
    with pytest.raises(UserError, match='(?s)' + '.*'.join(['official.pth', *words])):
        convert_checkpoint(source, tmp_path / 'out.pth', small_config())
    assert not (tmp_path / 'out.pth').exists()


def test_unexpected_backbone_layer_and_missing_detector_key(tmp_path):
    state = small_state()
    state['backbone_r.layer5.0.conv1.weight'] = torch.rand(1)
    del state['rpn_head_i.rpn_cls.weight']
    with pytest.raises(
        UserError, match='(?s)missing second.rpn_head.rpn_cls.weight.*unexpected first.backbone.layer5.0.conv1.weight'
    ):
        convert_checkpoint(save(tmp_path / 'official.pth', state), tmp_path / 'out.pth', small_config())


class Pickled:
    """Anything that weights_only refuses."""


def test_code_in_a_checkpoint_is_refused(tmp_path):
    torch.save(dict(state_dict={}, model=Pickled()), tmp_path / 'bad.pth')
    with pytest.raises(UserError, match='bad.pth'):
        convert_checkpoint(tmp_path / 'bad.pth', tmp_path / 'out.pth', small_config())
    with pytest.raises(UserError, match='not found'):
        convert_checkpoint(tmp_path / 'none.pth', tmp_path / 'out.pth', small_config())


def load_tool(repo_dir):
    spec = importlib.util.spec_from_file_location(
        'moe_fusion_official', repo_dir / 'tools/model_converters/moe_fusion_official.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_command(repo_dir, tmp_path, capsys):
    """The original network's weights, for its grids at 64x80."""
    torch.save(recorded.load('moe_fusion')['state_dict'], tmp_path / 'head.pth')
    tool = load_tool(repo_dir)
    arguments = [str(tmp_path / 'head.pth'), str(tmp_path / 'out.pth')]
    tool.main([*arguments, '--cfg-options', 'fuser.local_grid=(16,20)', 'fuser.global_grid=(8,10)'])
    assert 'parts: fuser' in capsys.readouterr().out
    assert len(torch.load(tmp_path / 'out.pth', weights_only=True)['state_dict']) == 86
    with pytest.raises(SystemExit):
        tool.main(arguments)
    assert 'has shape (10240, 4), the config needs (614400, 4)' in capsys.readouterr().err
