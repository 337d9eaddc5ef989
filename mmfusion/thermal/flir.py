"""Radiometric JPEG files of FLIR cameras: the raw thermal image and the constants that make temperatures of it, read
without other programs.

Such a file is a JPEG picture whose APP1 segments with the mark ``FLIR`` hold, one after the other, a file of their own
(``FFF``): a list of records, among them the raw image (as a PNG, or plain 16-bit counts) and the state of the camera.
The layout is known from the documentation of ExifTool (https://exiftool.org/TagNames/FLIR.html). Written from that
description, without code of others.
"""

import struct
from typing import Dict, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from mmfusion.fileio.reading import check_pixels

from .radiometry import ZERO, PlanckScale

MARK = b'FLIR\0'
RAW_DATA, CAMERA_INFO = 0x01, 0x20
_MAX_RECORDS = 4096
#: name -> (place in the record of the camera, type)
_FIELDS: Dict[str, Tuple[int, str]] = dict(
    emissivity=(0x20, 'f'),
    distance=(0x24, 'f'),
    reflected=(0x28, 'f'),
    atmosphere=(0x2C, 'f'),
    window=(0x30, 'f'),
    transmission=(0x34, 'f'),
    humidity=(0x3C, 'f'),
    r1=(0x58, 'f'),
    b=(0x5C, 'f'),
    f=(0x60, 'f'),
    alpha1=(0x70, 'f'),
    alpha2=(0x74, 'f'),
    beta1=(0x78, 'f'),
    beta2=(0x7C, 'f'),
    x=(0x80, 'f'),
    o=(0x308, 'i'),
    r2=(0x30C, 'f'),
)
_KELVIN = ('reflected', 'atmosphere', 'window')


class FlirError(ValueError):
    """The thermal part of the file is damaged; the message says where."""


class FlirImage(NamedTuple):
    """What a radiometric JPEG holds.

    Attributes:
        counts: (H, W) uint16.
        scale: Constants of camera and scene.
    """

    counts: np.ndarray
    scale: PlanckScale


def segments(data: bytes) -> List[Tuple[int, bytes]]:
    """The segments of a JPEG file before its picture: (marker, content); one that is cut off ends the list."""
    found, place = [], 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # filling
            place += 1
            continue
        if marker in (0xD9, 0xDA):
            break
        (length,) = struct.unpack_from('>H', data, place + 2)
        if length < 2:
            break
        found.append((marker, data[place + 4 : place + 2 + length]))
        place += 2 + length
    return found


def read_flir(data: bytes) -> Optional[FlirImage]:
    """The thermal image of a JPEG file, None where it holds none of FLIR.

    Raises:
        FlirError: A part is missing or contradicts another.
    """
    parts: Dict[int, bytes] = {}
    last = None
    for marker, content in segments(data):
        if marker == 0xE1 and content.startswith(MARK) and len(content) > 8:
            number, last = content[6], content[7]
            if number in parts:
                raise FlirError(f'its FLIR segment {number} appears twice')
            parts[number] = content[8:]
    if last is None:
        return None
    missing = [number for number in range(last + 1) if number not in parts]
    if missing:
        raise FlirError(f'{len(missing)} of its {last + 1} FLIR segments are missing; the file was cut or edited')
    return read_fff(b''.join(parts[number] for number in range(last + 1)))


def read_fff(data: bytes) -> FlirImage:
    """The thermal image of an ``FFF`` file; raises as :func:`read_flir`."""
    if len(data) < 64 or data[:3] not in (b'FFF', b'AFF'):
        raise FlirError('its FLIR segments hold no FFF header')
    order = '>' if 100 <= struct.unpack_from('>I', data, 20)[0] < 200 else '<'
    start, number = struct.unpack_from(f'{order}II', data, 24)
    if not 1 <= number <= _MAX_RECORDS or start + 32 * number > len(data):
        raise FlirError(f'its list of {number} FLIR records lies outside the file')
    records: Dict[int, bytes] = {}
    for index in range(number):
        kind, place, length = struct.unpack_from(f'{order}H10xII', data, start + 32 * index)
        if kind in (RAW_DATA, CAMERA_INFO) and length and kind not in records:
            if place + length > len(data):
                raise FlirError(f'its FLIR record {kind:#x} ends at byte {place + length} of {len(data)}')
            records[kind] = data[place : place + length]
    for kind, name in ((RAW_DATA, 'raw thermal image'), (CAMERA_INFO, 'camera constants')):
        if kind not in records:
            raise FlirError(f'it holds no {name}')
    return FlirImage(_counts(records[RAW_DATA]), _scale(records[CAMERA_INFO]))


def _order(record: bytes) -> str:
    """Byte order of a record, whose first word is 2."""
    return '<' if struct.unpack_from('<H', record)[0] < 0x100 else '>'


def _counts(record: bytes) -> np.ndarray:
    if len(record) < 40:
        raise FlirError('its raw thermal image is cut off')
    order = _order(record)
    width, height = struct.unpack_from(f'{order}HH', record, 2)
    try:
        check_pixels(height, width)
    except ValueError as error:
        raise FlirError(f'its raw thermal image cannot be used: {error}') from None
    content = record[32:]
    if content.startswith(b'\x89PNG'):
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None or image.dtype != np.uint16 or image.shape != (height, width):
            raise FlirError(f'its raw thermal image is no 16-bit PNG of {width}x{height} pixels')
        return image.byteswap()  # FLIR puts the low byte first, where PNG wants the high one
    if content[:2] == b'\xff\xd8':
        raise FlirError(
            'its raw thermal image is compressed as JPEG-LS, which is not read; let the program of the camera write '
            '16-bit TIFF'
        )
    if len(content) < 2 * width * height:
        raise FlirError(f'its raw thermal image has {len(content)} bytes of {2 * width * height}')
    return np.frombuffer(content, f'{order}u2', width * height).reshape(height, width).astype(np.uint16)


def _scale(record: bytes) -> PlanckScale:
    if len(record) < 0x310:
        raise FlirError(f'its camera constants have {len(record)} bytes of {0x310}')
    order = _order(record)
    found = {
        name: float(struct.unpack_from(f'{order}{kind}', record, place)[0]) for name, (place, kind) in _FIELDS.items()
    }
    broken = sorted(name for name, value in found.items() if not np.isfinite(value))
    if broken:
        raise FlirError(f'its constants {", ".join(broken)} are no numbers')
    for name in _KELVIN:
        found[name] -= ZERO
    if found['humidity'] <= 2:  # some cameras write a part of 1, others percent
        found['humidity'] *= 100
    found['transmission'] = found['transmission'] or 1.0  # not set
    try:
        return PlanckScale(**found)
    except ValueError as error:
        raise FlirError(f'its constants are of no use: {error}') from None
