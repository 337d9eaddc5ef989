"""Frames and their times from files, folders and cameras, and what is no video."""

import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest
from variable_rate import set_times

from mmfusion.apis import FusionInferencer
from mmfusion.datasets import DemoSequence
from mmfusion.utils import UserError
from mmfusion.video import FrameWriter, FusedVideo, ReadAhead, RenderedStream, StreamLost, open_stream, write_stream
from mmfusion.video.streams import open_streams
from mmfusion.video.writing import open_writers

SIZE = (64, 80)


@pytest.fixture(scope='module')
def sequence():
    return DemoSequence(SIZE, seed=1, night_ratio=0)


@pytest.fixture
def video(tmp_path, sequence):
    path = tmp_path / 'a.mp4'
    assert write_stream(RenderedStream(sequence, 'visible', 12, 20), path) == 12
    return path


def test_a_file_gives_its_frames_and_times(video, sequence):
    stream = open_stream(str(video))
    frames = list(stream)
    assert (stream.count, stream.size, stream.live) == (12, (80, 64), False) and stream.fps == pytest.approx(20)
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(12) / 20, atol=1e-3)
    error = np.abs(frames[3].image.astype(int) - sequence.render('visible', 3 / 20)).mean()
    assert error < 8  # the codec loses some


def test_variable_rate(video):
    times = np.cumsum([0.0, 0.05, 0.05, 0.15, 0.05, 0.05, 0.05, 0.2, 0.05, 0.05, 0.05, 0.05])
    set_times(video, times)
    stream = open_stream(str(video))
    assert stream.fps == pytest.approx(20)  # lost frames do not count
    np.testing.assert_allclose([frame.time for frame in stream], times, atol=1e-3)


def test_ffv1_loses_nothing(tmp_path, sequence):
    write_stream(RenderedStream(sequence, 'visible', 4), tmp_path / 'a.mkv')
    for number, frame in enumerate(open_stream(str(tmp_path / 'a.mkv'))):
        np.testing.assert_array_equal(frame.image, sequence.render('visible', number / 25))


def test_numbers_of_a_folder_are_times(tmp_path):
    for number in (7, 8, 9, 11, 101):
        cv2.imwrite(str(tmp_path / f'frame{number}v.png'), np.full((20, 24), number, np.uint8))
    frames = list(open_stream(tmp_path, fps=10))
    assert [frame.image[0, 0, 0] for frame in frames] == [7, 8, 9, 11, 101]
    np.testing.assert_allclose([frame.time for frame in frames], [0, 0.1, 0.2, 0.4, 9.4])


def test_folders_share_their_numbers(tmp_path):
    for folder, numbers in (('a', (3, 4, 5)), ('b', (4, 5, 6)), ('c', (90, 91))):
        (tmp_path / folder).mkdir()
        for number in numbers:
            cv2.imwrite(str(tmp_path / folder / f'{number}.png'), np.zeros((20, 24), np.uint8))
    times = {
        pair: [[round(frame.time, 3) for frame in stream] for stream in open_streams(*(tmp_path / one for one in pair))]
        for pair in ('ab', 'ac')
    }
    assert times['ab'] == [[0, 0.04, 0.08], [0.04, 0.08, 0.12]]
    assert times['ac'][1] == [0, 0.04]


def test_what_is_no_video(tmp_path, video):
    (tmp_path / 'text.txt').write_text('no video at all\n' * 100)
    (tmp_path / 'empty.mp4').write_bytes(b'')
    (tmp_path / 'noise.mp4').write_bytes(bytes(range(256)) * 200)
    (tmp_path / 'cut.mp4').write_bytes(video.read_bytes()[:900])
    (tmp_path / 'folder').mkdir()
    cv2.imwrite(str(tmp_path / 'one.jpg'), np.zeros((20, 20), np.uint8))
    for name, message in {
        'text.txt': 'is no video that can be read',
        'empty.mp4': 'is empty',
        'noise.mp4': 'is no video that can be read',
        'cut.mp4': 'is no video that can be read',
        'absent.mp4': 'does not exist',
        'one.jpg': 'is an image',
        'folder': 'holds no image',
    }.items():
        with pytest.raises(UserError, match=message):
            open_stream(str(tmp_path / name))


class Capture:
    """A camera that gives so many frames and then none."""

    def __init__(self, left):
        self.left, self.released = left, False

    def isOpened(self):  # noqa: N802
        return True

    def get(self, key):
        return 0.0

    def read(self):
        self.left -= 1
        return self.left >= 0, np.full((20, 24, 3), self.left % 256, np.uint8)

    def release(self):
        self.released = True


def test_a_camera_that_vanishes(monkeypatch):
    monkeypatch.setattr(cv2, 'VideoCapture', lambda *args: Capture(5))
    stream = open_stream('0')
    assert stream.live and stream.fps == 25
    taken = []
    with pytest.raises(StreamLost, match=r'camera 0 gave no more frames after 5 \(is it still connected'):
        for frame in stream:
            taken.append(frame.time)
    assert len(taken) == 5 and taken == sorted(taken)


def test_a_camera_without_frames(monkeypatch):
    monkeypatch.setattr(cv2, 'VideoCapture', lambda *args: Capture(0))
    with pytest.raises(UserError, match='camera 0 gives no frame'):
        open_stream(0)


