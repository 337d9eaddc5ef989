"""The cache of decoded pairs: equal values, never stale or changed ones, a limit that holds, and damage that does no
harm.
"""

import os
from concurrent.futures import ProcessPoolExecutor

import cv2
import numpy as np
import pytest

from mmfusion.datasets.transforms import LoadPair
from mmfusion.fileio import image_cache
from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_cache import ImageCache
from mmfusion.utils import UserError

SIZE = (32, 40)


@pytest.fixture
def pair(tmp_path):
    """A color picture, and a gray one of 16 bits."""
    rng = np.random.default_rng(0)
    cv2.imwrite(str(tmp_path / 'vi.png'), rng.integers(0, 256, (*SIZE, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'ir.png'), rng.integers(0, 2**14, SIZE, np.uint16))
    return dict(first_path=str(tmp_path / 'vi.png'), second_path=str(tmp_path / 'ir.png'), sample_id='a')


@pytest.fixture
def decoded(monkeypatch):
    """Files that were decoded, in order."""
    from mmfusion.datasets.transforms import load_pair

    files, read = [], load_pair.read_image
    monkeypatch.setattr(
        load_pair, 'read_image', lambda path, *rest: files.append(os.path.basename(path)) or read(path, *rest)
    )
    return files


def loader(tmp_path, max_gib=0.01, **kwargs):
    return LoadPair(cache=dict(folder=str(tmp_path / 'cache'), max_gib=max_gib), **kwargs)


def same(one, other):
    for source in ('first', 'second'):
        assert one[source].dtype == other[source].dtype
        np.testing.assert_array_equal(one[source], other[source])
    assert one['ori_shape'] == other['ori_shape'] == one['img_shape']


def test_values_are_equal_and_decoded_once(tmp_path, pair, decoded):
    plain = LoadPair(bit_depth=14)(dict(pair))
    decoded.clear()
    load = loader(tmp_path, bit_depth=14)
    for _ in range(3):
        same(load(dict(pair)), plain)
    same(loader(tmp_path, bit_depth=14)(dict(pair)), plain)  # another process, or the next run
    assert decoded == ['vi.png', 'ir.png']


def test_changed_arrays_stay_out_of_the_cache(tmp_path, pair):
    load, plain = loader(tmp_path), LoadPair()(dict(pair))
    for _ in range(3):
        results = load(dict(pair))
        same(results, plain)
        results['first'][:] = 0  # as a transform in place may do
        results['second'] *= 0


def test_a_changed_file_is_decoded_anew(tmp_path, pair):
    load = loader(tmp_path)
    load(dict(pair))
    times = os.stat(pair['first_path'])
    other = np.full((*SIZE, 3), 7, np.uint8)
    other[0, 0] = 1, 2, 3
    cv2.imwrite(pair['first_path'], other)
    os.utime(pair['first_path'], ns=(times.st_atime_ns, times.st_mtime_ns))  # as a copy that keeps times does
    np.testing.assert_array_equal(load(dict(pair))['first'], other)


def test_other_options_are_other_entries(tmp_path, pair):
    gray = loader(tmp_path, color_type='grayscale')(dict(pair))
    color = loader(tmp_path, color_type='color')(dict(pair))
    assert gray['first'].shape == (*SIZE, 1) and color['second'].shape == (*SIZE, 3)
    assert loader(tmp_path, bit_depth=14)(dict(pair))['second'].max() > 3 * gray['second'].max()


def test_the_limit_holds_and_what_does_not_fit_is_decoded(tmp_path, decoded):
    paths = []
    for index in range(6):
        image = np.full((64, 64, 3), index, np.uint8)
        image[0, 0] = 9, 8, 7
        cv2.imwrite(str(tmp_path / f'{index}.png'), image)
        paths.append(str(tmp_path / f'{index}.png'))
    load = loader(tmp_path, max_gib=3.5 * 64 * 64 * 3 / 2**30)
    for _ in range(2):
        for index in range(0, 6, 2):
            results = load(dict(first_path=paths[index], second_path=paths[index + 1]))
            assert results['first'][5, 5, 0] == index and results['second'][5, 5, 0] == index + 1
    assert decoded == [*(f'{index}.png' for index in range(6)), '3.png', '4.png', '5.png']
    assert sum(file.stat().st_size for file in (tmp_path / 'cache').rglob('*.npy')) <= 3.5 * 64 * 64 * 3
    with pytest.raises(UserError, match='raise the limit, or delete the folder'):
        loader(tmp_path, max_gib=2.5 * 64 * 64 * 3 / 2**30)


def fill(folder, start):
    cache = ImageCache(folder, 10 * 4096 / 2**30)
    for index in range(start, start + 8):
        file = os.path.join(os.path.dirname(folder), 'picture.png')
        assert cache.load(file, str(index), lambda value=index: np.full((16, 16, 8), value, np.uint8))[0, 0, 0] == index


def test_processes_together_stay_below_the_limit(tmp_path):
    (tmp_path / 'picture.png').write_bytes(b'x')
    folder = str(tmp_path / 'cache')
    with ProcessPoolExecutor(3) as pool:
        list(pool.map(fill, [folder] * 3, [0, 4, 8]))
    entries = [file.stat().st_size for file in (tmp_path / 'cache').rglob('*.npy')]
    assert len(entries) >= 8 and sum(entries) <= 10 * 4096


@pytest.mark.parametrize(
    'damage',
    [
        lambda data: data[:-1],
        lambda data: b'',
        lambda data: data.replace(b'(32, 40, 3)', b'(99999, 40, 3)'),
        lambda data: data.replace(b'|u1', b'|O8'),
        lambda data: b'\x00' * len(data),
    ],
)
def test_a_damaged_entry_is_made_anew(tmp_path, pair, damage):
    load, plain = loader(tmp_path), LoadPair()(dict(pair))
    load(dict(pair))
    for file in (tmp_path / 'cache').rglob('*.npy'):
        file.write_bytes(damage(file.read_bytes()))
    for _ in range(2):
        same(load(dict(pair)), plain)


def test_a_bad_file_is_the_same_error_and_no_entry(tmp_path, pair):
    load = loader(tmp_path)
    with open(pair['second_path'], 'r+b') as file:
        file.truncate(100)
    with pytest.raises(PairDataError, match='ir.png is truncated'):
        load(dict(pair))
    with pytest.raises(PairDataError, match='does not exist'):
        load(dict(pair, second_path=str(tmp_path / 'none.png')))
    assert len(list((tmp_path / 'cache').rglob('*.npy'))) == 1  # the first source


def test_a_disk_that_fills_up_costs_the_cache_alone(tmp_path, pair, monkeypatch):
    load, plain = loader(tmp_path), LoadPair()(dict(pair))

    def no_space(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(image_cache, 'whole_file', no_space)
    same(load(dict(pair)), plain)
    assert load.cache.full


def test_bad_options(tmp_path):
    for limit in (0, -1, float('nan'), float('inf'), '2', True):
        with pytest.raises(ValueError, match='positive number of GiB'):
            loader(tmp_path, max_gib=limit)
    for cache in (dict(folder='x'), dict(folder='x', max_gib=1, more=2), 'x'):
        with pytest.raises(ValueError, match='cache must be None or dict'):
            LoadPair(cache=cache)
    with pytest.raises(UserError, match='has .* GiB left; lower max_gib'):
        loader(tmp_path, max_gib=1e9)
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='it is a file'):
        LoadPair(cache=dict(folder=str(tmp_path / 'file'), max_gib=1))
    (tmp_path / 'cache' / 'bytes.txt').write_text('lost')
    assert loader(tmp_path).cache.held_bytes() == 0  # counted anew
