"""Registration while loading: pairs of other size, rigs, refusals, what the second image shows beyond its border."""

import cv2
import numpy as np
import pytest
from warped_scenes import moved, scene

from mmfusion.apis import FusionInferencer
from mmfusion.datasets.transforms import LoadPair
from mmfusion.fileio.errors import PairDataError
from mmfusion.registration import Rig
from mmfusion.utils import UserError


def test_auto_brings_the_second_image_over():
    visible, infrared = scene(0)
    second, _ = moved(infrared, 0.8, 0, (6.0, -3.0), (200, 256))
    results = LoadPair(registration='auto')(dict(first=visible, second=second))
    assert results['second'].shape == (240, 320, 1) and results['second'].dtype == np.uint8
    assert results['img_shape'] == results['ori_shape'] == (240, 320)
    found = results['registration']
    assert found['confidence'] > 0.5 and 0.8 < found['coverage'] <= 1
    inner = np.s_[30:210, 40:280]
    assert np.abs(results['second'][inner][..., 0].astype(int) - infrared[inner]).mean() < 8
    assert np.array_equal(results['first'][..., 0], visible)


@pytest.mark.parametrize('depth', [np.uint8, np.float32])
def test_beyond_its_border_it_shows_the_first(tmp_path, depth):
    shift = np.eye(3)
    shift[0, 2] = 100
    Rig(shift, 'translation', (240, 320), (240, 320)).save(tmp_path / 'rig.yaml')
    visible, infrared = scene(0)
    second = infrared if depth == np.uint8 else infrared.astype(np.float32) / 255
    results = LoadPair(registration=str(tmp_path / 'rig.yaml'))(
        dict(first=np.repeat(visible[..., None], 3, 2), second=second)
    )
    scale = 1 if depth == np.uint8 else 255
    assert results['second'].dtype == depth
    assert np.abs(results['second'][:, :100, 0] * scale - visible[:, :100]).max() <= 1
    assert np.allclose(results['second'][:, 100:, 0] * scale, infrared[:, :220], atol=0.6)
    assert results['registration'] == dict(matrix=shift.tolist(), confidence=1.0, coverage=220 / 320)


def test_refused_pair_is_an_error_that_names_it():
    visible, infrared = scene(0)
    with pytest.raises(PairDataError, match="array 'first' of sample .* this pair was not registered: confidence"):
        LoadPair(registration='auto')(dict(first=visible, second=scene(9)[1]))
    with pytest.raises(PairDataError, match='this pair was not registered'):
        LoadPair(registration=dict(threshold=1.0))(dict(first=visible, second=moved(infrared)[0]))


@pytest.mark.parametrize(
    'arguments, error, message',
    [
        (dict(registration=dict(kind='affine')), TypeError, 'no argument kind'),
        (dict(registration=3), TypeError, "must be 'auto', a dict or the path"),
        (dict(registration='missing.yaml'), UserError, 'rig file missing.yaml does not exist'),
        (dict(registration='auto', reduce_to=(320, 240)), ValueError, 'leave reduce_to out'),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        LoadPair(**arguments)


def test_other_sizes_are_fused_with_the_inferencer(tmp_path):
    visible, infrared = scene(1)
    second, _ = moved(infrared, 0.8, 0, (6.0, -3.0), (200, 256))
    cv2.imwrite(str(tmp_path / 'a.png'), visible)
    cv2.imwrite(str(tmp_path / 'b.png'), second)
    with pytest.raises(PairDataError, match="LoadPair\\(registration='auto'\\) registers them"):
        FusionInferencer('AverageFuser')(tmp_path / 'a.png', tmp_path / 'b.png')
    fused = FusionInferencer('AverageFuser', load=dict(registration='auto'))(tmp_path / 'a.png', tmp_path / 'b.png')[
        0
    ].fused
    assert fused.shape[:2] == (240, 320)
