"""Adding files of others and one's own checkpoints, and removing them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mmfusion.apis import FusionInferencer
from mmfusion.model_zoo import add_model, find_model, list_models, load_model, remove_model, writing
from mmfusion.model_zoo.adding import KINDS
from mmfusion.model_zoo.card import is_exchanged
from mmfusion.models.fusers import ReFusion
from mmfusion.utils import UserError

CONFIG = "model = dict(type='FusionOnly', fuser=dict(type='ReFusion', channels=4, heads=2, blocks=1, init_cfg=None))\n"


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint as training leaves it, and its config."""
    fuser = ReFusion(channels=4, heads=2, blocks=1)
    (tmp_path / 'config.py').write_text(CONFIG)
    torch.save(
        dict(state_dict={f'fuser.{key}': value for key, value in fuser.state_dict().items()}, meta={}),
        tmp_path / 'epoch_1.pth',
    )
    return tmp_path / 'epoch_1.pth', tmp_path / 'config.py', fuser.eval()


def test_a_checkpoint_of_ones_own(folder, checkpoint):
    path, config, fuser = checkpoint
    card = add_model(path, 'checkpoint', 'mine', 'mine', config, summary='My own')
    assert (
        card.folder == folder
        and card.sources == ('visible', 'infrared')
        and card.training['files'][0]['name'] == 'epoch_1.pth'
    )
    assert 'init_cfg' not in card.fuser
    first, second = (np.random.default_rng(i).integers(0, 256, (20, 24), dtype=np.uint8) for i in range(2))
    inferencer = FusionInferencer('mine')
    expected = FusionInferencer(fuser)(first, second)[0].fused
    assert (inferencer(first, second)[0].fused == expected).all() and inferencer.card == card
    assert (FusionInferencer('mine', path)(first, second)[0].fused == expected).all()
    assert 'mine' in [card.name for card in list_models()[0]]
    remove_model('mine')
    assert not list(folder.iterdir())
    with pytest.raises(UserError, match="no model 'mine'"):
        find_model('mine')


def test_errors(folder, checkpoint, tmp_path):
    path, config, _ = checkpoint
    for arguments, message in (
        (dict(kind='densenet', license='x'), "'densenet' is no kind of file; there are .*refusion"),
        (dict(kind='checkpoint', license=' '), 'say on which terms'),
        (dict(kind='checkpoint', license='x'), 'give the config that it was trained with'),
        (dict(kind='checkpoint', license='x', config=config, name='No Name'), 'cannot name a model'),
        (dict(kind='checkpoint', license='x', config=config, name='../up'), 'cannot name a model'),
        (dict(kind='checkpoint', license='x', config=config, name='tim'), 'ships with mmfusion'),
        (dict(kind='checkpoint', license='x', config=tmp_path / 'none.py'), 'config not found'),
        (dict(kind='refusion', license='x'), 'not part of the fusion network of TDFusion'),
        (dict(kind='tim_ivif', license='x'), 'made of 2 files'),
    ):
        with pytest.raises(UserError, match=message):
            add_model(path, **arguments)
    config.write_text(CONFIG.replace('channels=4', 'channels=8'))
    with pytest.raises(UserError, match=r'(?s)do not fit ReFusion.*has shape'):
        add_model(path, 'checkpoint', 'x', config=config)
    torch.save({'head.weight': torch.zeros(1)}, tmp_path / 'other.pth')
    with pytest.raises(UserError, match='holds no fuser.*head.weight'):
        add_model(tmp_path / 'other.pth', 'checkpoint', 'x', config=config)
    assert not folder.exists() or not list(folder.iterdir())


def test_a_name_is_not_taken_twice(folder, checkpoint):
    path, config, _ = checkpoint
    add_model(path, 'checkpoint', 'x', config=config)
    with pytest.raises(UserError, match="a model 'epoch_1' already, which was added before"):
        add_model(path, 'checkpoint', 'x', config=config)


