"""Uploads: what is refused leaves nothing behind, what is kept goes in time."""

import os
import stat
import zlib

import cv2
import numpy as np
import pytest

from mmfusion.serve.errors import NotHere
from mmfusion.serve.uploads import Uploads
from mmfusion.utils import UserError


def png(height=20, width=30, dtype=np.uint8):
    return cv2.imencode('.png', np.arange(height * width, dtype=dtype).reshape(height, width))[1].tobytes()


def bomb():
    """A png of a kilobyte that declares 60000 x 60000 pixels."""
    content = bytearray(png())
    content[16:24] = (60000).to_bytes(4, 'big') * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, 'big')
    return bytes(content)


@pytest.fixture
def uploads():
    uploads = Uploads(max_pixels=10_000, max_files=3)
    yield uploads
    uploads.close()
    assert not os.path.exists(uploads.folder)


def test_what_is_kept(uploads):
    key = uploads.add('../a b.png', png(dtype=np.uint16))
    upload = uploads[key]
    assert (upload.name, upload.height, upload.width, upload.channels, upload.bits) == ('a b.png', 20, 30, 1, 16)
    assert os.path.dirname(upload.path) == uploads.folder and 'a b' not in upload.path
    assert stat.S_IMODE(os.stat(uploads.folder).st_mode) == 0o700
    uploads.remove(key)
    assert not os.listdir(uploads.folder)
    with pytest.raises(NotHere):
        uploads[key]


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('a.svg', b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', 'a.svg is no png, jpg, bmp or tif image'),
        ('a.png', b'<?xml version="1.0"?><svg/>', 'a.png is no png'),
        ('a.gif', b'GIF89a' + bytes(40), 'a.gif is no png'),
        ('a.png', b'', 'a.png is no png'),
        ('a.png', png()[:-30], 'a.png is truncated'),
        ('big.png', png(100, 101), 'big.png has 101x100 pixels, more than the 10,000'),
        ('bomb.png', bomb(), 'bomb.png'),
    ],
)
def test_what_is_refused(uploads, name, content, message):
    with pytest.raises(UserError, match=message) as caught:
        uploads.add(name, content)
    assert uploads.folder not in str(caught.value) and not os.listdir(uploads.folder) and len(uploads) == 0


def test_number_and_age(uploads):
    keys = [uploads.add(f'{number}.png', png()) for number in range(3)]
    with pytest.raises(UserError, match='3 images are here already'):
        uploads.add('more.png', png())
    held = uploads.hold(keys[:1])
    uploads.remove_older(60)
    assert len(uploads) == 3
    uploads.remove(keys[0])  # a job needs it
    uploads.remove_older(-1)
    assert len(uploads) == 1 and os.path.exists(held[0].path)
    uploads.release(held)
    uploads.remove_older(-1)
    assert len(uploads) == 0 and not os.listdir(uploads.folder)
