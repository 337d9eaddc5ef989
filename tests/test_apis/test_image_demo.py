"""demo/image_demo.py from its command line to the files."""

import importlib.util
import os

import cv2
import numpy as np
import pytest

from mmfusion.model_zoo import DEFAULT_MODEL


@pytest.fixture
def demo(repo_dir):
    spec = importlib.util.spec_from_file_location('image_demo', repo_dir / 'demo' / 'image_demo.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def sources(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '-1')  # the demo sets it; this puts it back afterwards
    generator = np.random.default_rng(0)
    for folder in ('vi', 'ir'):
        os.mkdir(folder)
        for name in 'ab':
            cv2.imwrite(
                f'{folder}/{name}.png', generator.integers(0, 256, (20, 24, 3 if folder == 'vi' else 1), dtype=np.uint8)
            )
    return tmp_path


def test_two_files(demo, sources, capsys):
    demo(['vi/a.png', 'ir/a.png', '--panel', '--device', 'cpu'])
    assert cv2.imread('fused.png').shape == (20, 24, 3) and cv2.imread('fused_panel.png').shape == (42, 80, 3)
    out = capsys.readouterr().out
    assert f'fusing with {DEFAULT_MODEL}' in out and 'fused.png' in out and '1 of 1 pairs fused' in out


def test_two_folders(demo, sources, capsys):
    demo(['vi', 'ir', '--config', 'MaximumFuser', '--out', 'o', '--batch-size', '2', '--device', 'cpu'])
    assert sorted(os.listdir('o')) == ['a.png', 'b.png']
    os.remove('ir/b.png')
    demo(['vi', 'ir', '--config', 'MaximumFuser', '--out', 'p', '--skip-bad', '--device', 'cpu'])
    assert os.listdir('p') == ['a.png'] and '1 of 1 pairs fused' in capsys.readouterr().out


def test_errors_are_one_message(demo, sources, capsys):
    for argv, message in (
        (['vi/c.png', 'ir/a.png'], 'vi/c.png does not exist'),
        (['vi/a.png', 'ir/a.png', '--boxes'], 'no detector'),
        (['vi/a.png', 'ir/a.png', '--config', 'none.py'], 'config not found: none.py'),
    ):
        with pytest.raises(SystemExit) as error:
            demo([*argv, '--device', 'cpu'])
        assert error.value.code == 2 and message in capsys.readouterr().err
    assert sorted(os.listdir()) == ['ir', 'vi']


def damaged(name):
    """Arguments for the demo, beside the good pairs."""
    if name == 'one pixel':
        cv2.imwrite('x.png', np.zeros((1, 1), np.uint8))
        return ['x.png', 'x.png'], 'x.png has 1x1 pixels'
    if name == 'other size':
        cv2.imwrite('x.png', np.zeros((30, 24), np.uint8))
        return ['vi/a.png', 'x.png'], 'x.png has 24x30'
    if name == 'truncated':
        with open('vi/a.png', 'rb') as file, open('x.png', 'wb') as cut:
            cut.write(file.read()[:100])
        return ['x.png', 'ir/a.png'], 'x.png is truncated'
    if name == 'nan':
        cv2.imwrite('x.tif', np.full((20, 24), np.nan, np.float32))
        return ['x.tif', 'ir/a.png'], 'x.tif: 480 of 480 values are NaN'
    if name == 'other names':
        os.rename('ir/a.png', 'ir/c.png')
        return ['vi', 'ir'], '2 images have no partner'
    if name == 'unwritable':
        return ['vi/a.png', 'ir/a.png', '--out', 'vi/a.png/out'], 'vi/a.png/out'
    assert name == 'weights'
    with open('w.pth', 'wb') as file:
        file.write(b'PK\x03\x04 and nothing else')
    return ['vi/a.png', 'ir/a.png', '--weights', 'w.pth'], 'w.pth is not a checkpoint, or it is damaged'


@pytest.mark.parametrize(
    'name', ['one pixel', 'other size', 'truncated', 'nan', 'other names', 'unwritable', 'weights']
)
def test_damage_is_one_message_and_writes_nothing(demo, sources, capsys, name):
    argv, message = damaged(name)
    before = sorted(str(path) for path in sources.rglob('*'))
    with pytest.raises(SystemExit) as error:
        demo([*argv, '--device', 'cpu'])
    shown = capsys.readouterr().err
    assert error.value.code == 2 and message in shown and 'Traceback' not in shown, shown
    assert sorted(str(path) for path in sources.rglob('*')) == before


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_odd_sizes_and_depths(demo, sources, dtype):
    generator = np.random.default_rng(1)
    for name in ('x.png', 'y.png'):
        cv2.imwrite(name, generator.integers(0, np.iinfo(dtype).max, (333, 517)).astype(dtype))
    demo(['x.png', 'y.png', '--device', 'cpu'])
    assert cv2.imread('fused.png', cv2.IMREAD_UNCHANGED).shape[:2] == (333, 517)
