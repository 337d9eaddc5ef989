"""mmfusion.runtime and mmfusion run: without torch, equal to FusionInferencer, tiles, depths, folders, and bad
input.
"""

import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from without_torch import WITHOUT_TORCH

from mmfusion.apis import FusionInferencer
from mmfusion.cli.main import main
from mmfusion.export import export_model, exporting
from mmfusion.models.fusers import PlainConvFuser
from mmfusion.runtime import RuntimeModel
from mmfusion.runtime.tiling import Cutting, run_tiled, tile_starts
from mmfusion.utils import UserError

for package in exporting.NEEDED:
    pytest.importorskip(package, reason=f'{package} is not installed: {exporting.INSTALL}')


@pytest.fixture(scope='module')
def fuser():
    torch.manual_seed(0)
    fuser = PlainConvFuser(width=4, depth=2, rule='maximum').eval()
    with torch.no_grad():
        for parameter in fuser.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return fuser


@pytest.fixture(scope='module')
def model_file(fuser, tmp_path_factory):
    file = tmp_path_factory.mktemp('model') / 'plain.onnx'
    export_model(fuser, file)
    return file


@pytest.fixture(scope='module')
def float_file(tmp_path_factory):
    file = tmp_path_factory.mktemp('float') / 'average.onnx'
    export_model('AverageFuser', file, input='float32', output='float32')
    return file


def pictures(height=45, width=61, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    visible = (
        120 + 80 * np.sin(x / 9)[..., None] * np.cos(y / 7)[..., None] + rng.normal(0, 8, (height, width, 3))
    ).clip(0, 255)
    infrared = (90 + 90 * (np.hypot(y - 20, x - 30) < 12) + rng.normal(0, 4, (height, width))).clip(0, 255)
    return visible.astype(np.uint8), infrared.astype(np.uint8)


@pytest.fixture
def folders(tmp_path):
    for name, seed in (('a', 1), ('b', 2)):
        for folder, picture in zip(('vi', 'ir'), pictures(seed=seed)):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f'{name}.png'), picture[..., ::-1] if picture.ndim == 3 else picture)
    return tmp_path


def test_equals_the_inferencer(model_file, fuser):
    run, fuse = RuntimeModel(model_file), FusionInferencer(fuser)
    visible, infrared = pictures()
    gray = visible[..., 1]
    for first, second in (
        (visible, infrared),
        (visible, np.repeat(infrared[..., None], 3, 2)),
        (gray, infrared),
        (np.repeat(gray[..., None], 3, 2), infrared),
        *[pictures(16, 16, seed) for seed in range(2)],
    ):
        expected, got = fuse(first, second)[0].fused, run(first, second).fused
        assert got.shape == expected.shape and got.dtype == np.uint8
        difference = np.abs(got.astype(int) - expected)
        assert difference.max() <= 1 and (difference > 0).mean() <= max(1e-4, 1.5 / difference.size)


