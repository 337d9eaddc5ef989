"""Registration of pairs with known truth: found within a pixel or refused, whatever the polarity, size and depth."""

import cv2
import numpy as np
import pytest
from warped_scenes import moved, scene

from mmfusion.datasets import DemoPairs
from mmfusion.registration import register_pair
from mmfusion.registration.features import WIDE, Picture, align, content_mask, edge_features, similarity
from mmfusion.registration.gate import Checks, judge
from mmfusion.registration.geometry import center, corner_distance, similarity_matrix, warp
from mmfusion.registration.refine import Level, refine
from mmfusion.registration.registering import _Pair
from mmfusion.registration.search import nearby_shift, scale_grid, search
from mmfusion.utils import UserError


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('model', ['similarity', 'affine'])
def test_known_warp_is_found(seed, model):
    visible, infrared = scene(seed)
    second, truth = moved(infrared)
    result = register_pair(visible, second, model)
    assert result.accepted and result.reasons == []
    assert corner_distance(result.matrix, truth, second.shape) < 1.5
    assert result.model == model


def test_homography():
    visible, infrared = scene(4)
    second, truth = moved(infrared, 1, 0, (3.0, 2.0))
    tilt = np.eye(3)
    tilt[2, 0] = 1e-4
    second = warp(second, np.linalg.inv(tilt), second.shape)
    result = register_pair(visible, second, 'homography')
    assert result.accepted
    assert corner_distance(result.matrix, truth @ tilt, second.shape) < 2
    assert abs(result.matrix[2, 0] - 1e-4) < 5e-5


def test_other_size_and_field_of_view():
    visible, infrared = scene(1, (360, 480))
    second, truth = moved(infrared[40:320, 60:420], 0.7, 1.0, (4.0, 3.0), (200, 256))
    crop = np.eye(3)
    crop[:2, 2] = 60, 40
    result = register_pair(visible, second)
    assert result.accepted
    assert corner_distance(result.matrix, crop @ truth, second.shape) < 3
    assert result.valid.shape == (360, 480) and 0.2 < result.valid.mean() < 0.9


def test_color_depth_and_polarity_do_not_matter():
    visible, infrared = scene(2)
    second, truth = moved(infrared)
    raw = (20000 + 3 * (255 - second.astype(np.int32))).astype(np.uint16)
    raw[second == 0] = 20000 + 765  # the border of the warp
    result = register_pair(np.repeat(visible[..., None], 3, 2), raw[..., None])
    assert result.accepted
    assert corner_distance(result.matrix, truth, second.shape) < 1.5


@pytest.mark.parametrize('name', ['stranger', 'noise', 'flat', 'too far'])
def test_refused(name):
    visible, infrared = scene(0)
    rng = np.random.default_rng(1)
    second = dict(
        stranger=scene(9)[1],
        noise=rng.integers(0, 255, infrared.shape).astype(np.uint8),
        flat=np.full_like(infrared, 7),
    )
    second['too far'] = moved(infrared, 1, 40, (0, 0))[0]
    result = register_pair(visible, second[name])
    assert not result.accepted
    assert result.confidence < 0.5 and 'is below 0.50' in result.reasons[0] and len(result.reasons) > 1
    with pytest.raises(UserError, match='was not registered: confidence'):
        result.warp(second[name])


def test_open_corners_are_refused_however_well_the_rest_looks():
    visible, infrared = scene(0)
    checks = Checks(**register_pair(visible, infrared, 'translation').checks)
    assert judge(checks, 0.5)[1] == []
    confidence, reasons = judge(checks._replace(doubt=5.5, lead=9.0, similarity=1.0), 0.5)
    assert confidence > 0.5 and reasons == ['the parts that agree leave the corners open by 6 pixels of 320']


def test_warp_and_valid_go_together():
    visible, infrared = scene(0)
    second, truth = moved(infrared, 1, 0, (12.0, 0.0))
    result = register_pair(visible, second, 'translation')
    assert np.array_equal(result.matrix[:2, :2], np.eye(2))
    back = result.warp(second)
    assert back.shape == visible.shape and back.dtype == np.uint8
    inside = result.valid & (np.arange(320) < 300)
    left = [np.abs(image.astype(int) - infrared)[inside].mean() for image in (second, back)]
    assert left[1] < 0.3 * left[0]
    assert not back[~result.valid].any() and not result.valid.all()
    assert result.warp(second[..., None]).shape == (240, 320, 1)
    with pytest.raises(UserError, match='has 100x100 pixels, the registered one had 320x240'):
        result.warp(second[:100, :100])


