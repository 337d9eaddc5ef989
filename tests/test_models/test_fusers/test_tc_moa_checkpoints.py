"""Checkpoints of the official TC-MoA code, of its present and its old layout, from files made up."""

import importlib.util
import re

import pytest
import recorded
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from tc_moa_official import (
    CONFIG,
    TINY,
    TINY_FUSER,
    WRAPS,
    Evil,
    arch_of,
    official_shapes,
    random_state,
    to_official,
    write,
)
from tc_moa_twin import twin

from mmfusion.cli import convert_tc_moa
from mmfusion.models.fusers import TCMoA
from mmfusion.models.fusers.tc_moa.conversion import convert_checkpoint, convert_official
from mmfusion.registry import MODELS
from mmfusion.utils.conversion import misfits
from mmfusion.utils.errors import UserError
from mmfusion.utils.shipped import shipped_config


def tiny(**options):
    return MODELS.build(dict(TINY_FUSER, **options))


@pytest.fixture
def notices(monkeypatch):
    """What is warned of."""
    texts = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'warning', lambda text: texts.append(text))
    return texts


def old_layout(state):
    """Names that the published program gave its parts first."""
    renamed = {}
    for key, value in state.items():
        if 'blocks_MoA' in key:
            key = (
                key.replace('blocks_MoA', 'blocks_SSF_rgb')
                .replace('.MoA.', '.mlp.')
                .replace('dimReduction', 'SE_en_linear')
            )
            key = key.replace('modal_shifts', 'SSF_beta')
        key = re.sub('^FusionLayer', 'en_projAdapter', key)
        renamed[re.sub('^de_FusionLayer', 'de_projAdapter', key)] = value
    return renamed


def converted(tmp_path, content, **options):
    out = tmp_path / 'new' / 'out.pth'
    weights = convert_checkpoint(
        write(tmp_path / 'official.pth', content), out, Config(dict(fuser=dict(TINY_FUSER, **options)))
    )
    saved = torch.load(out, weights_only=True)
    assert saved['meta'] == dict(converted_from='official.pth') and saved['state_dict'].keys() == weights.keys()
    return {key.removeprefix('fuser.'): value for key, value in saved['state_dict'].items()}


@pytest.mark.parametrize('layout', [dict, old_layout], ids=['present', 'old'])
@pytest.mark.parametrize('wrap', WRAPS.values(), ids=list(WRAPS))
def test_conversion(tmp_path, notices, layout, wrap):
    """Place by place, then by what the network computes."""
    state = random_state(shifts=True)
    constants = {
        'MaxGradLoss.sobelconv.weightx': torch.rand(1, 3, 3, 3),
        'MFFselect.sobelconv.weighty': torch.rand(1, 1, 3, 3),
    }
    fuser = tiny().eval()
    fuser.load_state_dict(converted(tmp_path, wrap(layout({**state, **constants}))), strict=True)
    assert not notices
    adapter, place = fuser.encoder.adapters[1], 'blocks_MoA.1'
    assert torch.equal(adapter.mix, state['Alpha_encoder'][1])
    assert torch.equal(adapter.source_shift[2, 1], state[f'{place}.modal_shifts'][5])
    assert torch.equal(adapter.mixture.gate.noise_weight, state[f'{place}.MoA.w_noise'])
    assert torch.equal(adapter.mixture.norm_in.bias, state[f'{place}.norm1.bias'])
    assert torch.equal(adapter.mixture.experts.weight[3], state[f'{place}.MoA.experts.3.fc2.weight'].t())
    assert torch.equal(adapter.fusion.expand.weight, state['FusionLayer.1.conv3.weight'][:, :, 0, 0])
    assert torch.equal(fuser.decoder.biases[1].table, state['de_relative_position.1.relative_position_bias_table'])
    assert torch.equal(
        fuser.decoder.adapters[0].mixture.reduce.weight, state['decoder_blocks_MoA.0.dimReduction.weight']
    )
    assert torch.equal(fuser.decoder.adapters[0].fusion.conv.weight, state['de_FusionLayer.0.conv2.weight'])
    assert torch.equal(
        fuser.mae.blocks[5].mlp.fc1.weight, state['blocks.5.mlp.fc1.weight']
    )  # not taken for an adapter of the old layout
    first, second = torch.rand(2, 1, 3, 32, 64)
    with torch.no_grad():
        found, expected = (
            fuser(first, second, fusion_task='multi_focus').fused,
            twin(state, TINY, first, second, 2)['fused'],
        )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_there_and_back():
    state = random_state(shifts=True)
    constants = ('position_index', 'MoA.mean', 'MoA.std')
    back = to_official(convert_official(state))
    assert back.keys() == {key for key in state if not key.endswith(constants)}
    for key, value in back.items():
        assert torch.equal(value, state[key]), key
    weights = tiny().state_dict()
    again = convert_official(to_official(weights))
    assert again.keys() == weights.keys() and all(torch.equal(again[key], weights[key]) for key in weights)
    with pytest.raises(UserError, match='encoder.adapters.0.mixture.gate.extra, head.weight'):
        to_official({**weights, 'head.weight': torch.rand(1), 'encoder.adapters.0.mixture.gate.extra': torch.rand(1)})


