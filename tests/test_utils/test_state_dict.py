"""Weights in files of other programs: found wherever they stand, and compared with those of a network."""

import argparse
import collections

import pytest
import torch
from torch import nn

from mmfusion.utils import UserError
from mmfusion.utils.conversion import check_converted, misfits, read_official, rename
from mmfusion.utils.state_dict import MAX_LISTED, STATE_KEYS, compare, state_dict_of

WHAT = 'a checkpoint of Example'


def state():
    return nn.Linear(3, 2).state_dict()


LAYOUTS = {
    'bare': lambda weights: weights,
    **{key: lambda weights, key=key: {key: weights, 'epoch': 3} for key in STATE_KEYS},
    'one in the other': lambda weights: dict(model=dict(state_dict=weights), optimizer=dict(state={})),
    'parallel': lambda weights: {f'module.{key}': value for key, value in weights.items()},
    'compiled in parallel': lambda weights: dict(
        params=collections.OrderedDict((f'module._orig_mod.{key}', value) for key, value in weights.items())
    ),
    'with options': lambda weights: dict(model=weights, args=argparse.Namespace(lr=0.1, name='x')),
}


@pytest.mark.parametrize('layout', LAYOUTS.values(), ids=list(LAYOUTS))
def test_weights_are_found_where_programs_put_them(tmp_path, layout):
    weights = state()
    torch.save(layout(weights), tmp_path / 'official.pth')
    found = read_official(tmp_path / 'official.pth', WHAT)
    assert list(found) == ['weight', 'bias'] and all(torch.equal(found[key], weights[key]) for key in found)


def test_a_network_whose_layers_carry_those_names_keeps_them(tmp_path):
    weights = {'module.weight': torch.rand(1), 'model': torch.rand(2), 'params': torch.rand(3)}
    torch.save(weights, tmp_path / 'official.pth')
    assert set(read_official(tmp_path / 'official.pth', WHAT)) == set(weights)


def test_the_first_key_is_preferred_and_others_are_left():
    first, second = state(), state()
    content = dict(generator=first, discriminator=second)
    assert state_dict_of(content, 'gan.pth', ('discriminator', 'generator'))['weight'] is second['weight']
    with pytest.raises(
        UserError,
        match=r'gan.pth is not a fuser: expected tensors by name.*\"fuser\" \(net\), '
        r"found a dict with \['discriminator',",
    ):
        state_dict_of(content, 'gan.pth', ('fuser', 'net'), 'a fuser')


class Code:
    def __reduce__(self):
        return print, ('it ran',)


def cut_short(path):
    torch.save(dict(state_dict={str(n): torch.rand(100) for n in range(20)}), path)
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    ('write', 'words'),
    [
        (lambda path: path.write_text('<html>Not Found</html>'), 'is not a checkpoint, or it is damaged'),
        (cut_short, 'is not a checkpoint, or it is damaged'),
        (
            lambda path: torch.save(dict(state_dict=Code()), path),
            'holds pickled objects that could run code, so it is not loaded',
        ),
        (
            lambda path: torch.save(nn.Linear(1, 1), path),
            'holds pickled objects that could run code, so it is not loaded',
        ),
        (
            lambda path: torch.save(dict(epoch=3), path),
            "is not a checkpoint of Example: expected tensors by name.*found a dict with .'epoch'.$",
        ),
        (lambda path: torch.save(dict(state_dict={}), path), 'is not a checkpoint of Example'),
        (lambda path: torch.save(dict(state_dict=dict(weight=[1.0, 2.0])), path), 'is not a checkpoint of Example'),
        (lambda path: torch.save([torch.rand(1)], path), 'is not a checkpoint of Example.*found list$'),
        (lambda path: None, 'checkpoint not found'),
    ],
    ids=['web page', 'cut short', 'code', 'whole module', 'no weights', 'empty', 'lists', 'list', 'absent'],
)
def test_files_without_weights(tmp_path, capsys, write, words):
    write(tmp_path / 'official.pth')
    with pytest.raises(UserError, match=f'(?s){words}') as caught:
        read_official(tmp_path / 'official.pth', WHAT)
    assert 'official.pth' in str(caught.value) and 'it ran' not in capsys.readouterr().out


def test_keys_of_another_method_and_renamed_keys():
    rules = [(r'conv\.(weight|bias)', r'stem.\1')]
    with pytest.raises(
        UserError,
        match='not part of Example, unexpected keys: encoder.bias, encoder.weight. Not one of its keys belongs there: '
        'these are the weights of another method',
    ):
        rename({f'encoder.{key}': value for key, value in state().items()}, rules, 'Example')
    with pytest.raises(UserError, match='not part of Example, unexpected keys: conv.scale$'):
        rename({'conv.weight': torch.rand(1), 'conv.scale': torch.rand(1)}, rules, 'Example')
    with pytest.raises(UserError, match=r'unexpected keys: 00, 01, 02, .*07 and 12 more\. Not one of its keys'):
        rename({f'{n:02d}': torch.rand(1) for n in range(20)}, rules, 'Example')


def test_the_first_of_each_kind_of_fault_are_named():
    layers = MAX_LISTED + 3
    network = nn.Sequential(*(nn.Linear(2, 2) for _ in range(layers)))
    weights = {f'{n}.weight': torch.rand(3, 2) for n in range(layers)} | {
        f'{n}.scale': torch.rand(1) for n in range(layers)
    }
    faults = misfits(weights, network)
    assert (
        faults[0] == 'missing 0.bias'
        and 'unexpected 0.scale' in faults
        and '0.weight has shape (3, 2), the config needs (2, 2)' in faults
    )
    assert faults.count('... and 3 more of this kind') == 3 and len(faults) == 3 * (MAX_LISTED + 1)
    misfit = compare(weights, network)
    assert [len(keys) for keys in misfit] == [layers] * 3 and misfit and not compare(network.state_dict(), network)


def test_another_width_is_said_to_be_one():
    wide, narrow = nn.Linear(4, 4), nn.Linear(4, 2)
    with pytest.raises(
        UserError,
        match=r'(?s)a.pth does not fit the config:\n  fuser: weight has shape \(4, 4\), the config needs \(2, 4\).*'
        'another width or variant.*--cfg-options',
    ):
        check_converted(dict(fuser=(wide.state_dict(), narrow), guide=(wide.state_dict(), wide)), ['a.pth'])
    with pytest.raises(UserError) as caught:
        check_converted({'': (dict(weight=wide.weight), narrow)}, ['a.pth'])
    assert 'missing bias' in str(caught.value) and 'width' not in str(caught.value)