def test_to_dict_is_plain():
    import json

    visible, infrared = scene(0)
    content = json.loads(json.dumps(register_pair(visible, infrared).to_dict()))
    assert content['first_size'] == [320, 240] and len(content['matrix']) == 3 and content['accepted'] is True
    assert set(content) == {
        'matrix',
        'model',
        'confidence',
        'accepted',
        'reasons',
        'checks',
        'first_size',
        'second_size',
    }


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(model='spline'), "no transform model 'spline'; choose from translation, similarity"),
        (dict(threshold=2), r'threshold must lie in \[0, 1\]'),
        (dict(max_shift=0), 'max_shift'),
        (dict(scales=(2, 1)), 'scales must be'),
        (dict(second=np.zeros((20, 20), np.uint8)), 'second image has 20x20 pixels; registration needs at least 64x64'),
        (dict(second=np.full((80, 80), np.nan)), 'second image holds NaN'),
        (dict(first=np.zeros((80, 80, 4), np.uint8)), 'first image must be an array'),
        (dict(first=None), 'first image must be an array'),
    ],
)
def test_bad_input(change, message):
    visible, infrared = scene(0)
    arguments = dict(first=visible, second=infrared, **{})
    with pytest.raises(UserError, match=message):
        register_pair(**{**arguments, **change})


def test_content_mask_leaves_out_the_border_of_a_warp_alone():
    image = scene(0)[0]
    second = moved(image, 1, 5, (20.0, 0.0))[0]
    mask = content_mask(second)
    assert mask[120, :8].sum() == 0 and mask[100:140, 60:260].all()
    assert content_mask(image).mean() > 0.99


def test_features_ignore_polarity_and_gain():
    image = scene(0)[0].astype(np.float32)
    ones = np.ones(image.shape, np.uint8)
    one, other = (edge_features(Picture(part, ones)).values for part in (image, 300 - 2 * image))
    assert np.abs(one - other).max() < 1e-2
    assert np.square(one).sum(-1).mean() == pytest.approx(1, rel=0.01)


def test_similarity_is_largest_at_the_truth():
    visible, infrared = (Picture(image.astype(np.float32), np.ones(image.shape, np.uint8)) for image in scene(0))
    at = lambda x: similarity(align(visible, infrared, np.array([[1, 0, x], [0, 1, 0], [0, 0, 1.0]]), 320))  # noqa: E731
    assert at(0) > at(4) > at(12)
    assert similarity(align(visible, visible, np.eye(3), 320)) == pytest.approx(1)


def test_search_finds_every_shift():
    """Against the score of the definition: the place that the Fourier transform finds is the shift that was made."""
    visible, infrared = (image.astype(np.float32) for image in scene(3, (96, 96)))
    ones = np.ones((96, 96), np.uint8)
    for x, y in ((0, 0), (9, -7), (-14, 5), (23, -20)):  # the last nearly as far as is searched
        second, truth = moved(infrared, 1, 0, (x, y))
        mask = warp(ones, np.linalg.inv(truth), (96, 96), nearest=True)
        best = search(Picture(visible, ones), Picture(second, mask), [1.0], [0.0])[0]
        assert np.allclose(best.matrix[:2, 2], (-x, -y), atol=1.5)


@pytest.mark.parametrize('seed', [3, 4])
def test_fine_texture_that_coarse_shapes_hide(seed):
    """What both share is too fine for a search of coarse pictures alone."""
    rng = np.random.default_rng(seed)

    def texture(width):
        noise = cv2.GaussianBlur(rng.normal(size=(240, 320)).astype(np.float32), (0, 0), width)
        return cv2.normalize(noise, None, -1, 1, cv2.NORM_MINMAX)

    shared = texture(1.3)
    images = [128 + 110 * gain * shared + 120 * texture(5) for gain in (1, -1)]
    visible, infrared = (np.clip(image, 0, 255).astype(np.uint8) for image in images)
    second, truth = moved(infrared)
    result = register_pair(visible, second)
    assert result.accepted and corner_distance(result.matrix, truth, second.shape) < 1.5