@pytest.mark.parametrize(
    'arch, total, trained, shifts',
    [('base', 115_772_525, 3_865_197, 19_968), ('large', 340_886_920, 11_345_544, 43_008)],
)
def test_published_sizes(notices, arch, total, trained, shifts):
    """Names and shapes of whole checkpoints; the counts are those of the published program and the source shifts, which
    it does not register.
    """
    with torch.device('meta'):
        fuser = TCMoA(arch)
        sizes = fuser.arch._asdict()
        state = {key: torch.empty(shape) for key, shape in official_shapes({**CONFIG, **sizes}).items()}
        assert not misfits(convert_official(state), fuser)
    assert sum(parameter.numel() for parameter in fuser.parameters()) == total + shifts
    assert sum(parameter.numel() for parameter in fuser.parameters() if parameter.requires_grad) == trained + shifts


def test_missing_source_shifts_are_zero_and_the_log_says_so(notices):
    state = random_state(shifts=True)
    weights = convert_official({key: value for key, value in state.items() if 'modal_shifts' not in key})
    assert {key: tuple(value.shape) for key, value in weights.items() if 'source_shift' in key} == {
        'encoder.adapters.0.source_shift': (3, 2, 48),
        'encoder.adapters.1.source_shift': (3, 2, 48),
        'decoder.adapters.0.source_shift': (3, 2, 32),
    }
    assert not any(value.any() for key, value in weights.items() if 'source_shift' in key)
    assert len(notices) == 1 and 'no source shifts for 3 of 3 adapters' in notices[0]


SHIFTS = {
    'rows': lambda key, rows: {key: rows},
    'by task': lambda key, rows: {key: rows.reshape(3, 2, -1)},
    'vectors': lambda key, rows: {f'{key}.{i}': row for i, row in enumerate(rows)},
    'pairs': lambda key, rows: {f'{key}.{i}': rows[2 * i : 2 * i + 2, None] for i in range(3)},
}


@pytest.mark.parametrize('layout', [dict, old_layout], ids=['present', 'old'])
@pytest.mark.parametrize('form', SHIFTS.values(), ids=list(SHIFTS))
def test_forms_of_source_shifts(notices, layout, form):
    state = random_state(shifts=True)
    expected = convert_official(state)
    for key in [key for key in state if key.endswith('modal_shifts')]:
        state.update(form(key, state.pop(key)))
    weights = convert_official(layout(state))
    assert weights.keys() == expected.keys() and all(torch.equal(weights[key], expected[key]) for key in weights)
    assert not notices