def test_process_without_torch(model_file, folders):
    done = subprocess.run(
        [
            sys.executable,
            '-c',
            WITHOUT_TORCH,
            'run',
            model_file,
            folders / 'vi',
            folders / 'ir',
            '--out',
            folders / 'out',
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert '2 of 2 pairs fused by PlainConvFuser' in done.stdout
    for name, seed in (('a', 1), ('b', 2)):
        expected = RuntimeModel(model_file)(*pictures(seed=seed)).fused
        np.testing.assert_array_equal(cv2.imread(str(folders / 'out' / f'{name}.png'))[..., ::-1], expected)


@pytest.mark.parametrize('deep', [False, True])
def test_registration_by_a_rig(deep, model_file, fuser, float_file, tmp_path):
    """The inferencer brings them onto each other in the same way; neither torch nor scipy is there."""
    from mmfusion.registration import Rig

    first, second = pictures()
    wide = np.roll(np.pad(second, ((5, 9), (7, 3)), mode='edge'), 3, axis=1)
    if deep:
        wide = wide.astype(np.uint16) * 200 + 100
    for name, picture in (('a', first[..., ::-1]), ('b', wide)):
        cv2.imwrite(str(tmp_path / f'{name}.png'), picture)
    height, width = first.shape[:2]
    matrix = np.array([[1.02, 0.01, -12.0], [-0.01, 1.02, -3], [0, 0, 1]])
    Rig(matrix, 'similarity', (height, width), (height + 14, width + 10)).save(tmp_path / 'rig.yaml')
    file, extra = (float_file, ['--bits', '16']) if deep else (model_file, [])
    files = [tmp_path / name for name in ('a.png', 'b.png')]
    command = ['run', file, *files, '--registration', tmp_path / 'rig.yaml', '--out', tmp_path / 'out.png', *extra]
    done = subprocess.run([sys.executable, '-c', WITHOUT_TORCH, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    fuse = FusionInferencer('AverageFuser' if deep else fuser, load=dict(registration=str(tmp_path / 'rig.yaml')))
    (expected,) = fuse(*files, return_images=True, bit_depth=16 if deep else 8)
    got = cv2.imread(str(tmp_path / 'out.png'), cv2.IMREAD_UNCHANGED)
    got = got[..., ::-1] if got.ndim == 3 else got
    difference = np.abs(got.astype(int) - expected.fused)
    assert got.dtype == expected.fused.dtype and difference.max() <= (2 if deep else 1)
    assert deep or (difference > 0).mean() <= 1e-4


def test_sixteen_bits(float_file, tmp_path):
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 2**14, (20, 30), dtype=np.uint16) for _ in range(2))
    for name, picture in (('a', first), ('b', second)):
        cv2.imwrite(str(tmp_path / f'{name}.png'), picture)
    files = [str(tmp_path / name) for name in ('a.png', 'b.png', 'out.png')]
    main(['run', str(float_file), *files[:2], '--out', files[2], '--bits', '16', '--bit-depth', '14'])
    got = cv2.imread(files[2], cv2.IMREAD_UNCHANGED)
    assert got.dtype == np.uint16 and got.ndim == 2
    expected = (first.astype(float) + second) / 2 / (2**14 - 1) * 65535
    assert np.abs(got - expected).max() <= 1
    eight = RuntimeModel(float_file)(first, second, bit_depth=14).fused
    assert eight.dtype == np.uint8 and np.abs(eight - expected / 257).max() <= 0.51


def test_arrays_of_numpy_files(float_file, tmp_path):
    first, second = (picture / np.float32(255) for picture in (pictures()[0], pictures()[1]))
    np.save(tmp_path / 'a.npy', first.astype(np.float32))
    np.save(tmp_path / 'b.npy', second.astype(np.float32))
    main(['run', str(float_file), str(tmp_path / 'a.npy'), str(tmp_path / 'b.npy'), '--out', str(tmp_path / 'c.npy')])
    got = np.load(tmp_path / 'c.npy')
    np.testing.assert_array_equal(
        got, RuntimeModel(float_file)(first.astype(np.float32), second.astype(np.float32)).fused
    )


def test_tiles(float_file):
    first, second = pictures(150, 190)
    whole = RuntimeModel(float_file)
    # a rule that works pixel by pixel does not see the tiles
    for options in {}, dict(overlap=16):
        np.testing.assert_array_equal(whole(first, second).fused, whole(first, second, tile=64, **options).fused)


def test_tiles_are_the_whole_picture_where_the_network_allows(model_file, fuser, tmp_path):
    """Whatever the sides, and where a network pads and halves, tiles begin where it does."""
    run = RuntimeModel(model_file)
    reach, multiple = run.info.reach, run.info.multiple
    assert reach == fuser.reach and multiple == fuser.tile_multiple() > 1
    first, second = pictures(151, 190)
    whole = run(first, second).fused.astype(int)
    near, equal = (run(first, second, tile=96, **options).fused for options in (dict(overlap=2), {}))
    difference = np.abs(whole - equal)
    assert difference.max() <= 1 and (difference > 0).mean() <= 1e-4
    assert 0 < np.abs(whole - near).mean() < 2
    files = [str(tmp_path / name) for name in ('a.png', 'b.png', 'c.png')]
    for file, picture in zip(files, (first[..., ::-1], second)):
        cv2.imwrite(file, picture)
    main(['run', str(model_file), *files[:2], '--out', files[2], '--tile', '96'])
    np.testing.assert_array_equal(cv2.imread(files[2])[..., ::-1], equal)
    with pytest.raises(UserError, match=f'needs tiles of at least {2 * reach + 2 + 2 * multiple} pixels'):
        run(first, second, tile=2 * reach)
    run.info = replace(run.info, reach=None, multiple=1)  # as of a network that looks at all of the picture
    assert 0 < np.abs(whole - run(first, second, tile=96).fused).mean() < 2


def test_tiles_cover_the_picture():
    seen = []
    fused = run_tiled(
        lambda a, b: seen.append(a.shape) or (a + b) / 2,
        *(np.full((37, 90, 1), value, np.float32) for value in (0.2, 0.6)),
        Cutting(32, 8),
    )
    np.testing.assert_allclose(fused, 0.4, rtol=1e-6)
    assert set(seen) == {(32, 32, 1)} and len(seen) == 2 * 4
    assert tile_starts(37, Cutting(32, 8)) == ([0, 5], 32) and tile_starts(32, Cutting(32, 8)) == ([0], 32)


@pytest.mark.parametrize(
    'arguments,message',
    [
        (['{m}', 'vi', 'none'], 'none does not exist'),
        (['{m}', 'vi', 'ir/a.png'], 'are a file and a folder'),
        (['{m}', 'vi/a.png', 'color.png'], 'color.png is a color picture, and the model takes a gray one'),
        (['{m}', 'vi/a.png', 'small.png'], 'vi/a.png and small.png differ in size, 61x45 and 40x30 pixels'),
        (['{m}', 'tiny.png', 'tiny.png'], 'tiny.png has 15x12 pixels, which are too few'),
        (['{m}', 'vi/a.png', 'deep.png'], 'deep.png has values of type uint16, and the model takes 8 bits'),
        (['{m}', 'vi/a.png', 'ir/a.png', '--bits', '16'], 'gives 8 bits; export it with --output float32'),
        (['{m}', 'vi/a.png', 'ir/a.png', '--tile', '8'], 'tiles must have at least 16 pixels'),
        (
            ['{m}', 'vi/a.png', 'ir/a.png', '--tile', '64', '--overlap', '40'],
            'the overlap of tiles of 64 pixels must lie between 1 and 32, got 40',
        ),
        (['none.onnx', 'vi', 'ir'], 'there is no file none.onnx'),
        (['damaged.onnx', 'vi', 'ir'], 'damaged.onnx cannot be run'),
        (['foreign.onnx', 'vi', 'ir'], 'foreign.onnx was not made by mmfusion export'),
        (['{m}', 'vi/a.png', 'ir/a.png', '--registration', 'none.yaml'], 'rig file none.yaml does not exist'),
        (['{m}', 'vi/a.png', 'ir/a.png', '--registration', 'auto'], 'vi/a.png and ir/a.png: '),
        (['{m}', 'vi', 'more'], '1 pictures have no partner of the same name: c'),
        (
            ['{m}', 'vi', 'other'],
            'no pair of pictures with the same name (.png, .jpg, .jpeg, .bmp, .tif, .tiff, .npy); '
            'without partner: a, b, z.',
        ),
    ],
)
def test_bad_input(arguments, message, model_file, folders, monkeypatch, capsys):
    import onnx
    from onnx import TensorProto, helper

    monkeypatch.chdir(folders)
    cv2.imwrite('color.png', pictures(seed=5)[0])
    cv2.imwrite('small.png', np.zeros((30, 40), np.uint8))
    cv2.imwrite('tiny.png', np.zeros((12, 15), np.uint8))
    cv2.imwrite('deep.png', np.zeros((45, 61), np.uint16))
    for folder in ('more', 'other'):
        (folders / folder).mkdir()
    cv2.imwrite('other/z.png', pictures()[1])
    for name in 'abc':
        cv2.imwrite(f'more/{name}.png', pictures()[1])
    (folders / 'damaged.onnx').write_bytes(model_file.read_bytes()[:2000])
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in 'xy']
    graph = helper.make_graph([helper.make_node('Identity', ['x'], ['y'])], 'g', value[:1], value[1:])
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid('', 18)]), 'foreign.onnx')
    with pytest.raises(SystemExit) as error:
        main(['run', *(part.replace('{m}', str(model_file)) for part in arguments), '--out', 'out.png'])
    assert error.value.code == 2 and message in capsys.readouterr().err
    assert not (folders / 'out.png').exists()


def test_bad_pairs_can_be_skipped(model_file, folders, capsys):
    (folders / 'ir' / 'b.png').write_bytes(b'no picture')
    out = folders / 'out'
    arguments = ['run', str(model_file), str(folders / 'vi'), str(folders / 'ir'), '--out', str(out)]
    main([*arguments, '--skip-bad'])
    printed = capsys.readouterr().out
    assert (
        'b is skipped' in printed
        and '1 of 2 pairs fused' in printed
        and [file.name for file in out.iterdir()] == ['a.png']
    )
    main([*arguments, '--skip-bad', '--skip-existing'])
    assert '0 of 2 pairs fused' in capsys.readouterr().out


def test_providers(model_file):
    with pytest.raises(UserError, match='this onnxruntime has no NoSuchProvider; it has'):
        RuntimeModel(model_file, providers=['NoSuchProvider'])
