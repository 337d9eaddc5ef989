"""Streams through an exported file: frames as the model fuses them, pairing by time, what is written, without torch,
bad input.
"""

import json
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from without_torch import WITHOUT_TORCH

from mmfusion.apis import FusionInferencer
from mmfusion.cli.main import main
from mmfusion.datasets import DemoSequence
from mmfusion.export import export_model, exporting
from mmfusion.registration import Rig
from mmfusion.runtime import RuntimeModel, RuntimeResult, run_streams
from mmfusion.video import FrameWriter, FusedVideo, RenderedStream, open_stream, write_stream

for package in exporting.NEEDED:
    pytest.importorskip(package, reason=f'{package} is not installed: {exporting.INSTALL}')
SIZE = (64, 80)


@pytest.fixture(scope='module')
def model_file(tmp_path_factory):
    file = tmp_path_factory.mktemp('model') / 'average.onnx'
    export_model('AverageFuser', file)
    return file


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """Both streams without loss; the infrared one starts a frame later."""
    folder = tmp_path_factory.mktemp('videos')
    sequence = DemoSequence(SIZE, seed=1, night_ratio=0)
    for kind in ('visible', 'infrared'):
        write_stream(RenderedStream(sequence, kind, 6, 20), folder / f'{kind}.mkv')
    return [str(folder / f'{kind}.mkv') for kind in ('visible', 'infrared')]


def frames(path):
    return [frame.image for frame in open_stream(str(path))]


def expected(model_file, videos):
    model = RuntimeModel(model_file)
    return [
        model(visible[..., ::-1], cv2.cvtColor(infrared, cv2.COLOR_BGR2GRAY)).fused
        for visible, infrared in zip(*map(frames, videos))
    ]


def test_frames_are_those_of_the_model(model_file, videos, tmp_path, capsys):
    out = tmp_path / 'fused.mkv'
    main(['run', str(model_file), *videos, '--out', str(out), '--no-steady'])
    assert '6 frames fused by AverageFuser' in capsys.readouterr().out
    got = frames(out)
    assert len(got) == 6
    for picture, wanted in zip(got, expected(model_file, videos)):
        np.testing.assert_array_equal(picture[..., ::-1], wanted)
    main(['run', str(model_file), *videos, '--out', str(tmp_path / 'calm.mkv'), '--frames', '3'])
    calm = frames(tmp_path / 'calm.mkv')
    assert len(calm) == 3 and np.abs(calm[2].astype(int) - got[2]).max() > 0  # what stands still is smoothed


