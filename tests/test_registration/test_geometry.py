"""Transforms: points, distances, coverage, warping, each by hand."""

import cv2
import numpy as np
import pytest

from mmfusion.registration.geometry import (
    MODELS,
    center,
    check_matrix,
    corner_distance,
    fitting_matrix,
    keeps_shape,
    motion_basis,
    scale_matrix,
    similarity_matrix,
    step_matrix,
    transform_points,
    valid_region,
    warp,
)
from mmfusion.utils import UserError


@pytest.mark.parametrize('factor', [0.5, 0.25, 2])
def test_scale_matrix_is_that_of_resize(factor):
    """A ramp keeps its values where the matrix says its pixels went."""
    x = np.arange(64, dtype=np.float32)
    ramp = np.repeat(x[None], 64, axis=0)
    small = cv2.resize(ramp, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    at = transform_points(np.linalg.inv(scale_matrix(factor)), np.array([[len(small) // 2, 3]]))[0, 0]
    assert small[3, len(small) // 2] == pytest.approx(at, abs=1e-4)


def test_similarity_matrix_turns_about_a_point():
    matrix = similarity_matrix(2, np.pi / 2, np.array([3.0, 4.0]), np.array([10.0, 20.0]))
    assert np.allclose(
        transform_points(matrix, np.array([[3.0, 4.0], [4.0, 4.0], [3.0, 5.0]])), [[10, 20], [10, 22], [8, 20]]
    )


def test_fitting_matrix_puts_centers_on_each_other():
    matrix = fitting_matrix((100, 200), (60, 80))
    assert np.allclose(transform_points(matrix, center((60, 80))[None]), center((100, 200)))
    assert matrix[0, 0] == pytest.approx(2.5)


@pytest.mark.parametrize('model', MODELS)
def test_motion_basis_is_the_derivative_of_step_matrix(model):
    points = np.array([[0.3, -0.2], [-0.7, 0.5]])
    basis = motion_basis(model, *points.T)
    assert len(basis) == MODELS[model]
    for index, (dx, dy) in enumerate(basis):
        step = np.zeros(len(basis))
        step[index] = 1e-6
        moved = (transform_points(step_matrix(model, step), points) - points) / 1e-6
        assert np.allclose(moved, np.stack([dx, dy], axis=1), atol=1e-5), index


@pytest.mark.parametrize(
    'matrix, message',
    [
        (np.ones((3, 3)), 'singular'),
        (np.diag([1.0, 1.0, 0.0]), 'singular'),
        (np.eye(2), '3 rows of 3'),
        ([[1, 0, np.nan], [0, 1, 0], [0, 0, 1]], 'finite'),
        ('abc', '3 rows of 3'),
        (None, '3 rows of 3'),
        ([[1, 2], [3]], '3 rows of 3'),
    ],
)
def test_check_matrix_refuses(matrix, message):
    with pytest.raises(UserError, match=message):
        check_matrix(matrix)


def test_valid_region_is_where_a_picture_of_ones_is_whole():
    matrix = similarity_matrix(1.1, 0.1, center((40, 50)), np.array([30.0, 22.0]))
    ones = warp(np.ones((40, 50), np.float32), matrix, (48, 64))
    valid = valid_region(matrix, (40, 50), (48, 64))
    assert valid.any() and not valid.all()
    assert np.allclose(ones[valid], 1, atol=1e-3)
    assert valid[ones >= 1 - 1e-6].mean() > 0.97


def test_nothing_behind_a_tilted_plane_is_valid():
    matrix = np.eye(3)
    matrix[2, 0] = -1 / 20  # the plane's horizon runs through the picture
    valid = valid_region(np.linalg.inv(matrix), (40, 50), (40, 50))
    assert not valid[:, 21:].any()


def test_corner_distance_of_a_turn():
    turned = similarity_matrix(1, np.pi, center((11, 11)), center((11, 11)))
    assert corner_distance(turned, np.eye(3), (11, 11)) == pytest.approx(np.hypot(10, 10))


@pytest.mark.parametrize(
    'matrix, kept',
    [
        (similarity_matrix(0.5, 2.0, np.zeros(2), np.ones(2)), True),
        (np.array([[1, 0, 0], [0, 1, 0], [1e-3, 0, 1.0]]), True),
        (np.array([[1, 0, 0], [0, 1, 0], [-0.1, 0, 1.0]]), False),  # the horizon runs through the picture
        (np.array([[1, 2, 0], [2, 4, 0], [0, 0, 1.0]]), False),
        (np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]]), False),
        (np.full((3, 3), np.nan), False),
    ],
)
def test_keeps_shape(matrix, kept):
    assert keeps_shape(matrix, (30, 40)) is kept
