"""A rig from many pairs: robust against odd ones, kept in a file, applied with lenses."""

import numpy as np
import pytest

from mmfusion.registration import Lens, Registration, Rig, estimate_rig
from mmfusion.registration.geometry import center, corner_distance, similarity_matrix
from mmfusion.utils import UserError

FIRST, SECOND = (240, 320), (200, 256)
TRUTH = similarity_matrix(1.2, 0.02, center(SECOND), center(FIRST) + (5, -3))


def registration(matrix, accepted=True, model='similarity', second=SECOND):
    return Registration(matrix, model, 0.9, accepted, [] if accepted else ['no'], {}, FIRST, second)


def shaken(count, spread=1.0, seed=0, model='similarity'):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        matrix = TRUTH.copy()
        matrix[:2, 2] += rng.normal(0, spread, 2)
        yield registration(matrix, model=model)


@pytest.mark.parametrize('model', ['similarity', 'affine', 'homography'])
def test_mean_of_pairs_without_the_odd_ones(model):
    pairs = [
        *shaken(20, model=model),
        registration(similarity_matrix(1, 0.3, center(SECOND), center(FIRST)), model=model),
        registration(np.eye(3), accepted=False, model=model),
    ]
    rig = estimate_rig(pairs)
    assert corner_distance(rig.matrix, TRUTH, SECOND) < 1
    assert rig.pairs == 20 and 0.5 < rig.spread < 2 and rig.model == model


def test_translation():
    matrix = np.eye(3)
    matrix[:2, 2] = 3, 4
    assert np.allclose(estimate_rig([registration(matrix, model='translation', second=FIRST)] * 3).matrix, matrix)


@pytest.mark.parametrize(
    'pairs, message',
    [
        (list(shaken(2)), '2 of 2 pairs could be registered; a rig needs at least 3'),
        ([*shaken(3), registration(TRUTH, model='affine')], 'same sizes and the same transform model'),
        ([*shaken(3), registration(TRUTH, second=(10, 10))], 'same sizes'),
        (list(shaken(9, spread=40)), 'the pairs do not agree'),
    ],
)
def test_no_rig(pairs, message):
    with pytest.raises(UserError, match=message):
        estimate_rig(pairs)


def test_file_round_trip(tmp_path):
    lens = Lens([[200.0, 0, 128], [0, 200, 100], [0, 0, 1]], [-0.2, 0.05, 0, 0])
    rig = estimate_rig(list(shaken(5)), dict(second=lens))
    rig.save(tmp_path / 'rig.yaml')
    back = Rig.load(tmp_path / 'rig.yaml')
    assert np.array_equal(back.matrix, rig.matrix)
    assert (back.model, back.first_shape, back.second_shape, back.pairs, back.lenses) == (
        'similarity',
        FIRST,
        SECOND,
        5,
        dict(second=lens),
    )


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'no rig file of format 1'),
        ('format: 2', 'no rig file of format 1'),
        ('[', 'cannot be read'),
        ('format: 1\nfirst_size: [320]', r'first_size must be \[width, height\]'),
        (
            'format: 1\nfirst_size: [320, 240]\nsecond_size: [320, 240]\nmodel: spline',
            "model must be one of .* got 'spline'",
        ),
        ('format: 1\nfirst_size: [320, 240]\nsecond_size: [320, 240]\nmodel: affine', 'matrix of rig file .* 3 rows'),
        (
            'format: 1\nfirst_size: [9, 9]\nsecond_size: [9, 9]\nmodel: affine\nmatrix: [[1, 0, 0], [2, '
            '0, 0], [0, 0, 1]]',
            'singular',
        ),
        (
            'format: 1\nfirst_size: [9, 9]\nsecond_size: [9, 9]\nmodel: affine\nmatrix: [[1, 0, 0], [0, 1, 0], [0, 0, '
            '1]]\nlenses: {left: {}}',
            'lenses may have',
        ),
        (
            'format: 1\nfirst_size: [9, 9]\nsecond_size: [9, 9]\nmodel: affine\nmatrix: [[1, 0, 0], [0, 1, '
            '0], [0, 0, 1]]\n'
            'lenses: {first: {camera: [[1, 0, 0], [0, 1, 0], [0, 0, 1]], distortion: [1, 2]}}',
            'distortion of the first lens',
        ),
    ],
)
def test_bad_file(tmp_path, text, message):
    (tmp_path / 'rig.yaml').write_text(text)
    with pytest.raises(UserError, match=message):
        Rig.load(tmp_path / 'rig.yaml')


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match='does not exist; `mmfusion register'):
        Rig.load(tmp_path / 'rig.yaml')


def test_apply_takes_the_second_image_over():
    shift = np.eye(3)
    shift[:2, 2] = 10, 0
    rig = Rig(shift, 'translation', (80, 100), (80, 100))
    second = np.arange(8000, dtype=np.float32).reshape(80, 100, 1)
    first, moved, valid = rig.apply(np.zeros((80, 100, 3), np.uint8), second)
    assert np.allclose(moved[:, 10:], second[:, :90], atol=1e-2) and moved.shape == (80, 100, 1)
    assert not moved[:, :10].any() and valid[:, 10:].all() and not valid[:, :10].any()
    with pytest.raises(UserError, match='second image has 100x70 pixels, the rig was made for 100x80'):
        rig.apply(first, second[:70])


def test_lenses_are_applied_to_either_image():
    import cv2

    camera = [[80.0, 0, 50], [0, 80, 40], [0, 0, 1]]
    lens = Lens(camera, [-0.3, 0.1, 0, 0])
    image = np.tile((np.arange(100) // 10 % 2 * 255).astype(np.uint8), (80, 1))
    rig = Rig(np.eye(3), 'affine', (80, 100), (80, 100), lenses=dict(first=lens, second=lens))
    first, second, _ = rig.apply(image, image)
    assert np.array_equal(first, cv2.undistort(image, np.array(camera), np.array(lens.distortion)))
    assert np.array_equal(first, second) and not np.array_equal(first, image)
