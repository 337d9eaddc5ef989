"""The models that ship: whole, small, with everything said about them that a user has to know, and of use on any
pair.
"""

import importlib.util
import re

import cv2
import numpy as np
import pytest

from mmfusion.apis import FusionInferencer
from mmfusion.datasets import DemoPairs
from mmfusion.model_zoo import DEFAULT_MODEL, load_model
from mmfusion.model_zoo.catalog import SHIPPED
from mmfusion.models.fusers import MoEFusion, PlainConvFuser, ReFusion
from mmfusion.models.fusers.tim import TIM

NAMES = sorted(path.stem for path in SHIPPED.glob('*.json'))
FUSERS = dict(
    tdfusion=ReFusion, moe_fusion=MoEFusion, tim=TIM, plain_conv=PlainConvFuser, plain_conv_rendered=PlainConvFuser
)
METRICS = {'EN', 'SD', 'SF', 'MI', 'SCD', 'VIF', 'Qabf', 'SSIM'}


def test_what_ships():
    assert set(FUSERS) <= set(NAMES) and DEFAULT_MODEL in NAMES
    assert sorted(path.stem for path in SHIPPED.glob('*.safetensors')) == NAMES
    sizes = [path.stat().st_size for path in SHIPPED.glob('*.safetensors')]
    assert max(sizes) < 1.5e6 and sum(sizes) < 6e6


@pytest.mark.parametrize('name', NAMES)
def test_card(name, repo_dir):
    fuser, card = load_model(name)
    assert isinstance(fuser, FUSERS.get(name, object))
    assert card.sources == ('visible', 'infrared') and card.summary and card.license
    training = card.training
    assert {'data', 'terms', 'held_out', 'command', 'seed', 'commit'} <= set(training)
    assert re.fullmatch('[0-9a-f]{40}', training['commit'])
    for config in re.findall(r'configs/\w+\.py', ' '.join(training['command'])):
        assert (repo_dir / config).is_file(), config
    assert training['data'] and all(training['data'])
    if name.endswith('_rendered'):
        assert 'research' not in training['terms']
    else:
        assert 'research' in training['terms'] and 'research' in card.license
    for data, row in card.figures.items():
        assert set(row) >= METRICS, (data, row)
    assert card.figures


@pytest.fixture(scope='module')
def rendered():
    """Three rendered pairs that no training has seen, of odd size."""
    scenes = DemoPairs(length=3, size=(131, 173), split='test', seed=7)
    return [
        (scene['first'][..., ::-1].copy(), scene['second'][..., 0]) for scene in map(scenes.get_data_info, range(3))
    ]


@pytest.mark.parametrize('name', NAMES)
def test_pictures_are_natural(name, rendered):
    """Neither a negative nor flat nor out of range: details of both sources are there, and brightness lies between or a
    little beyond theirs.
    """
    fuse = FusionInferencer(name)
    for visible, infrared in rendered:
        fused = fuse(visible, infrared)[0].fused
        assert fused.shape == visible.shape and fused.dtype == np.uint8
        fused, first = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float) for image in (fused, visible))
        second = infrared.astype(float)
        target = np.maximum(first, second)
        assert np.corrcoef(fused.ravel(), target.ravel())[0, 1] > 0.85
        assert fused.std() > 0.7 * (first + second).std() / 2
        assert np.minimum(first, second).mean() - 5 < fused.mean() < target.mean() + 25


@pytest.mark.parametrize('name', NAMES)
def test_sixteen_bit_and_grey(name):
    first, second = (np.random.default_rng(i).integers(0, 65536, (33, 47), dtype=np.uint16) for i in range(2))
    assert FusionInferencer(name)(first, second)[0].fused.shape == (33, 47)


def test_the_default_is_a_trained_model():
    fuse = FusionInferencer()
    assert fuse.card.name == DEFAULT_MODEL and any(True for _ in fuse.coupling.parameters())


def test_the_page_says_what_the_cards_say(repo_dir):
    spec = importlib.util.spec_from_file_location('model_zoo_page', repo_dir / 'docs' / 'model_zoo_page.py')
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    text = page.PAGE.read_text()
    assert page.fill(text) == text, 'run python docs/model_zoo_page.py'
    assert all(f'`{name}`' in text for name in NAMES)
