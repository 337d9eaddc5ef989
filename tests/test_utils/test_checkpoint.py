import collections
import os
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from mmfusion.utils import UserError, load_fusion_checkpoint, safe_load


def network(width=3):
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: state,
        lambda state: dict(state_dict=state, meta=dict(epoch=1)),
        lambda state: dict(
            state_dict=collections.OrderedDict((f'module.{key}', value) for key, value in state.items())
        ),
    ],
)
def test_all_layouts_load(tmp_path, wrap):
    source, target = network(), network()
    torch.save(wrap(source.state_dict()), tmp_path / 'a.pth')
    assert load_fusion_checkpoint(target, tmp_path / 'a.pth') == dict(missing=[], unexpected=[], mismatched=[])
    for key, value in source.state_dict().items():
        assert torch.equal(value, target.state_dict()[key])


def test_what_mmengine_saves_besides_tensors_loads(tmp_path):
    content = dict(
        state_dict=network().state_dict(),
        message_hub=dict(log_scalars=dict(loss=HistoryBuffer([1.0, 2.0], [1, 1]))),
        meta=dict(value=np.float32(1.5), flag=np.bool_(True), counts=np.arange(3), weights=np.ones(2, np.float32)),
    )
    torch.save(content, tmp_path / 'a.pth')
    loaded = safe_load(tmp_path / 'a.pth')
    assert loaded['message_hub']['log_scalars']['loss'].mean() == 1.5
    assert loaded['meta']['value'] == 1.5 and loaded['meta']['counts'].tolist() == [0, 1, 2]


def test_arrays_that_numpy_1_wrote_load(tmp_path):
    torch.save(
        dict(state_dict=network().state_dict(), counts=np.arange(3)),
        tmp_path / 'a.pth',
        _use_new_zipfile_serialization=False,
    )
    content = (tmp_path / 'a.pth').read_bytes()
    assert b'numpy._core.multiarray' in content
    (tmp_path / 'old.pth').write_bytes(content.replace(b'numpy._core.multiarray', b'numpy.core.multiarray'))
    assert safe_load(tmp_path / 'old.pth')['counts'].tolist() == [0, 1, 2]


def test_checkpoint_of_another_model_lists_everything_and_changes_nothing(tmp_path):
    other = nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.Linear(5, 1))
    torch.save(
        dict(state_dict={key: value for key, value in other.state_dict().items() if key != '0.bias'}),
        tmp_path / 'other.pth',
    )
    model = network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_fusion_checkpoint(model, tmp_path / 'other.pth')
    message = str(caught.value)
    for part in (
        'other.pth',
        'another model',
        '1 missing in the checkpoint',
        '0.bias',
        '2 unknown to the model',
        '2.weight',
        '0.weight: checkpoint (5, 2), model (3, 2)',
    ):
        assert part in message, part
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_not_strict_loads_what_fits(tmp_path):
    state = network().state_dict()
    state['0.weight'] = torch.zeros(5, 2)
    del state['0.bias']
    torch.save(state, tmp_path / 'a.pth')
    model = network()
    bias = model[0].bias.clone()
    result = load_fusion_checkpoint(model, tmp_path / 'a.pth', strict=False)
    assert result['missing'] == ['0.bias'] and len(result['mismatched']) == 1 and result['unexpected'] == []
    assert torch.equal(model[0].bias, bias) and torch.equal(model[1].running_var, state['1.running_var'])


def test_wrapped_model(tmp_path):
    torch.save(network().state_dict(), tmp_path / 'a.pth')
    load_fusion_checkpoint(nn.DataParallel(network()), tmp_path / 'a.pth')


class Evil:
    def __reduce__(self):
        return os.mkdir, ('it_ran',)


@pytest.mark.parametrize('legacy', [False, True])
def test_pickled_code_is_refused(tmp_path, monkeypatch, legacy):
    monkeypatch.chdir(tmp_path)
    torch.save(
        dict(state_dict=network().state_dict(), meta=Evil()), 'evil.pth', _use_new_zipfile_serialization=not legacy
    )
    with pytest.raises(UserError, match=r'evil\.pth'):
        safe_load('evil.pth')
    assert not os.path.exists('it_ran')


@pytest.mark.parametrize(
    ('name', 'content', 'match'),
    [
        ('text.pth', b'not a checkpoint', 'not a checkpoint, or it is damaged'),
        (
            'hello.pth',
            b'hello\n',
            'not a checkpoint, or it is damaged',
        ),  # torch's unpickler answers this one with a KeyError
        ('empty.pth', b'', 'not a checkpoint, or it is damaged'),
        ('list.pth', pickle.dumps([1, 2]), 'holds no model weights|not a checkpoint'),
    ],
)
def test_bad_files(tmp_path, name, content, match):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=match):
        load_fusion_checkpoint(network(), tmp_path / name)


def test_truncated_file_missing_file_and_no_weights(tmp_path):
    torch.save(network().state_dict(), tmp_path / 'a.pth')
    (tmp_path / 'half.pth').write_bytes((tmp_path / 'a.pth').read_bytes()[:400])
    with pytest.raises(UserError, match='damaged'):
        safe_load(tmp_path / 'half.pth')
    with pytest.raises(UserError, match=r'checkpoint not found: .*none\.pth'):
        safe_load(tmp_path / 'none.pth')
    torch.save(dict(meta=dict(epoch=1)), tmp_path / 'meta.pth')
    with pytest.raises(UserError, match="holds no model weights.*'meta'"):
        load_fusion_checkpoint(network(), tmp_path / 'meta.pth')