def test_nearby_shift_is_the_one_that_was_made():
    visible, infrared = (Picture(image.astype(np.float32), np.ones(image.shape, np.uint8)) for image in scene(3))
    for shift in ((0, 0), (7, -5), (-15, 14)):
        matrix = np.eye(3)
        matrix[:2, 2] = shift
        found = nearby_shift(align(visible, infrared, matrix, 320, WIDE), 16)
        assert np.abs(found + shift).max() <= 1


def test_better_shift_of_a_place_is_found_and_refined():
    visible, infrared = (Picture(image.astype(np.float32), np.ones(image.shape, np.uint8)) for image in scene(3))
    pair, matrix = _Pair(visible, infrared), np.eye(3)
    assert pair._aside(matrix, 'similarity') is None
    matrix[:2, 2] = 3, -11
    place = pair._aside(matrix, 'similarity')
    assert corner_distance(place.matrix, np.eye(3), (240, 320)) < 1
    assert place.score > pair.score(matrix, (160, 320)) + 0.2


def test_refine_from_near():
    visible, infrared = (Picture(image.astype(np.float32), np.ones(image.shape, np.uint8)) for image in scene(5))
    start = similarity_matrix(1.02, np.deg2rad(1), center((240, 320)), center((240, 320)) + (4, -3))
    found = refine(visible, infrared, start, 'similarity', [Level(160), Level(320)])
    assert corner_distance(start, np.eye(3), (240, 320)) > 5
    assert corner_distance(found, np.eye(3), (240, 320)) < 0.7


def bent(image, strength):
    """The image as a lens would show it that moves points toward the center by strength r^2, r = 1 at half the
    width.
    """
    height, width = image.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = (x - (width - 1) / 2) / (width / 2), (y - (height - 1) / 2) / (width / 2)
    factor = 1 + strength * (x * x + y * y)
    at = [axis * factor * width / 2 + (length - 1) / 2 for axis, length in ((x, width), (y, height))]
    return cv2.remap(image, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


@pytest.mark.parametrize('seed', range(3))
def test_lens_distortion_does_not_bias_the_transform(seed):
    """The result is the similarity nearest to the undoing of the distortion over the picture, not where most edges
    are.
    """
    visible, infrared = scene(seed)
    strength = 0.03
    y, x = np.mgrid[-1:1:25j, -1:1:33j].reshape(2, -1) * [[0.75], [1.0]]
    squares = x * x + y * y
    wanted = 1 + strength * (squares * squares).sum() / squares.sum()  # by least squares a change of scale
    pictures = [
        Picture(image.astype(np.float32), np.ones(image.shape, np.uint8))
        for image in (visible, bent(infrared, strength))
    ]
    levels = [Level(320, WIDE), Level(320)]
    plain, found = (
        np.sqrt(np.linalg.det(refine(*pictures, np.eye(3), 'similarity', levels, lens=lens)[:2, :2]))
        for lens in (False, True)
    )
    assert abs(found - wanted) < 0.003  # half a pixel at the corners
    assert abs(found - wanted) < 0.6 * abs(plain - wanted)


@pytest.mark.parametrize('index', range(2))
def test_rendered_pair_to_a_fraction_of_a_pixel(index):
    """Another modality, noise, and a shift between pixels, of which neither image knows."""
    item = DemoPairs(length=2, size=(240, 320), seed=3).get_data_info(index)
    second, truth = moved(item['second'][..., 0], 1, 0, (5.37, -3.61))
    result = register_pair(item['first'], second, 'translation')
    assert result.accepted
    assert corner_distance(result.matrix, truth, second.shape) < 0.3


def test_scale_grid():
    assert scale_grid(1, 1).tolist() == [1]
    grid = scale_grid(0.5, 2)
    assert grid[0] == pytest.approx(0.5) and grid[-1] == pytest.approx(2) and np.diff(np.log(grid)).max() < 0.041
