"""Radiometric JPEG files as FLIR cameras write them, made of known constants."""

import struct

import cv2
import numpy as np

CONSTANTS = dict(
    emissivity=0.95,
    distance=4.0,
    reflected=22.0,
    atmosphere=18.0,
    window=25.0,
    transmission=0.9,
    humidity=0.6,
    r1=17096.453,
    b=1428.0,
    f=1.0,
    alpha1=0.006569,
    alpha2=0.01262,
    beta1=-0.002276,
    beta2=-0.00667,
    x=1.9,
    o=-342,
    r2=0.04351538,
)
PLACES = dict(
    emissivity=0x20,
    distance=0x24,
    reflected=0x28,
    atmosphere=0x2C,
    window=0x30,
    transmission=0x34,
    humidity=0x3C,
    r1=0x58,
    b=0x5C,
    f=0x60,
    alpha1=0x70,
    alpha2=0x74,
    beta1=0x78,
    beta2=0x7C,
    x=0x80,
    o=0x308,
    r2=0x30C,
)


def flir_jpeg(counts, constants=None, raw='png', order='<', index_order='>', segment=60000, width=None):
    """Bytes of a radiometric JPEG.

    Args:
        counts: (H, W) uint16.
        constants: As CONSTANTS; temperatures in degrees Celsius.
        raw: How counts are stored: 'png' (bytes exchanged, as FLIR does) or 'plain'.
        order: Byte order inside the records.
        index_order: Byte order of the list of records.
        segment: Bytes of the file in one APP1 segment.
        width: Width in the header of the raw image, where it is to be wrong.
    """
    constants = {**CONSTANTS, **(constants or {})}
    height = counts.shape[0]
    head = bytearray(32)
    struct.pack_into(f'{order}HHH', head, 0, 2, width or counts.shape[1], height)
    content = (
        cv2.imencode('.png', counts.byteswap())[1].tobytes() if raw == 'png' else counts.astype(f'{order}u2').tobytes()
    )
    camera = bytearray(0x400)
    struct.pack_into(f'{order}H', camera, 0, 2)
    for name, place in PLACES.items():
        value = constants[name] + (273.15 if name in ('reflected', 'atmosphere', 'window') else 0)
        struct.pack_into(f'{order}{"i" if name == "o" else "f"}', camera, place, value)
    records = [(0x01, bytes(head) + content), (0x20, bytes(camera)), (0x22, b'palette.')]
    start = 64
    place = start + 32 * len(records)
    index, body = b'', b''
    for kind, data in records:
        entry = struct.pack(f'{index_order}HHIIII', kind, 2, 100, 1, place + len(body), len(data))
        index += entry.ljust(32, b'\0')
        body += data
    file = b'FFF\0'.ljust(20, b'\0') + struct.pack(f'{index_order}III', 101, start, len(records))
    file = file.ljust(start, b'\0') + index + body
    parts = [file[at : at + segment] for at in range(0, len(file), segment)]
    app1 = b''
    for number, part in enumerate(parts):
        payload = b'FLIR\0\x01' + bytes([number, len(parts) - 1]) + part
        app1 += b'\xff\xe1' + struct.pack('>H', len(payload) + 2) + payload
    picture = cv2.imencode('.jpg', np.full((*counts.shape, 3), 127, np.uint8))[1].tobytes()
    return picture[:2] + app1 + picture[2:]


def observed(celsius, constants=None):
    """Counts that a camera of these constants sees, by adding up what arrives: object, reflection, air, window, air."""
    c = {**CONSTANTS, **(constants or {})}
    black = lambda t: c['r1'] / (c['r2'] * (np.exp(c['b'] / (t + 273.15)) - c['f'])) - c['o']  # noqa: E731
    t = c['atmosphere']
    water = c['humidity'] * np.exp(1.5587 + 6.939e-2 * t - 2.7816e-4 * t**2 + 6.8455e-7 * t**3)
    half = np.sqrt(c['distance'] / 2)
    air = c['x'] * np.exp(-half * (c['alpha1'] + c['beta1'] * np.sqrt(water)))
    air += (1 - c['x']) * np.exp(-half * (c['alpha2'] + c['beta2'] * np.sqrt(water)))
    leaving = c['emissivity'] * black(celsius) + (1 - c['emissivity']) * black(c['reflected'])
    at_window = air * leaving + (1 - air) * black(t)
    behind = c['transmission'] * at_window + (1 - c['transmission']) * black(c['window'])
    return air * behind + (1 - air) * black(t)
