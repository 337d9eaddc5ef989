"""Radiometric JPEG files: temperatures come back, damage and other makers get one message each."""

import contextlib
import struct

import cv2
import numpy as np
import pytest
from flir_files import CONSTANTS, flir_jpeg, observed

from mmfusion.fileio.errors import PairDataError
from mmfusion.thermal import LinearScale, PlanckScale, build_scale
from mmfusion.thermal.flir import FlirError, read_flir, segments
from mmfusion.thermal.makers import foreign_jpeg
from mmfusion.thermal.reading import read_thermal
from mmfusion.utils import UserError

CELSIUS = np.linspace(-15, 140, 64 * 80).reshape(64, 80)
COUNTS = np.rint(observed(CELSIUS)).astype(np.uint16)


def save(tmp_path, data, name='a.jpg'):
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize('raw', ['png', 'plain'])
@pytest.mark.parametrize('order, index_order', [('<', '>'), ('<', '<'), ('>', '>')])
@pytest.mark.parametrize('segment', [60000, 700])
def test_temperatures_come_back(tmp_path, raw, order, index_order, segment):
    path = save(tmp_path, flir_jpeg(COUNTS, raw=raw, order=order, index_order=index_order, segment=segment))
    counts = read_thermal(path)
    assert counts.unit == 'counts'
    np.testing.assert_array_equal(counts.values[..., 0], COUNTS)
    thermal = read_thermal(path, 'file')
    assert thermal.unit == 'celsius' and abs(thermal.values[..., 0] - CELSIUS).max() < 0.05


@pytest.mark.parametrize(
    'constants', [dict(transmission=1.0, distance=1.0), dict(emissivity=0.6, reflected=60.0), dict(distance=0.0)]
)
def test_other_scenes(tmp_path, constants):
    counts = np.rint(observed(CELSIUS, constants)).astype(np.uint16)
    path = save(tmp_path, flir_jpeg(counts, constants))
    assert abs(read_thermal(path, 'file').values[..., 0] - CELSIUS).max() < 0.05


def test_constants_of_the_user_replace_those_of_the_file(tmp_path):
    path = save(tmp_path, flir_jpeg(COUNTS, dict(emissivity=0.5, humidity=60.0)))
    assert abs(read_thermal(path, 'file').values[..., 0] - CELSIUS).max() > 1
    assert abs(read_thermal(path, dict(emissivity=0.95)).values[..., 0] - CELSIUS).max() < 0.05
    assert read_thermal(path, dict(scale=0.01)).values.max() == np.float32(COUNTS.max() * 0.01)


def test_without_a_window_transmission():
    assert read_flir(flir_jpeg(COUNTS, dict(transmission=0.0))).scale.transmission == 1


def test_files_without_thermal_data(tmp_path):
    picture = cv2.imencode('.jpg', np.zeros((64, 80, 3), np.uint8))[1].tobytes()
    assert read_flir(picture) is None
    assert read_thermal(save(tmp_path, picture), asked=False) is None
    with pytest.raises(PairDataError, match='plain JPEG without thermal data'):
        read_thermal(save(tmp_path, picture), 'file')


def damaged():
    good = flir_jpeg(COUNTS, segment=700)
    yield 'truncated', good[: len(good) // 2]
    first = segments(good)[0][1]
    yield '1 of its', good.replace(b'\xff\xe1' + struct.pack('>H', len(first) + 2) + first, b'')
    yield 'no 16-bit PNG of 79x64', flir_jpeg(COUNTS, width=79)
    yield 'bytes of', flir_jpeg(COUNTS, raw='plain', width=81)
    yield 'r1', flir_jpeg(COUNTS, dict(r1=float('nan')))
    yield 'emissivity must lie', flir_jpeg(COUNTS, dict(emissivity=0.0))
    yield 'no FFF header', flir_jpeg(COUNTS).replace(b'FFF\0', b'ABC\0')


@pytest.mark.parametrize('part, data', list(damaged()), ids=lambda value: value if isinstance(value, str) else '')
def test_damage_is_one_message(tmp_path, part, data):
    with pytest.raises(PairDataError, match='damaged|truncated') as caught:
        read_thermal(save(tmp_path, data), 'file')
    assert part in str(caught.value) and '\n' not in str(caught.value)


def test_no_damage_does_anything_else():
    good, rng = flir_jpeg(COUNTS[:16, :20], segment=300), np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(good)
        for place in rng.integers(2, len(data), 3):
            data[place] = rng.integers(256)
        with contextlib.suppress(FlirError):
            read_flir(bytes(data))


@pytest.mark.parametrize(
    'mark, name',
    [(b'DJI\0M3T', 'DJI R-JPEG'), (b'IJPEG\0', 'InfiRay'), (b'HIKVISION', 'Hikvision'), (b'Seek Thermal', 'Seek')],
)
def test_other_makers_are_named(tmp_path, mark, name):
    picture = cv2.imencode('.jpg', np.zeros((64, 80), np.uint8))[1].tobytes()
    data = picture[:2] + b'\xff\xe3' + struct.pack('>H', len(mark) + 2) + mark + picture[2:]
    assert name in foreign_jpeg(data) and foreign_jpeg(picture) is None
    with pytest.raises(PairDataError, match=f'{name}.*TIFF'):
        read_thermal(save(tmp_path, data), 'file')


def test_scales():
    assert LinearScale(0.04, -273.15).celsius(np.array([7500])) == pytest.approx(26.85)
    planck = PlanckScale(**{key: value for key, value in CONSTANTS.items() if key != 'humidity'}, humidity=60)
    np.testing.assert_allclose(planck.counts(CELSIUS), observed(CELSIUS), rtol=1e-9)
    np.testing.assert_allclose(planck.celsius(planck.counts(CELSIUS)), CELSIUS, atol=1e-8)
    assert np.isnan(planck.celsius(np.array([-1e6])))
    with pytest.raises(UserError, match='brings no radiometric constants'):
        build_scale('file', None, 'a.tif')
    with pytest.raises(UserError, match='emissivity'):
        PlanckScale(1, 1, 1, 1, 1, emissivity=1.2)
