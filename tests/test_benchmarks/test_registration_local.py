"""Movements within a pair: a shift is the same everywhere, a lens pulls toward the middle, by both measures."""

import importlib
import sys

import cv2
import numpy as np
import pytest
from warped_scenes import scene

from mmfusion.registration.features import Picture


@pytest.fixture
def local(repo_dir, monkeypatch):
    monkeypatch.syspath_prepend(str(repo_dir / 'benchmarks'))
    yield importlib.import_module('registration_local')
    sys.modules.pop('registration_local', None)


def moves(local, second_of, name):
    visible, infrared = scene(0, (320, 420))
    ones = np.ones(visible.shape, np.uint8)
    pictures = [Picture(image.astype(np.float32), ones) for image in (visible, second_of(infrared))]
    return np.array(local.moves_of(*pictures, local.MEASURES[name]))


@pytest.mark.parametrize('name', ['edge features', 'strength of the gradient'])
def test_shift_and_lens(local, name):
    def shifted(image):
        return cv2.warpAffine(
            image, np.float32([[1, 0, 3], [0, 1, -2]]), image.shape[::-1], borderMode=cv2.BORDER_REFLECT
        )

    def larger(image):  # by 3 %, so that its parts have to come back to the middle
        matrix = cv2.getRotationMatrix2D((209.5, 159.5), 0, 1.03)
        return cv2.warpAffine(image, matrix, image.shape[::-1])

    found = moves(local, shifted, name)
    assert len(found) > 6 and np.allclose(np.median(found[:, 2:], 0), (-3, 2), atol=0.3)
    found = moves(local, larger, name)
    left, right = (np.median(found[found[:, 1] == column, 2]) for column in (0, 2))
    assert left > 2 and right < -2
