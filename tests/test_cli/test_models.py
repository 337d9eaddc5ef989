"""tools/models.py and tools/fuse.py: lists, cards, adding, fusing by name, removing."""

import runpy

import cv2
import numpy as np
import pytest
import torch

from mmfusion.cli.fuse import main as fuse
from mmfusion.cli.models import main as models
from mmfusion.model_zoo import DEFAULT_MODEL
from mmfusion.model_zoo.catalog import SHIPPED
from mmfusion.models.fusers import ReFusion


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two pictures, a checkpoint with its config, and a folder for models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('MMFUSION_MODELS', str(tmp_path / 'models'))
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '-1')  # --device cpu sets it; this puts it back afterwards
    for index, name in enumerate(('vi.png', 'ir.png')):
        cv2.imwrite(name, np.random.default_rng(index).integers(0, 256, (20, 24), dtype=np.uint8))
    fuser = ReFusion(channels=4, heads=2, blocks=1)
    torch.save(dict(state_dict={f'fuser.{key}': value for key, value in fuser.state_dict().items()}), 'epoch_1.pth')
    (tmp_path / 'config.py').write_text(
        "model = dict(type='FusionOnly', fuser=dict(type='ReFusion', channels=4, heads=2, blocks=1))\n"
    )
    return tmp_path


def failing(command, argv, capsys):
    with pytest.raises(SystemExit) as error:
        command(argv)
    assert error.value.code == 2
    shown = capsys.readouterr().err
    assert 'Traceback' not in shown
    return shown


def test_from_adding_to_removing(place, capsys):
    (place / 'terms.txt').write_text('Free for all.\nSecond line.\n')
    models(
        [
            'add',
            'epoch_1.pth',
            '--as',
            'checkpoint',
            '--config',
            'config.py',
            '--license-file',
            'terms.txt',
            '--name',
            'mine',
            '--summary',
            'My own',
        ]
    )
    assert 'added mine: ReFusion' in capsys.readouterr().out
    models(['list'])
    listed = capsys.readouterr().out
    assert 'mine  (added, ReFusion' in listed and 'My own' in listed and 'terms: Free for all. ...' in listed
    assert f'{DEFAULT_MODEL}  (default' in listed and str(place / 'models') in listed
    models(['show', 'mine'])
    shown = capsys.readouterr().out
    assert (
        '"license": "Free for all.\\nSecond line."' in shown and 'sha256, keys and shapes are as the card says' in shown
    )
    fuse(['vi.png', 'ir.png', '--model', 'mine', '--out', 'mine.png', '--device', 'cpu'])
    assert 'fusing with mine: My own' in capsys.readouterr().out
    fuse(
        [
            'vi.png',
            'ir.png',
            '--config',
            'config.py',
            '--weights',
            'epoch_1.pth',
            '--out',
            'same.png',
            '--device',
            'cpu',
        ]
    )
    assert (cv2.imread('mine.png') == cv2.imread('same.png')).all()
    models(['remove', 'mine'])
    assert not list((place / 'models').iterdir())
    assert "no model 'mine'" in failing(models, ['show', 'mine'], capsys)


def test_damage_is_one_message(place, capsys):
    models(['add', 'epoch_1.pth', '--as', 'checkpoint', '--config', 'config.py', '--license', 'x', '--name', 'mine'])
    weights = place / 'models' / 'mine.safetensors'
    weights.write_bytes(weights.read_bytes()[:-1] + b'?')
    assert 'damaged or was replaced' in failing(
        fuse, ['vi.png', 'ir.png', '--model', 'mine', '--device', 'cpu'], capsys
    )
    (place / 'models' / 'mine.json').write_text('{')
    assert 'cannot be read' in failing(fuse, ['vi.png', 'ir.png', '--model', 'mine', '--device', 'cpu'], capsys)
    models(['list'])
    assert 'mine  DAMAGED' in capsys.readouterr().out
    assert not (place / 'fused.png').exists()


def test_errors(place, capsys):
    assert 'ships with mmfusion' in failing(models, ['remove', DEFAULT_MODEL], capsys)
    assert (SHIPPED / f'{DEFAULT_MODEL}.json').exists()
    assert 'cannot be read from none.txt' in failing(
        models, ['add', 'epoch_1.pth', '--as', 'checkpoint', '--license-file', 'none.txt'], capsys
    )
    assert '--license' in failing(models, ['add', 'epoch_1.pth', '--as', 'refusion'], capsys)
    assert 'checkpoint not found: none.pth' in failing(
        models, ['add', 'none.pth', '--as', 'refusion', '--license', 'x'], capsys
    )
    assert "no model 'LaplacianPyramidFuser'" in failing(
        fuse, ['vi.png', 'ir.png', '--model', 'LaplacianPyramidFuser'], capsys
    )
    assert 'not allowed with' in failing(fuse, ['vi.png', 'ir.png', '--model', 'tim', '--config', 'x.py'], capsys)


@pytest.mark.parametrize('script', ['fuse', 'models'])
def test_scripts_are_these_commands(repo_dir, script, monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', [script, '--help'])
    with pytest.raises(SystemExit) as error:
        runpy.run_path(str(repo_dir / 'tools' / f'{script}.py'), run_name='__main__')
    assert error.value.code == 0 and 'usage' in capsys.readouterr().out
