"""Loading by name: what was written comes back, and whatever was changed since is refused by name."""

import hashlib
import json
import os
import pickle
import random

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from mmfusion.apis import FusionInferencer
from mmfusion.model_zoo import find_model, list_models, load_model, write_model
from mmfusion.model_zoo.catalog import card_files, user_folder
from mmfusion.utils import UserError


def edit(card, **changes):
    """Change entries of a card on disk."""
    content = json.loads(card.card_file.read_text())
    card.card_file.write_text(json.dumps({**content, **changes}))


def rewrite(card, data, **changes):
    """Put other bytes in the place of the weights, with a card that fits them."""
    card.weights_file.write_bytes(data)
    edit(card, size=len(data), sha256=hashlib.sha256(data).hexdigest(), **changes)


def head(card, fuser=None):
    """The text that ties a file to its network."""
    return {
        'mmfusion': json.dumps(
            dict(fuser=fuser or card.fuser, sources=list(card.sources)), sort_keys=True, separators=(',', ':')
        )
    }


def test_round_trip_is_bit_by_bit(small):
    card, state = small
    loaded = load_model('small')
    assert (
        loaded.card == card
        and not loaded.fuser.training
        and card.parameters == sum(value.numel() for value in state.values())
    )
    for key, value in loaded.fuser.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_the_same_weights_make_the_same_file(small, folder):
    card, state = small
    again = write_model(folder, 'again', dict(reversed(state.items())), card.fuser, card.sources, 'free')
    assert again.sha256 == card.sha256


@pytest.mark.parametrize('part', ['head', 'names', 'numbers', 'last'])
def test_a_flipped_bit_is_refused(small, part):
    card, _ = small
    data = bytearray(card.weights_file.read_bytes())
    place = dict(head=0, names=20, numbers=len(data) // 2, last=len(data) - 1)[part]
    data[place] ^= 1
    card.weights_file.write_bytes(data)
    with pytest.raises(
        UserError, match=r"model 'small': .*small.safetensors has the sha256 .*damaged or was replaced. Remove it .*add"
    ):
        load_model('small')


def test_a_changed_byte_of_the_card_is_refused_or_changes_no_weight(small):
    card, state = small
    text = card.card_file.read_bytes()
    refused = 0
    for place in random.sample(range(len(text)), 60):
        changed = bytearray(text)
        changed[place] ^= 1 << random.randrange(7)
        card.card_file.write_bytes(changed)
        try:
            loaded = load_model('small')
        except UserError as error:
            assert 'small' in str(error)
            refused += 1
        else:
            assert (loaded.card.fuser, loaded.card.sources) == (card.fuser, card.sources)
            assert all(torch.equal(value, state[key]) for key, value in loaded.fuser.state_dict().items())
    assert refused > 30


def test_cut_short(small):
    card, _ = small
    card.weights_file.write_bytes(card.weights_file.read_bytes()[:-5])
    with pytest.raises(UserError, match="model 'small'.*truncated"):
        load_model('small')


def test_renamed_keys(small):
    card, state = small
    state = {key.replace('decoder', 'coder'): value for key, value in state.items()}
    rewrite(card, save(state, head(card)))
    with pytest.raises(
        UserError, match=r"(?s)model 'small'.*do not fit ReFusion.*missing decoder.*and \d+ more.*Remove it"
    ):
        load_model('small')


def test_another_architecture(small):
    card, state = small
    edit(card, fuser=dict(card.fuser, channels=8))
    with pytest.raises(UserError, match="'small'.*was written for .*its card says .*8"):
        load_model('small')
    other = dict(card.fuser, channels=8)
    rewrite(card, save(state, head(card, other)), fuser=other)
    with pytest.raises(UserError, match=r"(?s)'small'.*do not fit ReFusion.*has shape .*the config needs"):
        load_model('small')


def test_exchanged_sources_are_not_overlooked(small):
    card, _ = small
    edit(card, sources=['infrared', 'visible'])
    with pytest.raises(UserError, match="'small'.*was written for .*its card says"):
        load_model('small')


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_no_numbers(small, folder, value):
    card, state = small
    key = next(iter(state))
    state[key].view(-1)[0] = value
    with pytest.raises(UserError, match=f'{key} holds NaN'):
        write_model(folder, 'broken', state, card.fuser, card.sources, 'free')
    assert 'broken' not in card_files()
    rewrite(card, save(state, head(card)))
    with pytest.raises(UserError, match=f'{key} holds NaN'):
        load_model('small')


def test_other_number_formats(small):
    card, state = small
    rewrite(card, save({key: value.half() for key, value in state.items()}, head(card)))
    with pytest.raises(UserError, match='is torch.float16, the fuser has torch.float32'):
        load_model('small')


def test_missing_files(small):
    card, _ = small
    os.rename(card.weights_file, f'{card.weights_file}.away')
    with pytest.raises(UserError, match="model 'small': the weights .* cannot be read"):
        load_model('small')
    os.rename(f'{card.weights_file}.away', card.weights_file)
    card.card_file.unlink()
    with pytest.raises(UserError, match="model 'small' has no card.*Remove it"):
        load_model('small')
    assert 'no card' in list_models()[1]['small']


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(card_version=2), 'card_version is 2'),
        (dict(name='other'), "card of 'other', renamed"),
        (dict(sources=['visible']), 'two names'),
        (dict(sha256='0'), '64 hexadecimal'),
        (dict(parameters='12'), 'parameters must be of type int'),
        (dict(parameters=True), 'parameters must be of type int'),
        (dict(parameters=12), 'parameters, the card says 12'),
        (dict(surprise=1), 'unknown entry surprise'),
    ],
)
def test_damaged_cards(small, change, message):
    edit(small[0], **change)
    with pytest.raises(UserError, match=message):
        load_model('small')


