"""The wheel beside numpy and onnxruntime alone: `mmfusion run` fuses as FusionInferencer does, and other commands say
what is missing.
"""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmfusion.apis import FusionInferencer
from mmfusion.datasets import DemoSequence
from mmfusion.export import export_model, exporting
from mmfusion.registration import Rig

pytestmark = pytest.mark.slow

for package in exporting.NEEDED:
    pytest.importorskip(package, reason=f'{package} is not installed: {exporting.INSTALL}')
#: What ``pip install numpy onnxruntime`` brings, by the names in site-packages, and what picture files want beside it.
ARRAYS = ('numpy', 'numpy.libs', 'onnxruntime', 'flatbuffers', 'google', 'packaging')
PICTURES = ('cv2', 'opencv_python_headless.libs', 'PIL', 'pillow.libs')
MODEL = 'plain_conv_det'


@pytest.fixture(scope='module')
def environment(built, tmp_path_factory):
    """Gives a command in a virtual environment that holds the wheel and as many of the packages of this one as are
    named.
    """
    folder = tmp_path_factory.mktemp('environment')
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', folder], check=True, timeout=120)
    site = next((folder / 'lib').glob('python3.*')) / 'site-packages'
    install = [sys.executable, '-m', 'pip', '--python', folder / 'bin' / 'python', 'install', '-q', '--no-deps']
    subprocess.run([*install, '--no-index', next(built.glob('*.whl'))], check=True, timeout=300)
    clean = {name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'VIRTUAL_ENV')}

    def run(*arguments, packages=ARRAYS):
        for name in packages:
            for source in {Path(sysconfig.get_path(kind)) / name for kind in ('purelib', 'platlib')}:
                if source.exists() and not (site / name).exists():
                    (site / name).symlink_to(source)
        return subprocess.run(
            [folder / 'bin' / 'mmfusion', *map(str, arguments)], env=clean, capture_output=True, text=True, timeout=300
        )

    return run


@pytest.fixture(scope='module')
def pairs(repo_dir, tmp_path_factory):
    """Two rendered pairs, two real ones where they are at hand, and the exported model."""
    folder = tmp_path_factory.mktemp('pairs')
    real = repo_dir.parent / 'shared' / 'data' / 'RoadScene'
    sequence = DemoSequence((96, 130), seed=1)
    for kind, modality in (('vi', 'visible'), ('ir', 'infrared')):
        (folder / kind).mkdir()
        for number in range(2):
            cv2.imwrite(str(folder / kind / f'{number}.png'), sequence.render(modality, number))
        for file in sorted((real / kind).glob('*.jpg'))[:2]:
            (folder / kind / file.name).symlink_to(file)
    export_model(MODEL, folder / 'model.onnx')
    return folder


def test_fuses_as_the_network_does(environment, pairs, tmp_path):
    names = sorted(path.name for path in (pairs / 'vi').iterdir())
    read = {kind: [cv2.imread(str(pairs / kind / name), -1) for name in names] for kind in ('vi', 'ir')}
    fuse = FusionInferencer(MODEL)
    wanted = [fuse(str(pairs / 'vi' / name), str(pairs / 'ir' / name))[0].fused for name in names]

    arrays = [tmp_path / f'{kind}.npy' for kind in ('vi', 'ir')]
    for file, kind in zip(arrays, read):
        np.save(file, read[kind][0][..., ::-1] if read[kind][0].ndim == 3 else read[kind][0])
    done = environment('run', pairs / 'model.onnx', *arrays, '--out', tmp_path / 'fused.npy')
    assert done.returncode == 0, done.stderr
    done = environment('run', pairs / 'model.onnx', pairs / 'vi', pairs / 'ir', '--out', tmp_path / 'none')
    assert done.returncode == 2 and 'pip install opencv-python-headless pillow' in done.stderr
    done = environment('fuse', arrays[0], arrays[1])
    assert done.returncode == 2 and 'without it there is `mmfusion run`' in done.stderr

    out = tmp_path / 'fused'
    done = environment(
        'run', pairs / 'model.onnx', pairs / 'vi', pairs / 'ir', '--out', out, packages=ARRAYS + PICTURES
    )
    assert done.returncode == 0 and f'{len(names)} of {len(names)} pairs fused' in done.stdout, done.stderr
    for name, expected in zip(names, wanted):
        got = cv2.imread(str(out / f'{Path(name).stem}.png'), -1)
        got = got if got.ndim == 2 else got[..., ::-1]
        difference = np.abs(got.astype(int) - expected)
        assert got.shape == expected.shape and difference.max() <= 1 and (difference > 0).mean() <= 1e-4
    first = cv2.imread(str(out / f'{Path(names[0]).stem}.png'), -1)
    np.testing.assert_array_equal(np.load(tmp_path / 'fused.npy'), first if first.ndim == 2 else first[..., ::-1])


def test_registers_by_a_rig(environment, pairs, tmp_path):
    """With PyYAML beside the others, and a message that names it without."""
    first, second = (pairs / kind / '0.png' for kind in ('vi', 'ir'))
    rig, out = tmp_path / 'rig.yaml', tmp_path / 'fused.png'
    Rig(np.array([[1.01, 0, -3], [0, 1.01, 2], [0, 0, 1]]), 'similarity', (96, 130), (96, 130)).save(rig)
    command = 'run', pairs / 'model.onnx', first, second, '--out', out, '--registration'
    done = environment(*command, rig, packages=ARRAYS + PICTURES)
    assert done.returncode == 2 and 'pip install opencv-python-headless pillow pyyaml' in done.stderr
    done = environment(*command, rig, packages=ARRAYS + PICTURES + ('yaml', '_yaml'))
    assert done.returncode == 0, done.stderr
    (expected,) = FusionInferencer(MODEL, load=dict(registration=str(rig)))(first, second, return_images=True)
    difference = np.abs(cv2.imread(str(out))[..., ::-1].astype(int) - expected.fused)
    assert difference.max() <= 1 and (difference > 0).mean() <= 1e-4
    done = environment(*command, 'auto')
    assert done.returncode == 2 and 'estimating a registration needs scipy' in done.stderr
