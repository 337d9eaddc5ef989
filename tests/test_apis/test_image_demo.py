"""demo/image_demo.py from its command line to the files."""
import importlib.util
import os

import cv2
import numpy as np
import pytest


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
            cv2.imwrite(f'{folder}/{name}.png', generator.integers(0, 256, (20, 24, 3 if folder == 'vi' else 1), dtype=np.uint8))
    return tmp_path


def test_two_files(demo, sources, capsys):
    demo(['vi/a.png', 'ir/a.png', '--panel', '--device', 'cpu'])
    assert cv2.imread('fused.png').shape == (20, 24, 3) and cv2.imread('fused_panel.png').shape == (42, 80, 3)
    out = capsys.readouterr().out
    assert 'needs no weights' in out and 'fused.png' in out and '1 of 1 pairs fused' in out


def test_two_folders(demo, sources, capsys):
    demo(['vi', 'ir', '--config', 'MaximumFuser', '--out', 'o', '--batch-size', '2', '--device', 'cpu'])
    assert sorted(os.listdir('o')) == ['a.png', 'b.png']
    os.remove('ir/b.png')
    demo(['vi', 'ir', '--config', 'MaximumFuser', '--out', 'p', '--skip-bad', '--device', 'cpu'])
    assert os.listdir('p') == ['a.png'] and '1 of 1 pairs fused' in capsys.readouterr().out


def test_errors_are_one_message(demo, sources, capsys):
    for argv, message in ((['vi/c.png', 'ir/a.png'], 'vi/c.png does not exist'), (['vi/a.png', 'ir/a.png', '--boxes'], 'no detector'),
                          (['vi/a.png', 'ir/a.png', '--config', 'none.py'], 'config not found: none.py')):
        with pytest.raises(SystemExit) as error:
            demo([*argv, '--device', 'cpu'])
        assert error.value.code == 2 and message in capsys.readouterr().err
    assert sorted(os.listdir()) == ['ir', 'vi']
