"""MAE weights for the frozen part of TCMoA, from files made up in their layout."""

import pytest
import torch
from mmengine.logging import MMLogger
from tc_moa_official import CONFIG, TINY, TINY_FUSER, WRAPS, Evil, is_adapter, official_shapes, random_state, write

from mmfusion.models.fusers.tc_moa import mae_weights
from mmfusion.models.fusers.tc_moa.mae_weights import check_arch, load_mae, resize_table
from mmfusion.models.fusers.tc_moa.vit import ARCHS
from mmfusion.registry import MODELS
from mmfusion.utils.errors import UserError


def tiny(**options):
    return MODELS.build(dict(TINY_FUSER, **options))


def mae_state(grid=14):
    state = {key: value for key, value in random_state(TINY, grid).items() if not is_adapter(key)}
    return {**state, 'mask_token': torch.rand(1, 1, TINY['decoder_embed_dim'])}


@pytest.fixture
def notices(monkeypatch):
    """What is warned of."""
    texts = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'warning', lambda text: texts.append(text))
    return texts


@pytest.mark.parametrize('wrap', WRAPS.values(), ids=list(WRAPS))
def test_every_frozen_weight_is_that_of_the_file(tmp_path, wrap):
    state, fuser = mae_state(), tiny()
    trained = {key: value.clone() for key, value in fuser.state_dict().items() if not key.startswith('mae.')}
    load_mae(fuser.mae, write(tmp_path / 'mae.pth', wrap(state)))
    del state['mask_token']
    assert fuser.mae.state_dict().keys() == state.keys()
    for key, value in fuser.mae.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert all(torch.equal(fuser.state_dict()[key], value) for key, value in trained.items())
    assert not any(parameter.requires_grad for parameter in fuser.mae.parameters())


def test_initialisation_loads_the_file(tmp_path, notices):
    """The coupling's init_weights, which the runner calls, reaches it."""
    state = mae_state()
    path = write(tmp_path / 'mae.pth', dict(model=state))
    coupling = MODELS.build(
        dict(
            type='FusionOnly',
            fuser=dict(TINY_FUSER, mae=str(path)),
            fusion_loss=dict(pixel=dict(type='MaxIntensityLoss')),
        )
    )
    coupling.init_weights()
    assert torch.equal(coupling.fuser.mae.blocks[3].attn.qkv.weight, state['blocks.3.attn.qkv.weight'])
    assert torch.equal(coupling.fuser.mae.decoder_pos_embed, state['decoder_pos_embed'])
    assert not notices
    with torch.no_grad():
        coupling.fuser.mae.norm.bias.add_(1)
    coupling.fuser.init_weights()  # once is enough
    assert torch.equal(coupling.fuser.mae.norm.bias, state['norm.bias'] + 1)
    with pytest.raises(UserError, match='not found.*nowhere.pth'):
        tiny(mae=str(tmp_path / 'nowhere.pth')).init_weights()


def test_random_frozen_weights_are_warned_of_once(notices):
    mae_weights.warn_of_random_weights.cache_clear()
    tiny(freeze=False).init_weights()
    assert not notices
    for _ in range(2):
        tiny().init_weights()
    assert len(notices) == 1 and 'suits tests alone' in notices[0] and 'mae_visualize_vit_base.pth' in notices[0]


def test_position_tables_of_another_grid(tmp_path):
    """Bilinear to half the size is the mean of 2 x 2 neighbors; the class token's row stays."""
    state, fuser = mae_state(grid=28), tiny()
    load_mae(fuser.mae, write(tmp_path / 'mae.pth', dict(model=state)))
    for name in ('pos_embed', 'decoder_pos_embed'):
        table = state[name]
        means = table[0, 1:].reshape(14, 2, 14, 2, -1).mean((1, 3)).flatten(0, 1)
        torch.testing.assert_close(getattr(fuser.mae, name)[0], torch.cat([table[0, :1], means]))
    table = torch.rand(1, 197, 8)
    assert resize_table(table, 14) is table
    with pytest.raises(UserError, match='class token and a square grid'):
        resize_table(table[:, 1:], 7)


def without_decoder(state):
    for key in [key for key in state if key.startswith('decoder_')]:
        del state[key]


def deeper(state):
    for key in [key for key in state if key.startswith('blocks.5.')]:
        state[key.replace('blocks.5.', 'blocks.6.')] = state[key]


MAE_DAMAGES = {
    'missing norm.bias': lambda state: state.pop('norm.bias'),
    'unexpected head.weight': lambda state: state.update({'head.weight': torch.rand(10, 48)}),
    r'blocks.2.norm1.bias has shape \(47,\), the config needs \(48,\)': lambda state: state.update(
        {'blocks.2.norm1.bias': torch.rand(47)}
    ),
    'encoder alone.*mae_visualize_vit': without_decoder,
    r'no arch known by name \(embed_dim=48.*depth=7.*but the fuser is no arch known by name': deeper,
    'not one of a class token': lambda state: state.update(pos_embed=torch.rand(1, 151, 48)),
}


@pytest.mark.parametrize('words', MAE_DAMAGES)
def test_mae_files_that_do_not_fit(tmp_path, words):
    state, fuser = mae_state(), tiny()
    before = {key: value.clone() for key, value in fuser.state_dict().items()}
    MAE_DAMAGES[words](state)
    with pytest.raises(UserError, match=f'(?s)mae.pth.*{words}'):
        load_mae(fuser.mae, write(tmp_path / 'mae.pth', dict(model=state)))
    assert all(torch.equal(value, before[key]) for key, value in fuser.state_dict().items())


def test_the_arch_of_a_file_is_named():
    with torch.device('meta'):
        base = {key: torch.empty(shape) for key, shape in official_shapes(CONFIG).items()}
    check_arch(base, ARCHS['base'])
    with pytest.raises(UserError, match="of arch 'base', but the fuser is arch 'large'; set its `arch`"):
        check_arch(base, ARCHS['large'])


@pytest.mark.parametrize(
    'content, words',
    [
        (dict(model=Evil()), 'could run code'),
        ([1], 'is not a MAE checkpoint'),
        (dict(model={}), 'is not a MAE checkpoint'),
        (dict(epoch=3), 'is not a MAE checkpoint'),
    ],
    ids=['code', 'list', 'empty', 'other'],
)
def test_what_is_no_mae_file(tmp_path, content, words):
    with pytest.raises(UserError, match=words):
        load_mae(tiny().mae, write(tmp_path / 'mae.pth', content))
