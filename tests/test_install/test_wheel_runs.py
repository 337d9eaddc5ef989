"""The installed wheel at work: from an empty folder with ``data/`` linked, LLVIP's light config is trained and
tested.
"""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import cv2
import pytest
import rendered_sets

pytestmark = pytest.mark.slow

#: One epoch of one step; the pictures keep the size that the config asks for.
SHORT = [
    'train_cfg.max_epochs=1',
    'train_dataloader.num_workers=0',
    'val_dataloader.num_workers=0',
    'test_dataloader.num_workers=0',
]


@pytest.fixture(scope='module')
def environment(built, tmp_path_factory):
    """A fresh virtual environment with the wheel, which sees the other packages of this one but not this checkout."""
    folder = tmp_path_factory.mktemp('environment')
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', folder / 'venv'], check=True, timeout=120)
    packages = folder / 'packages'
    packages.mkdir()
    for path in {Path(sysconfig.get_path(kind)) for kind in ('purelib', 'platlib')}:
        for entry in path.iterdir():
            if 'mmfusion' not in entry.name:
                (packages / entry.name).symlink_to(entry)
    site = next((folder / 'venv' / 'lib').glob('python3.*')) / 'site-packages'
    (site / 'packages.pth').write_text(f'{packages}\n')
    install = [
        sys.executable,
        '-m',
        'pip',
        '--python',
        folder / 'venv' / 'bin' / 'python',
        'install',
        '-q',
        '--no-index',
        next(built.glob('*.whl')),
    ]
    done = subprocess.run(
        install, capture_output=True, text=True, timeout=300, check=False
    )  # its dependencies are looked for, and found
    assert done.returncode == 0, done.stderr
    return folder / 'venv' / 'bin'


@pytest.fixture(scope='module')
def mmfusion(environment, tmp_path_factory):
    """Runs the installed command in an empty folder with ``data/`` linked."""
    data, folder = tmp_path_factory.mktemp('sets'), tmp_path_factory.mktemp('empty')
    rendered_sets.llvip(data, dict(train=4, test=2), size=(480, 640))
    (folder / 'data').symlink_to(data)
    clean = {name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'VIRTUAL_ENV')}

    def run(*arguments, returncode=0):
        done = subprocess.run(
            [environment / 'mmfusion', *arguments],
            cwd=folder,
            env=clean,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == returncode, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout + done.stderr

    run.folder, run.environment = folder, environment.parent
    return run


def test_the_wheel_is_what_runs(mmfusion, repo_dir):
    text = mmfusion('info')
    assert (
        f' in {mmfusion.environment}' in text.splitlines()[0]
        and f' in {mmfusion.environment}' in text[text.index('\nconfigs ') :]
    )
    assert str(repo_dir) not in text


def test_train_and_test_a_config_by_name(mmfusion):
    text = mmfusion('train', 'moe_fusion_llvip_light', '--cfg-options', *SHORT)
    work = mmfusion.folder / 'work_dirs' / 'moe_fusion_llvip_light'
    assert 'training done' in text and 'coco/bbox_mAP' in text and (work / 'epoch_1.pth').is_file()
    text = mmfusion(
        'test',
        'moe_fusion_llvip_light',
        str(work / 'epoch_1.pth'),
        '--cfg-options',
        SHORT[-1],
        '--per-image',
        'images.csv',
    )
    assert 'test done' in text and 'fusion/SSIM' in text
    assert sorted(path.name for path in (work / 'fused' / 'test').glob('*.png')) == ['190001.png', '190002.png']
    assert cv2.imread(str(work / 'fused' / 'test' / '190001.png')).shape == (480, 640, 3)
    assert len((mmfusion.folder / 'images.csv').read_text().splitlines()) >= 3
    assert sorted(path.name for path in mmfusion.folder.iterdir()) == ['data', 'images.csv', 'work_dirs']


def test_fuse_score_and_the_nearest_name(mmfusion):
    mmfusion('fuse', 'data/LLVIP/visible/test', 'data/LLVIP/infrared/test', '--out', 'fused')
    text = mmfusion(
        'score',
        'fused',
        'data/LLVIP/visible/test',
        'data/LLVIP/infrared/test',
        '--metrics',
        'EN',
        'SSIM',
        '--workers',
        '1',
    )
    assert '2 of 2 fused images scored' in text
    assert "Did you mean 'moe_fusion_llvip_light'?" in mmfusion('train', 'moe_fusion_lvip_light', returncode=2)