def test_a_card_without_an_entry(small):
    content = json.loads(small[0].card_file.read_text())
    del content['license']
    small[0].card_file.write_text(json.dumps(content))
    with pytest.raises(UserError, match='missing entry license'):
        load_model('small')


class RunsCode:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def test_a_pickle_in_the_place_of_weights_is_not_run(small, tmp_path):
    rewrite(small[0], pickle.dumps(RunsCode(tmp_path / 'ran')))
    with pytest.raises(UserError, match="model 'small'.*no safetensors file"):
        load_model('small')
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    'fuser, message',
    [
        (dict(type='os.mkdir', path='ran'), "'os.mkdir' is not a fuser"),
        (dict(type='torch.nn.Conv2d', in_channels=1), 'is not a fuser'),
        (dict(type='FusionOnly', fuser=dict(type='AverageFuser')), 'is not a fuser'),
        (dict(type='ReFusion', init_cfg=dict(type='Pretrained', checkpoint='x.pth')), 'holds .*init_cfg'),
        (
            dict(type='TwoStageTIM', stage1_init_cfg=dict(type='Pretrained', checkpoint='x.pth')),
            'holds .*stage1_init_cfg',
        ),
        (dict(type='ReFusion', channels=5), 'cannot be built'),
        (dict(type='ReFusion', surprise=1), 'cannot be built'),
    ],
)
def test_a_card_builds_nothing_but_a_fuser(small, fuser, message):
    card, state = small
    rewrite(card, save(state, head(card, fuser)), fuser=fuser)
    with pytest.raises(UserError, match=f"model 'small'.*{message}"):
        load_model('small')
    assert not os.path.exists('ran')


def test_unknown_names_list_what_there_is(small):
    with pytest.raises(UserError, match=r"no model 'larg'; there are .*small.*mmfusion models list"):
        find_model('larg')
    with pytest.raises(UserError, match=r"'larg' is neither a config file, a trained model \(.*small"):
        FusionInferencer('larg')


def test_where_models_of_the_user_are(monkeypatch, tmp_path):
    monkeypatch.delenv('MMFUSION_MODELS', raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert user_folder() == tmp_path / 'mmfusion' / 'models'
    monkeypatch.setenv('XDG_CACHE_HOME', '')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert user_folder() == tmp_path / '.cache' / 'mmfusion' / 'models'
    assert list_models()[1] == {}


def test_files_are_read_by_the_safetensors_package_alone(small, tmp_path):
    card, state = small
    assert {key: value.shape for key, value in load_file(card.weights_file).items()} == {
        key: value.shape for key, value in state.items()
    }
    save_file(state, tmp_path / 'plain.safetensors')  # without the fuser's config in its head
    rewrite(card, (tmp_path / 'plain.safetensors').read_bytes())
    with pytest.raises(UserError, match='was written for None'):
        load_model('small')
