"""Two streams fused into files: counts, panels, interruption, errors that leave nothing."""

import json

import cv2
import numpy as np
import pytest
from tiny_models import rtmdet, segmentor

from mmfusion.apis import FusionInferencer
from mmfusion.datasets import DemoSequence
from mmfusion.registration import Rig
from mmfusion.utils import UserError
from mmfusion.video import FrameClock, FusedVideo, RenderedStream, StreamLost, open_stream, record, write_stream
from mmfusion.video.drawing import draw_frame
from mmfusion.video.recording import remarks

SIZE = (64, 80)


@pytest.fixture(scope='module')
def sequence():
    return DemoSequence(SIZE, seed=1, night_ratio=0)


@pytest.fixture(scope='module')
def fuse():
    return FusionInferencer('AverageFuser')


def streams(sequence, frames=12, **second):
    return (
        RenderedStream(sequence, 'visible', frames, 20),
        RenderedStream(sequence, 'infrared', second.pop('frames', frames), 20, **second),
    )


def count(path):
    return len(list(open_stream(str(path))))


def test_a_video_with_a_panel_and_a_summary(sequence, fuse, tmp_path):
    seen = []
    with FusedVideo(*streams(sequence, frames=13, lost=0.2), fuse) as video:
        summary = record(video, tmp_path / 'out' / 'a.mkv', panel=True, see=seen.append, progress=False)
    frames = summary['frames']
    assert (frames['paired'], frames['dropped_first'], frames['filled']) == (10, 3, 3)
    assert count(tmp_path / 'out' / 'a.mkv') == 13 == count(tmp_path / 'out' / 'a_panel.mkv')  # as long as its source
    assert json.loads((tmp_path / 'out' / 'a.json').read_text()) == summary
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['a.json', 'a.mkv', 'a_panel.mkv']
    assert set(summary['rate']['milliseconds_per_frame']) >= {'decode first', 'network', 'encode fused'}
    written = [frame.image for frame in open_stream(str(tmp_path / 'out' / 'a.mkv'))]
    np.testing.assert_array_equal(written[0], seen[0].view.fused[..., ::-1])
    expected = fuse(sequence.render('visible', 0), sequence.render('infrared', 0), channel_order='bgr')[0].fused
    np.testing.assert_array_equal(written[0], expected)


def test_a_folder_gets_the_frames_by_name(sequence, fuse, tmp_path):
    for name, camera in (('vi', 'visible'), ('ir', 'infrared')):
        write_stream(RenderedStream(sequence, camera, 4), tmp_path / name)
    (tmp_path / 'ir' / '000002.png').unlink()
    with FusedVideo(tmp_path / 'vi', tmp_path / 'ir', fuse) as video:
        summary = record(video, tmp_path / 'fused', progress=False)
    assert sorted(path.name for path in (tmp_path / 'fused').iterdir()) == ['000000.png', '000001.png', '000003.png']
    assert 'frames of the first stream without a partner, left out: 1' in remarks(summary)


@pytest.mark.parametrize('stop', [KeyboardInterrupt, StreamLost])
def test_what_was_fused_until_an_interrupt_is_whole(stop, sequence, fuse, tmp_path):
    def see(frame):
        if frame.name == '000004':
            raise stop('camera 0 is gone')

    with FusedVideo(*streams(sequence), fuse) as video, pytest.raises(stop) as error:
        record(video, tmp_path / 'a.mp4', see=see, progress=False)
    said = str(error.value) + ''.join(getattr(error.value, '__notes__', ()))
    assert f'5 frames until then are in {tmp_path / "a.mp4"}' in said
    assert count(tmp_path / 'a.mp4') == 5
    assert json.loads((tmp_path / 'a.json').read_text())['stopped']
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.json', 'a.mp4']


def test_an_interrupt_before_the_first_frame_leaves_nothing(sequence, fuse, tmp_path, monkeypatch):
    def stop(pair):
        raise KeyboardInterrupt

    with FusedVideo(*streams(sequence), fuse) as video, pytest.raises(KeyboardInterrupt):
        monkeypatch.setattr(video, '_fuse', stop)
        record(video, tmp_path / 'a.mp4', progress=False)
    assert not list(tmp_path.iterdir())


def test_an_error_leaves_nothing_and_keeps_the_former_file(sequence, fuse, tmp_path):
    def see(frame):
        if frame.name == '000004':
            raise UserError('broken')

    (tmp_path / 'a.mp4').write_bytes(b'former')
    with FusedVideo(*streams(sequence), fuse) as video, pytest.raises(UserError, match='broken'):
        record(video, tmp_path / 'a.mp4', panel=True, see=see, progress=False)
    assert (tmp_path / 'a.mp4').read_bytes() == b'former' and len(list(tmp_path.iterdir())) == 1


