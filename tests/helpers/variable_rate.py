"""Give the frames of an mp4 file times of their own: OpenCV writes files of constant rate only."""

import struct
from pathlib import Path
from typing import Sequence

CONTAINERS = (b'moov', b'trak', b'mdia', b'minf', b'stbl')


def set_times(path, times: Sequence[float]) -> None:
    """Replace the table of durations (stts) so that frame k is shown at ``times[k]`` seconds; the first must be 0.

    The index must lie behind the pictures, as OpenCV writes it, so that they stay where they are.
    """
    data = Path(path).read_bytes()
    ticks = [round(time * _timescale(data)) for time in times]
    steps = [after - before for before, after in zip(ticks, ticks[1:])]
    entries = b''.join(struct.pack('>II', 1, step) for step in [*steps, steps[-1]])
    stts = struct.pack('>I4sII', 16 + len(entries), b'stts', 0, len(times)) + entries
    Path(path).write_bytes(_rewrite(data, stts))


def _boxes(data: bytes):
    start = 0
    while start < len(data):
        length, kind = struct.unpack('>I4s', data[start : start + 8])
        yield kind, data[start : start + length]
        start += length


def _timescale(data: bytes) -> int:
    for kind, box in _boxes(data):
        if kind == b'mdhd':
            return struct.unpack('>I', box[20:24])[0]
        if kind in CONTAINERS and (found := _timescale(box[8:])):
            return found
    return 0


def _rewrite(data: bytes, stts: bytes) -> bytes:
    out = b''
    for kind, box in _boxes(data):
        if kind == b'stts':
            box = stts
        elif kind == b'edts':  # its length is that of the former times
            continue
        elif kind in CONTAINERS:
            inner = _rewrite(box[8:], stts)
            box = struct.pack('>I4s', 8 + len(inner), kind) + inner
        out += box
    return out
