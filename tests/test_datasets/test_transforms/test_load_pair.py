"""LoadPair: every format and depth, every bad file."""

import pickle

import cv2
import numpy as np
import pytest
from PIL import Image

from mmfusion.datasets.transforms import LoadPair
from mmfusion.fileio.errors import PairDataError

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (40, 56, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (40, 56), dtype=np.uint8)


def write(path, image):
    assert cv2.imwrite(str(path), image)
    return str(path)


def load(first, second, **kwargs):
    return LoadPair(**kwargs)(dict(first_path=str(first), second_path=str(second), sample_id='x'))


@pytest.mark.parametrize('suffix', ['png', 'bmp', 'tif', 'tiff'])
@pytest.mark.parametrize('image', [COLOR, GREY], ids=['color', 'grey'])
def test_lossless_formats_keep_the_pixels(tmp_path, suffix, image):
    path = write(tmp_path / f'a.{suffix}', image)
    results = load(path, path)
    assert results['first'].dtype == np.uint8
    np.testing.assert_array_equal(results['first'], image.reshape(40, 56, -1))
    assert results['img_shape'] == results['ori_shape'] == (40, 56)


def test_jpg_is_read_as_opencv_reads_it(tmp_path):
    path = write(tmp_path / 'a.jpg', COLOR)
    np.testing.assert_array_equal(load(path, path)['first'], cv2.imread(path))


def test_color_types(tmp_path):
    color, grey = write(tmp_path / 'c.png', COLOR), write(tmp_path / 'g.png', GREY)
    equal = write(tmp_path / 'e.png', np.repeat(GREY[..., None], 3, 2))
    assert load(color, grey, color_type='unchanged')['second'].shape == (40, 56, 1)
    assert load(color, equal, color_type='unchanged')['second'].shape == (40, 56, 3)
    assert load(color, equal, color_type='auto')['second'].shape == (40, 56, 1)
    assert load(color, equal, color_type='auto')['first'].shape == (40, 56, 3)
    np.testing.assert_array_equal(load(color, grey, color_type='color')['second'], np.repeat(GREY[..., None], 3, 2))
    mixed = load(color, grey, color_type=dict(first='grayscale', second='color'))
    np.testing.assert_array_equal(mixed['first'][..., 0], cv2.cvtColor(COLOR, cv2.COLOR_BGR2GRAY))
    assert mixed['second'].shape == (40, 56, 3)


def test_one_colored_pixel_is_color(tmp_path):
    image = np.repeat(GREY[..., None], 3, 2)
    image[17, 23] = (1, 2, 3)
    assert load(write(tmp_path / 'a.png', image), write(tmp_path / 'b.png', GREY))['first'].shape == (40, 56, 3)


def test_alpha_is_dropped_and_exif_orientation_ignored(tmp_path):
    rgba = np.dstack([COLOR, GREY])
    np.testing.assert_array_equal(
        load(write(tmp_path / 'a.png', rgba), write(tmp_path / 'b.png', GREY))['first'], COLOR
    )
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    Image.fromarray(COLOR).save(tmp_path / 'r.jpg', exif=exif)
    assert load(tmp_path / 'r.jpg', tmp_path / 'b.png')['first'].shape == (40, 56, 3)


def test_sixteen_bit(tmp_path):
    raw = RNG.integers(0, 2**14, (40, 56), dtype=np.uint16)
    for suffix in ('png', 'tif'):
        path = write(tmp_path / f'a.{suffix}', raw)
        full = load(path, path)['first']
        assert full.dtype == np.float32 and full.shape == (40, 56, 1)
        np.testing.assert_allclose(full[..., 0], raw / 65535, atol=1e-7)
        np.testing.assert_allclose(load(path, path, bit_depth=14)['first'][..., 0], raw / (2**14 - 1), atol=1e-6)
        stretched = load(path, path, stretch=dict(first=(5, 95), second=None))
        low, high = np.percentile(raw, (5, 95))
        np.testing.assert_allclose(stretched['first'][..., 0], np.clip((raw - low) / (high - low), 0, 1), atol=1e-5)
        np.testing.assert_allclose(stretched['second'], full)
        with pytest.raises(PairDataError, match=rf'a\.{suffix}.*exceed bit_depth=12'):
            load(path, path, bit_depth=12)


def test_sixteen_bit_color_keeps_channels(tmp_path):
    raw = RNG.integers(0, 65536, (40, 56, 3), dtype=np.uint16)
    path = write(tmp_path / 'a.png', raw)
    np.testing.assert_allclose(load(path, path)['first'], raw / 65535, atol=1e-7)