DAMAGES = {
    'missing encoder.adapters.0.mix': lambda state: state.pop('Alpha_encoder'),
    'missing mae.norm.bias': lambda state: state.pop('norm.bias'),
    'missing decoder.biases.1.table': lambda state: state.pop('de_relative_position.1.relative_position_bias_table'),
    'missing encoder.adapters.1.mixture.experts.weight.*unexpected encoder.adapters.1.mixture.experts.0.fc1.weight': lambda state: (
        state.pop('blocks_MoA.1.MoA.experts.2.fc2.bias')
    ),
    r'encoder.adapters.0.fusion.conv.weight has shape \(12, 12, 1, 1\), the config needs \(12, 12, 3, 3\)': lambda state: (
        state.update({'FusionLayer.0.conv2.weight': torch.rand(12, 12, 1, 1)})
    ),
    'unexpected keys: blocks_MoA.0.MoA.extra, head.bias': lambda state: state.update(
        {'head.bias': torch.rand(1), 'blocks_MoA.0.MoA.extra': torch.rand(1)}
    ),
    r'source shifts of encoder.adapters.0 have shape \(4, 48\), which is not two vectors of 48 numbers '
    r'for each of 3 tasks': lambda state: state.update({'blocks_MoA.0.modal_shifts': torch.rand(4, 48)}),
}


@pytest.mark.parametrize('words', DAMAGES)
def test_strict(tmp_path, words):
    state = random_state(shifts=True)
    DAMAGES[words](state)
    with pytest.raises(UserError, match=f'(?s)official.pth.*{words}'):
        converted(tmp_path, dict(model=state))
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize(
    'config, options, words',
    [
        (dict(TINY, embed_dim=96), {}, 'the weights are of no arch known by name .embed_dim=96'),
        (dict(TINY, task_num=2), {}, r'mixture.gate.weight has shape \(2, 12, 4\), the config needs \(3, 12, 4\)'),
        (
            TINY,
            dict(window=7, upsample=False),
            r'encoder.biases.0.table has shape \(49, 6\), the config needs \(169, 6\)',
        ),
        (TINY, dict(interval=2, offset=0), 'missing encoder.adapters.2.mix'),
    ],
    ids=['arch', 'tasks', 'window', 'places'],
)
def test_configs_that_do_not_fit(tmp_path, config, options, words):
    with pytest.raises(UserError, match=f'(?s)official.pth.*{words}'):
        converted(tmp_path, dict(model=random_state(config)), **options)


def test_not_a_checkpoint_of_tc_moa(tmp_path):
    with pytest.raises(UserError, match='is not a TC-MoA checkpoint'):
        converted(tmp_path, dict(model=dict(epoch=1)))
    with pytest.raises(UserError, match='could run code'):
        converted(tmp_path, dict(model=Evil()))


def test_recorded_keys():
    """The original's own keys load strictly."""
    original = recorded.load('tc_moa')
    TCMoA(arch_of(original['config'])).load_state_dict(convert_official(original['state_dict']), strict=True)


def test_command(repo_dir, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location(
        'tc_moa_official_tool', repo_dir / 'tools/model_converters/tc_moa_official.py'
    )
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for arch, name in convert_tc_moa.CONFIGS.items():
        assert Config.fromfile(shipped_config(f'{convert_tc_moa.FUSERS}/{name}.py')).fuser.arch == arch
    source, out = write(tmp_path / 'checkpoint-19.pth', dict(model=random_state())), tmp_path / 'out.pth'
    config = tmp_path / 'config.py'
    config.write_text(f'fuser = {TINY_FUSER!r}\n')
    tool.main(['base', str(source), str(out), '--config', str(config)])
    assert f'out.pth: {len(tiny().state_dict())} entries' in capsys.readouterr().out and out.is_file()
    with pytest.raises(SystemExit):
        tool.main(['base', str(source), str(tmp_path / 'out2.pth')])
    assert "but the fuser is arch 'base'" in capsys.readouterr().err
