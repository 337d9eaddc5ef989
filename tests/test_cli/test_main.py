"""The command ``mmfusion``: what it offers, what it loads, and that programs of ``tools`` are the same."""

import csv
import os
import re
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest

import mmfusion
from mmfusion.cli.main import COMMANDS, CONVERTERS, main
from mmfusion.utils import UserError
from mmfusion.utils.config import load_config
from mmfusion.utils.shipped import config_names, find_config, shipped_config

BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('mmengine', 'mmcv', 'mmdet', 'mmseg'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Blocked())
"""


def python(code, folder, *arguments):
    environment = {**os.environ, 'PYTHONPATH': str(Path(mmfusion.__file__).parents[1])}
    command = [sys.executable, '-c', code, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_alone_it_says_what_there_is(capsys):
    main([])
    alone = capsys.readouterr().out
    main(['--help'])
    assert capsys.readouterr().out == alone
    for name, command in COMMANDS.items():
        assert re.search(rf'^  {name} +{re.escape(command.help)}$', alone, re.M)
    main(['convert'])
    text = capsys.readouterr().out
    assert all(f'  {name} ' in text for name in CONVERTERS)


@pytest.mark.parametrize('name', [*COMMANDS, *(f'convert {name}' for name in CONVERTERS)])
def test_every_command_explains_itself(name, capsys):
    if name == 'convert':
        main(['convert', '--help'])
    else:
        with pytest.raises(SystemExit) as ended:
            main([*name.split(), '--help'])
        assert ended.value.code == 0
    assert f'usage: mmfusion {name}' in capsys.readouterr().out


@pytest.mark.parametrize(
    'arguments,message',
    [
        (['scroe'], "unknown command 'scroe'; did you mean 'score'?"),
        (['convert', 'tdfussion'], "unknown command 'tdfussion'; did you mean 'tdfusion'?"),
        (['xyz'], "unknown command 'xyz'; there are fuse, train"),
        (['train', 'moe_fusion_lvip'], "config not found: moe_fusion_lvip. Did you mean 'moe_fusion_llvip'?"),
    ],
)
def test_the_nearest_is_suggested(arguments, message, capsys):
    arguments_before = list(sys.argv)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and message in capsys.readouterr().err
    assert sys.argv == arguments_before


@pytest.mark.parametrize(
    'code',
    [
        'import mmfusion',
        'from mmfusion.cli.main import main; main(["--help"])',
        'from mmfusion.cli.main import main; main(["configs"])',
        'import mmfusion.apis, mmfusion.evaluation, mmfusion.model_zoo',
    ],
)
def test_nothing_heavy_is_loaded(code, tmp_path):
    done = python(
        f'{code}\nimport sys; print([name for name in ("torch", "numpy", "cv2", "mmengine", "mmcv") '
        f'if name in sys.modules])',
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == '[]'


def test_tools_call_the_same_functions(repo_dir):
    modules = {command.module for command in (*COMMANDS.values(), *CONVERTERS.values())} - {
        'convert',
        'configs',
        'info',
    }
    called = set()
    for path in [*(repo_dir / 'tools').rglob('*.py'), *(repo_dir / 'demo').glob('*.py')]:
        name = re.search(r'^from mmfusion\.cli\.(\w+) import main$', path.read_text(), re.M)
        assert name, f'{path} holds logic of its own'
        assert runpy.run_path(str(path))['main'] is import_module(f'mmfusion.cli.{name[1]}').main
        called.add(name[1])
    assert modules <= called


def test_configs_go_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = shipped_config('tim_demo.py')
    for name in ('tim_demo', 'tim_demo.py', 'configs/tim_demo.py', 'configs/tim_demo'):
        assert find_config(name) == shipped
    assert 'model' in load_config('tim_demo') and 'tim_demo' in config_names()
    (tmp_path / 'tim_demo.py').write_text('model = dict(type="FusionOnly")\n')
    assert find_config('tim_demo.py') == Path('tim_demo.py')  # a file of one's own wins
    with pytest.raises(UserError, match='config not found: elsewhere/tim_demo'):
        find_config('elsewhere/tim_demo')


def test_score_and_metrics_without_the_openmmlab_packages(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ('fused', 'vi', 'ir'):
        (tmp_path / folder).mkdir()
        for name in ('a', 'b'):
            cv2.imwrite(str(tmp_path / folder / f'{name}.png'), rng.integers(0, 256, (40, 48), dtype=np.uint8))
    done = python(
        f'{BLOCKED}\nfrom mmfusion.cli.main import main; main()',
        tmp_path,
        'score',
        'fused',
        'vi',
        'ir',
        '--metrics',
        'EN',
        'SSIM',
        '--workers',
        '1',
        '--out',
        'out',
    )
    assert done.returncode == 0, done.stderr
    assert '2 of 2 fused images scored' in done.stdout
    with open(tmp_path / 'out' / 'default_images.csv', newline='') as file:
        rows = list(csv.reader(file))
    assert len(rows) == 3 and 'EN' in rows[0]
    done = python(
        f'{BLOCKED}\nimport torch\nfrom mmfusion.evaluation.functional import entropy\nfrom '
        f'mmfusion.evaluation.protocols import '
        'evaluate_metrics\nimage = torch.arange(256.).view(1, 1, 16, 16)\nprint(entropy(image).item(), '
        'evaluate_metrics(["EN"], image, image, image)["EN"].item())',
        tmp_path,
    )
    assert done.returncode == 0 and done.stdout.split() == ['8.0', '8.0'], done.stderr


def test_info_without_the_openmmlab_packages(tmp_path):
    done = python(f'{BLOCKED}\nfrom mmfusion.cli.main import main; main(["info"])', tmp_path)
    assert done.returncode == 0, done.stderr
    rows = dict(re.findall(r'^(\S+(?: ops)?) +(.*)$', done.stdout, re.M))
    assert (
        rows['mmfusion'].startswith(mmfusion.__version__)
        and 'not importable' in rows['mmcv ops']
        and {'torch', 'configs', 'models'} <= set(rows)
    )


def test_fuse_without_arguments(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(['fuse', '--device', 'cpu'])
    text, folder = capsys.readouterr().out, tmp_path / 'mmfusion_demo'
    visible, infrared, fused = (
        cv2.imread(str(folder / f'{name}.png'), cv2.IMREAD_UNCHANGED) for name in ('visible', 'infrared', 'fused')
    )
    assert visible.shape == fused.shape == (240, 320, 3) and infrared.shape == (240, 320)
    assert not np.array_equal(fused, visible)
    assert str(folder / 'fused.png') in text and 'What to type next' in text
    suggested = re.findall(r'^  mmfusion ([\w-]+)', text, re.M)
    assert suggested and set(suggested) <= set(COMMANDS)


def test_fuse_with_one_source(capsys):
    with pytest.raises(SystemExit):
        main(['fuse', 'a.png'])
    assert 'give two sources, or none to fuse a demo pair' in capsys.readouterr().err


@pytest.mark.parametrize('unbuffered', ['', '1'])
def test_a_reader_that_leaves_early(unbuffered, tmp_path):
    """``mmfusion configs | head -1`` ends without a traceback."""
    environment = {**os.environ, 'PYTHONPATH': str(Path(mmfusion.__file__).parents[1]), 'PYTHONUNBUFFERED': unbuffered}
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, '-m', 'mmfusion', 'configs'],
        cwd=tmp_path,
        env=environment,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 141 and done.stderr == ''