def test_a_camera_and_a_file(monkeypatch, tmp_path):
    cv2.imwrite(str(tmp_path / '1.png'), np.zeros((20, 24), np.uint8))
    capture = Capture(5)
    monkeypatch.setattr(cv2, 'VideoCapture', lambda *args: capture)
    with pytest.raises(UserError, match='camera 0 is live and .* is not'):
        open_streams('0', tmp_path)
    assert capture.released


def test_reading_ahead_hands_errors_on_and_stops(sequence):
    class Broken(RenderedStream):
        def __iter__(self):
            yield next(super().__iter__())
            raise UserError('broken')

    reader = ReadAhead(Broken(sequence, 'visible', 5))
    with pytest.raises(UserError, match='broken'):
        list(reader)
    reader.close()
    endless = ReadAhead(RenderedStream(sequence, 'infrared', 10**6), size=2)
    next(iter(endless))
    endless.close()
    assert endless.taken <= 5 and not endless.ended


def test_late_frames_of_a_camera_are_dropped(sequence):
    stream = RenderedStream(sequence, 'infrared', 10)
    stream.live = True
    reader = ReadAhead(stream, size=3)
    while reader.taken < 10:
        time.sleep(0.01)
    names = [frame.name for frame in reader]
    assert names[-1] == '000009' and reader.late == 10 - len(names) >= 6


def test_the_writer_refuses_what_cannot_be_written(tmp_path):
    for name, message in {'a.gif': 'the ending must be one of', 'a.mp4/b': 'cannot write into the folder'}.items():
        (tmp_path / 'a.mp4').write_bytes(b'')
        with pytest.raises(UserError, match=message):
            FrameWriter(tmp_path / name, 25)
    with pytest.raises(UserError, match='a codec is four letters'):
        FrameWriter(tmp_path / 'b.mp4', 25, codec='h2')


def test_a_codec_that_is_not_there(tmp_path):
    writer = FrameWriter(tmp_path / 'b.mp4', 25, codec='Zzzz')
    writer.write(np.zeros((16, 16), np.uint8), '0')
    with pytest.raises(UserError, match='cannot be written with the codec Zzzz'):
        writer.finish()
    assert not list(tmp_path.iterdir())


def test_sizes_that_change(tmp_path):
    writer = FrameWriter(tmp_path / 'b.mp4', 25)
    for side in (16, 32):
        writer.write(np.zeros((side, 16), np.uint8), '0')
    with pytest.raises(UserError, match='the size of the frames changes'):
        writer.finish()
    assert not list(tmp_path.iterdir())


def test_a_file_that_did_not_become_whole(tmp_path, monkeypatch):
    writer = FrameWriter(tmp_path / 'b.mp4', 25)
    writer.write(np.zeros((16, 16), np.uint8), '0')
    end = writer._end

    def cut():
        end()
        with open(writer._temporary, 'r+b') as file:
            file.truncate(60)  # as a full disk leaves it: OpenCV says nothing

    monkeypatch.setattr(writer, '_end', cut)
    with pytest.raises(OSError, match='did not become whole; is the disk full'):
        writer.finish()
    assert not list(tmp_path.iterdir())


def test_cameras_have_one_thread_each_after_their_offset_was_estimated(monkeypatch):
    """Two threads at one camera would take each other's frames, and one of them would outlive the video."""
    monkeypatch.setattr('mmfusion.video.aligning.LIVE_WINDOW', 2.0)
    sequence = DemoSequence((96, 128), seed=1)
    streams = [RenderedStream(sequence, camera, 70, 25) for camera in ('visible', 'infrared')]
    for stream in streams:
        stream.live = True
    monkeypatch.setattr('mmfusion.video.fusing.ReadAhead', lambda stream: ReadAhead(stream, size=100))
    before = set(threading.enumerate())
    with FusedVideo(*streams, FusionInferencer('AverageFuser'), offset='auto', max_offset=0.5) as video:
        next(iter(video))
        started = [thread for thread in threading.enumerate() if thread not in before]
        assert len([thread for thread in started if thread.name.startswith('decode')]) <= 2
        assert len(video.readers) == 2
    assert not [thread for thread in threading.enumerate() if thread not in before]


def test_threads_end_with_the_interpreter(tmp_path):
    """Nothing is closed here, while both threads are inside OpenCV: the process ends as if nothing had been open, and
    leaves no file.
    """
    source = tmp_path / 'a.mkv'
    write_stream(RenderedStream(DemoSequence((64, 80), seed=1), 'visible', 20, 10), source)
    program = (
        'import sys, numpy as np\n'
        'from mmfusion.video import FrameWriter, ReadAhead, open_stream\n'
        f'reader = ReadAhead(open_stream({str(source)!r}), size=2)\n'
        f'writer = FrameWriter({str(tmp_path / "b.mp4")!r}, 10)\n'
        'for frame in range(8):\n'
        '    writer.write(np.zeros((720, 960, 3), np.uint8), str(frame))\n'
        'next(iter(reader))\n'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, '')
    assert [path.name for path in tmp_path.iterdir()] == ['a.mkv']


def test_a_writer_that_cannot_begin_leaves_no_thread(tmp_path):
    before = set(threading.enumerate())
    with pytest.raises(UserError, match='the ending must be'):
        open_writers(dict(fused=tmp_path / 'a.mp4', panel=tmp_path / 'a.gif'), 10)
    assert set(threading.enumerate()) == before and not list(tmp_path.iterdir())