def test_a_shorter_second_stream(sequence, fuse, tmp_path):
    with FusedVideo(*streams(sequence, frames=30, start=0.1), fuse) as video:
        video.streams[1].stamps = video.streams[1].stamps[:5]  # the rest is cut off
        summary = record(video, tmp_path / 'a.avi', progress=False)
    assert summary['frames']['paired'] == 5 == count(tmp_path / 'a.avi')
    assert summary['frames']['outside_first'] >= 3 and summary['left_over'] == 23
    assert any('goes on for 23 frames' in sentence for sentence in remarks(summary))


def test_streams_that_do_not_fit(sequence, fuse, tmp_path):
    other = RenderedStream(DemoSequence((64, 96), seed=1), 'infrared', 5)
    with pytest.raises(UserError, match='have 80x64 pixels.*96x64; register them'):
        FusedVideo(RenderedStream(sequence, 'visible', 5), other, fuse)
    with FusedVideo(*streams(sequence), fuse, offset=50) as video:
        with pytest.raises(UserError, match='no frame of .* has a partner .* at an offset of 50.000 s'):
            record(video, tmp_path / 'a.mp4', progress=False)
    with pytest.raises(UserError, match='has no detector and no segmentor'):
        FusedVideo(*streams(sequence), fuse, predict=True)
    with pytest.raises(UserError, match='one transform for all frames'):
        FusedVideo(*streams(sequence), FusionInferencer('AverageFuser', load=dict(registration='auto')))
    assert not list(tmp_path.iterdir())


def test_a_rig_brings_the_second_stream_onto_the_first(sequence, tmp_path):
    matrix = np.array([[2.0, 0, 0], [0, 2.0, 0], [0, 0, 1]])
    Rig(matrix, 'similarity', SIZE, (32, 40)).save(tmp_path / 'rig.yaml')

    class Half(RenderedStream):
        def __iter__(self):
            for frame in super().__iter__():
                yield frame._replace(image=cv2.resize(frame.image, (40, 32), interpolation=cv2.INTER_AREA)[..., None])

    second = Half(sequence, 'infrared', 5)
    second.size = (40, 32)
    fuse = FusionInferencer('AverageFuser', load=dict(registration=str(tmp_path / 'rig.yaml')))
    with FusedVideo(RenderedStream(sequence, 'visible', 5), second, fuse) as video:
        frame = next(iter(video))
    whole = sequence.render('infrared', 0)[4:-4, 4:-4, 0].astype(int)
    assert frame.view.second.shape == SIZE and np.abs(frame.view.second[4:-4, 4:-4] - whole).mean() < 6


def test_the_clock_fills_gaps_and_bears_with_trembling_stamps():
    clock = FrameClock(25)
    rng = np.random.default_rng(0)
    assert {clock.gap(k / 25 + rng.uniform(-0.01, 0.01)) for k in range(200)} == {0}
    assert clock.gap(210 / 25) == 10 and clock.gap(1000) == 0
    assert (clock.filled, clock.cut, clock.skipped) == (10, 1, 0)


def test_boxes_and_classes_are_drawn_on_all_three(sequence, tmp_path):
    detector = rtmdet()
    detector['test_cfg'].update(score_thr=0.0)  # untrained, it finds many boxes
    model = dict(type='JointCoupling', fuser=dict(type='AverageFuser'), tasks=dict(det=detector, seg=segmentor()))
    with pytest.warns(UserWarning, match='without weights'):
        fuse = FusionInferencer(dict(model=model))
    seen = []
    with FusedVideo(*streams(sequence, 3), fuse, predict=True) as video:
        summary = record(video, tmp_path / 'a.mkv', True, True, score_thr=0.0, see=seen.append, progress=False)
    assert set(summary['files']) == {'fused', 'boxes', 'panel'} and len(seen[0].view.boxes)
    fused, *sources = draw_frame(seen[0], score_thr=0.0)
    plain = draw_frame(seen[0]._replace(sample=None), score_thr=2.0)
    assert all((drawn != picture).any() for drawn, picture in zip([fused, *sources], plain))
    boxes = next(iter(open_stream(str(tmp_path / 'a_boxes.mkv')))).image
    np.testing.assert_array_equal(boxes, fused[..., ::-1])