def test_process_without_torch(model_file, videos, tmp_path):
    folders = [tmp_path / name for name in ('vi', 'ir')]
    for folder, video in zip(folders, videos):
        folder.mkdir()
        for number, image in enumerate(frames(video)):
            cv2.imwrite(str(folder / f'{number:03d}.png'), image)
    for sources, options in ((videos, []), (folders, ['--video', '--fps', '20'])):
        out = tmp_path / f'out{len(options)}'
        command = ['run', model_file, *sources, '--out', out, '--no-steady', *options]
        done = subprocess.run([sys.executable, '-c', WITHOUT_TORCH, *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        written = sorted(out.glob('*.png'))
        assert len(written) == 6
        for file, wanted in zip(written, expected(model_file, videos)):
            np.testing.assert_array_equal(cv2.imread(str(file))[..., ::-1], wanted)


@pytest.fixture(scope='module')
def apart(tmp_path_factory):
    """Two streams and their rig: the infrared camera began 120 ms later and sees 8 pixels more on each side."""
    folder = tmp_path_factory.mktemp('apart')
    sequence = DemoSequence((96, 128), seed=1)
    write_stream(RenderedStream(sequence, 'visible', 75, 25), folder / 'visible.mkv')
    writer = FrameWriter(str(folder / 'infrared.mkv'), 25)
    for frame in RenderedStream(sequence, 'infrared', 72, 25, 0.12):
        writer.write(np.pad(frame.image[..., 0], 8, mode='edge'), frame.name)
    writer.finish()
    Rig(np.array([[1.0, 0, -8], [0, 1, -8], [0, 0, 1]]), 'translation', (96, 128), (112, 144)).save(folder / 'rig.yaml')
    return [str(folder / name) for name in ('visible.mkv', 'infrared.mkv', 'rig.yaml')]


def test_offset_and_registration_without_torch(model_file, apart, tmp_path):
    """As ``mmfusion video`` finds and fuses them; neither scipy nor mmengine is there."""
    *videos, rig = apart
    options = ['--registration', rig, '--offset', 'auto', '--max-offset', '0.5', '--no-steady', '--frames', '8']
    command = ['run', model_file, *videos, '--out', tmp_path / 'out', *options]
    done = subprocess.run([sys.executable, '-c', WITHOUT_TORCH, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    offset = float(re.search(r'offset ([+-][\d.]+) s', done.stdout)[1])
    assert abs(offset - 0.12) < 0.01
    fuse = FusionInferencer('AverageFuser', load=dict(registration=rig))
    with FusedVideo(*videos, fuse, offset='auto', max_offset=0.5, steady=False) as video:
        assert video.offset == pytest.approx(offset, abs=5e-4)
        wanted = [frame.view.fused for _, frame in zip(range(8), video)]
    for file, expected in zip(sorted((tmp_path / 'out').glob('*.png')), wanted, strict=True):
        difference = np.abs(cv2.imread(str(file))[..., ::-1].astype(int) - expected)
        assert difference.max() <= 1 and (difference > 0).mean() <= 1e-4


class Tasks:
    """A model with a detector and a segmentor, whose results are known."""

    def __init__(self, info):
        self.info = info

    def __call__(self, first, second, names, **options):
        boxes = np.float32([[1, 2, 30, 40], [5, 6, 7, 8]])
        classes = np.full(first.shape[:2], 3, np.uint8)
        return RuntimeResult(first, boxes, np.float32([0.9, 0.1]), np.array([0, 1]), classes)


def test_boxes_and_class_maps(videos, tmp_path):
    class Info:
        name = 'both'
        tasks = dict(det=dict(kind='detection', classes=['person']), seg=dict(kind='segmentation'))

    found = run_streams(Tasks(Info), *videos, tmp_path / 'fused.mkv', limit=2)
    assert found.frames == 2 and set(found.files) == {'fused', 'boxes', 'class_map'}
    rows = json.loads((tmp_path / 'fused_boxes.json').read_text())
    assert [row['frame'] for row in rows] == ['000000', '000001'] and rows[1]['time'] == pytest.approx(0.05, abs=1e-3)
    assert rows[0]['boxes'] == [dict(box=[1.0, 2.0, 30.0, 40.0], score=0.9, label='person')]
    maps = sorted((tmp_path / 'fused_classes').glob('*.png'))
    assert len(maps) == 2 and (cv2.imread(str(maps[0]), cv2.IMREAD_UNCHANGED) == 3).all()


def test_what_was_fused_before_ctrl_c_stays(videos, tmp_path):
    class Info:
        name, tasks = 'plain', {}

    def fuse(first, second, names, calls=[]):  # noqa: B006 - counts the frames
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return RuntimeResult(first)

    fuse.info = Info
    found = run_streams(fuse, *videos, tmp_path / 'fused.mkv')
    assert len(frames(tmp_path / 'fused.mkv')) == 2 and found.files


@pytest.mark.parametrize(
    'arguments,message',
    [
        (['{a}', '{b}', '--offset', '99'], 'has a partner in'),
        (['{a}', 'none.mp4'], 'none.mp4'),
        (['{a}', '{b}', '--out', 'fused.gif'], 'the ending must be one of'),
        (['{a}', '{b}', '--bits', '16'], 'videos have 8 bits'),
        (['{a}', '{b}', '--frames', '0'], '--frames must be above 0'),
        (['{a}', '{large}'], 'infrared.mkv 144x112; register them'),
        (['{a}', '{b}', '--registration', 'auto'], 'a video needs one transform for all frames'),
        (['{a}', '{b}', '--registration', 'none.yaml'], 'rig file none.yaml does not exist'),
        (['{a}', '{b}', '--registration', '{rig}'], 'the rig was made for'),
        (['{a}', '{b}', '--offset', 'often'], "a number of seconds or auto, got 'often'"),
        (['{a}', '{b}', '--offset', 'auto'], 'the offset cannot be estimated'),
        (['{b}', '{a}'], 'is a color picture, and the model takes a gray one'),
    ],
)
def test_bad_input(arguments, message, model_file, videos, apart, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    places = dict(zip(('{a}', '{b}', '{large}', '{rig}'), (*videos, *apart[1:])))
    with pytest.raises(SystemExit) as error:
        main(['run', str(model_file), *(places.get(part, part) for part in arguments)])
    assert error.value.code == 2 and message in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if path.is_file()]