def test_a_pickle_that_runs_code_is_not_added(folder, tmp_path):
    torch.save(dict(state_dict=Path('x')), tmp_path / 'evil.pth')
    with pytest.raises(UserError, match='could run code'):
        add_model(tmp_path / 'evil.pth', 'refusion', 'x')


def test_interrupted_before_the_card(folder, checkpoint, monkeypatch):
    path, config, _ = checkpoint
    write = writing.write_bytes

    def fail_at_the_card(file, data, **options):
        if str(file).endswith('.json'):
            raise OSError('disk full')
        write(file, data, **options)

    monkeypatch.setattr(writing, 'write_bytes', fail_at_the_card)
    with pytest.raises(OSError, match='disk full'):
        add_model(path, 'checkpoint', 'x', 'mine', config)
    with pytest.raises(UserError, match="model 'mine' has no card.*mmfusion models remove mine"):
        load_model('mine')
    remove_model('mine')
    monkeypatch.undo()
    monkeypatch.setenv('MMFUSION_MODELS', str(folder))
    assert add_model(path, 'checkpoint', 'x', 'mine', config).name == 'mine'


def test_infrared_first_is_exchanged(folder, checkpoint):
    path, config, fuser = checkpoint
    card = add_model(path, 'checkpoint', 'x', 'reverse', config, sources=('infrared', 'visible'))
    assert is_exchanged(card.sources) and json.loads(card.card_file.read_text())['sources'] == ['infrared', 'visible']
    visible, infrared = (np.random.default_rng(i).integers(0, 256, (20, 24), dtype=np.uint8) for i in range(2))
    exchanged = FusionInferencer('reverse')(visible, infrared)[0].fused
    assert (exchanged == FusionInferencer(fuser)(infrared, visible)[0].fused).all()
    assert not (exchanged == FusionInferencer(fuser)(visible, infrared)[0].fused).all()


def test_the_order_that_a_checkpoint_names(folder, checkpoint):
    path, config, fuser = checkpoint
    state = torch.load(path, weights_only=True)
    torch.save(dict(state, meta=dict(modalities=('infrared', 'visible'))), path)
    assert add_model(path, 'checkpoint', 'x', 'reverse', config).sources == ('infrared', 'visible')
    inferencer = FusionInferencer('reverse')
    assert inferencer.meta['modalities'] == ('visible', 'infrared')
    torch.save(
        dict(state, meta=dict(modalities=('visible', 'infrared'))), path
    )  # other weights for the same network, in the usual order
    visible, infrared = (np.random.default_rng(i).integers(0, 256, (20, 24), dtype=np.uint8) for i in range(2))
    usual = FusionInferencer('reverse', path)(visible, infrared)[0].fused
    assert (usual == FusionInferencer(fuser)(visible, infrared)[0].fused).all()


def test_every_kind_builds_its_fuser_and_names_its_sources():
    from mmfusion.model_zoo.architecture import build_fuser

    for name, kind in KINDS.items():
        assert len(kind.sources) == 2, name
        with torch.device('meta'):
            build_fuser(kind.fuser, name)


def test_published_file(folder, shared_dir):
    """The published ReFusion takes infrared first; called the usual way, the picture is that of the reversed call of
    the network.
    """
    path = shared_dir / 'weights' / 'refusion_ivif.pth'
    if not path.exists():
        pytest.skip('the published file is not on this machine')
    card = add_model(path, 'tdfusion', 'none published')
    assert (card.name, card.parameters, is_exchanged(card.sources)) == ('refusion_ivif', 59856, True)
    visible, infrared = (torch.rand(1, 1, 24, 32) for _ in range(2))
    network = load_model('refusion_ivif').fuser
    fused = FusionInferencer('refusion_ivif').coupling.fuser(visible, infrared).fused
    torch.testing.assert_close(fused, network(infrared, visible).fused)