def test_float_tif(tmp_path):
    good = RNG.random((40, 56), dtype=np.float32)
    path = write(tmp_path / 'a.tif', good)
    np.testing.assert_array_equal(load(path, path)['first'][..., 0], good)
    for value in (np.nan, np.inf):
        bad = good.copy()
        bad[3, 4] = value
        with pytest.raises(PairDataError, match=r'bad\.tif: 1 of 2240 values are NaN or infinite') as info:
            load(path, write(tmp_path / 'bad.tif', bad))
        assert info.value.reason == 'not finite'
    with pytest.raises(PairDataError, match=r'kelvin\.tif.*stretch'):
        load(path, write(tmp_path / 'kelvin.tif', good + 280))
    assert load(path, tmp_path / 'kelvin.tif', stretch=dict(first=None, second=(1, 99)))['second'].max() == 1


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'bmp', 'tif'])
def test_truncated_at_any_length(tmp_path, suffix):
    """Cut a file at many places; none of the pieces may pass for an image."""
    whole = tmp_path / f'whole.{suffix}'
    write(whole, cv2.resize(COLOR, (200, 160)))
    data, cut = whole.read_bytes(), tmp_path / f'cut.{suffix}'
    load(whole, whole)
    for part in np.linspace(0, len(data) - 4, 40).astype(int):
        cut.write_bytes(data[:part])
        with pytest.raises(PairDataError, match=rf'cut\.{suffix}'):
            load(whole, cut)


def test_truncated_progressive_jpg_with_thumbnail(tmp_path):
    """The end marker of a thumbnail inside the header does not count."""
    image, path = Image.fromarray(COLOR), tmp_path / 'a.jpg'
    thumbnail = cv2.imencode('.jpg', COLOR[:8, :8])[1].tobytes()
    image.save(path, progressive=True, comment=thumbnail)
    assert path.read_bytes().count(b'\xff\xd9') >= 2
    load(path, path)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(PairDataError, match='truncated'):
        load(path, path)


def test_opencv_alone_accepts_a_truncated_file(tmp_path):
    """Why files are checked at all."""
    path = tmp_path / 'a.jpg'
    write(path, cv2.resize(COLOR, (400, 300)))
    path.write_bytes(path.read_bytes()[:-300])
    assert cv2.imread(str(path)).shape == (300, 400, 3)
    with pytest.raises(PairDataError, match='truncated'):
        load(path, path)


def test_bad_files_name_themselves(tmp_path):
    good = write(tmp_path / 'good.png', GREY)
    text = tmp_path / 'text.png'
    text.write_text('no image')
    empty = tmp_path / 'empty.png'
    empty.write_bytes(b'')
    cases = [
        (text, r'text\.png', 'unreadable image'),
        (empty, r'empty\.png is empty', 'unreadable image'),
        (tmp_path / 'gone.png', r'gone\.png does not exist', 'missing image'),
        (tmp_path, 'cannot be read', 'unreadable image'),
    ]
    for path, message, reason in cases:
        with pytest.raises(PairDataError, match=message) as info:
            load(good, path)
        assert info.value.reason == reason
        assert pickle.loads(pickle.dumps(info.value)).reason == reason  # survives a DataLoader worker
    with pytest.raises(PairDataError, match=r"sample x has neither 'second_path' nor 'second'"):
        LoadPair()(dict(first_path=good, sample_id='x'))


def test_sizes(tmp_path):
    good, other = write(tmp_path / 'good.png', GREY), write(tmp_path / 'other.png', GREY[:32])
    with pytest.raises(PairDataError, match=r'good\.png has 56x40 pixels, .*other\.png has 56x32'):
        load(good, other)
    for shape in ((1, 1), (15, 40), (40, 15)):
        with pytest.raises(PairDataError, match=r'tiny\.png.*at least 16x16'):
            load(good, write(tmp_path / 'tiny.png', np.zeros(shape, np.uint8)))


def test_arrays_pass_through():
    results = LoadPair()(dict(first=COLOR, second=GREY))
    np.testing.assert_array_equal(results['first'], COLOR)
    assert results['second'].shape == (40, 56, 1)
    with pytest.raises(PairDataError, match="array 'second' of sample s7"):
        LoadPair()(dict(first=COLOR, second=np.full((40, 56), np.nan, np.float32), sample_id='s7'))
    with pytest.raises(PairDataError, match='must be numpy'):
        LoadPair()(dict(first=COLOR, second=np.zeros((2, 40, 56, 1))))


@pytest.mark.parametrize(
    'kwargs', [dict(color_type='gray'), dict(bit_depth=0), dict(stretch=(90, 10)), dict(color_type=dict(first='color'))]
)
def test_bad_arguments(kwargs):
    with pytest.raises(ValueError, match=next(iter(kwargs))):
        LoadPair(**kwargs)
