"""Sources of frames: video files, cameras, network streams and folders of images, each frame with its time.

OpenCV decodes them: it is there already, it gives the time stamps of the container (also of files with a variable
rate), and its wheels hold an LGPL build of FFmpeg. The wheels of PyAV, which would encode H.264 too, hold x264 and x265
under the GPL.
"""

import contextlib
import os
import re
import time
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Tuple, Union

os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')  # read once by OpenCV; errors of files are said by us

import cv2
import numpy as np

from mmfusion.fileio.image_reading import IMAGE_SUFFIXES, read_image
from mmfusion.utils.errors import MissingFileError, UserError

StreamLike = Union[str, Path, int, 'Stream']
NETWORK_TIMEOUT_MS = 10_000
DEFAULT_FPS = 25.0
_TEXT_FORMATS = ('.m3u8', '.sdp')  # text, and yet streams


class StreamLost(UserError):
    """A camera or network stream that gives no more frames. What was fused until then is kept."""


class Frame(NamedTuple):
    """One frame.

    Attributes:
        image: (H, W, 3) BGR or (H, W, 1); uint8, or what an image file has.
        time: Seconds on the clock of its stream.
        name: Name for files: the stem of an image file, otherwise its number from 0.
    """

    image: np.ndarray
    time: float
    name: str


class Stream:
    """Base of all sources; iterating gives the frames in order of time, once.

    Attributes:
        name: For messages.
        live: Whether frames come at their own pace and are lost when nobody takes them.
        fps: Nominal frames per second.
        count: Frames that the file or folder claims to hold, None where that is not known.
        size: (width, height) of the first frame.
    """

    name: str
    live: bool = False
    fps: float = DEFAULT_FPS
    count: Optional[int] = None
    size: Tuple[int, int] = (0, 0)

    @property
    def pixels(self) -> str:
        """:attr:`size` for messages, as ``640x480``."""
        return '{}x{}'.format(*self.size)

    def __iter__(self) -> Iterator[Frame]:
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the file or the camera; safe to call twice."""

    def reopen(self) -> 'Stream':
        """The same source from its beginning; of a live one, from now."""
        raise NotImplementedError


class CaptureStream(Stream):
    """A video file, a camera or a URL, through ``cv2.VideoCapture``.

    A frame of a file has the time that the container says. A frame of a camera or a network stream has the time at
    which it came, by the monotonic clock of this machine, so that two cameras share one clock.

    Args:
        source: Path, URL, or number of a camera.
        fps: Frames per second in place of what the file says, for files without time stamps.

    Raises:
        UserError: There is no such file, it is no video or holds no frame, or the camera or URL gives no frame.
    """

    def __init__(self, source: Union[str, int], fps: Optional[float] = None) -> None:
        self.source, self._asked_fps = source, fps
        camera, url = isinstance(source, int), is_url(source)
        self.name = f'camera {source}' if camera else str(source)
        if not camera and not url:
            _check_video_file(str(source))
        with _silent():
            if camera:
                self.capture = cv2.VideoCapture(source)
            elif url:
                limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, NETWORK_TIMEOUT_MS]
                limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, NETWORK_TIMEOUT_MS]
                self.capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
            else:
                self.capture = cv2.VideoCapture(str(source), cv2.CAP_FFMPEG)
        if not self.capture.isOpened():
            raise UserError(f'{self.name} {"cannot be opened" if camera or url else _NO_VIDEO}; {_remedy(source)}')
        count = int(min(max(self.capture.get(cv2.CAP_PROP_FRAME_COUNT), 0), 1e9))
        self.live = camera or (url and count == 0)
        self.count = count if count and not self.live else None
        claimed = self.capture.get(cv2.CAP_PROP_FPS)
        claimed = claimed if 0.1 <= claimed <= 1000 else DEFAULT_FPS
        self.fps = fps or (claimed if camera or url else _usual_rate(str(source), claimed))
        self._last: Optional[float] = None
        self._taken = 0
        self._first = self._read()
        if self._first is None:
            self.close()
            raise UserError(f'{self.name} {"gives" if self.live else "holds"} no frame; {_remedy(source)}')
        self.size = self._first.image.shape[1::-1]

    def _read(self) -> Optional[Frame]:
        found, image = self.capture.read()
        if not found:
            return None
        now = time.monotonic() if self.live else self.capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if self._asked_fps and not self.live:
            now = self._taken / self.fps
        elif not self.live and (not 0 <= now < 1e9 or (self._last is not None and now == self._last)):
            now = 0.0 if self._last is None else self._last + 1 / self.fps  # a format without time stamps
        frame = Frame(image, now, f'{self._taken:06d}')
        self._taken, self._last = self._taken + 1, now
        return frame

    def __iter__(self) -> Iterator[Frame]:
        frame = self._first
        self._first = None
        while frame is not None:
            yield frame
            frame = self._read()
        if isinstance(self.source, int):
            raise StreamLost(f'{self.name} gave no more frames after {self._taken} (is it still connected?)')

    def close(self) -> None:
        self.capture.release()

    def reopen(self) -> 'CaptureStream':
        if self.live:
            return self
        return CaptureStream(self.source, self._asked_fps)


class FolderStream(Stream):
    """The images of a folder as frames, in the order of the numbers at the end of their names.

    A number that is missing is a frame that is missing: time goes by the numbers, one step (the usual difference of
    neighbors) per frame. Names without numbers are taken in alphabetical order, without gaps.

    Args:
        folder: Folder of png, jpg, bmp or tif files.
        fps: Frames per second.
        origin: Number that is time 0; the first one when missing.

    Raises:
        UserError: There is no such folder, or no image in it.
    """

    def __init__(self, folder: Union[str, Path], fps: Optional[float] = None, origin: Optional[int] = None) -> None:
        self.folder, self.name, self.fps = str(folder), str(folder), fps or DEFAULT_FPS
        names = sorted(name for name in os.listdir(self.folder) if Path(name).suffix.lower() in IMAGE_SUFFIXES)
        if not names:
            raise UserError(f'folder {self.folder} holds no image (png, jpg, bmp or tif)')
        numbers = [_number(name) for name in names]
        if None in numbers or len(set(numbers)) < len(numbers):
            numbers = list(range(len(names)))
        order = np.argsort(np.array(numbers, dtype=object), kind='stable')
        self.files: List[str] = [os.path.join(self.folder, names[index]) for index in order]
        self.numbers: List[int] = [numbers[index] for index in order]
        self.step = max(int(np.median(np.diff(self.numbers))), 1) if len(names) > 1 else 1
        self.origin = self.numbers[0] if origin is None else origin
        self.count = len(names)
        self.size = read_image(self.files[0]).shape[1::-1]

    def __iter__(self) -> Iterator[Frame]:
        for path, number in zip(self.files, self.numbers):
            yield Frame(read_image(path), (number - self.origin) / (self.step * self.fps), Path(path).stem)

    def reopen(self) -> 'FolderStream':
        return FolderStream(self.folder, self.fps, self.origin)


def open_stream(source: StreamLike, fps: Optional[float] = None) -> Stream:
    """Open a source of frames.

    Args:
        source: Path of a video file, folder of images, URL (``rtsp://``, ``http://``...), number of a camera (``0`` or
            ``'0'``), or a stream.
        fps: Frames per second of a folder (25 when missing), or in place of the time stamps of a file.

    Raises:
        UserError: It is none of these, cannot be opened or holds no frame.
    """
    if isinstance(source, Stream):
        return source
    if isinstance(source, int) or (isinstance(source, str) and source.isdigit() and not os.path.exists(source)):
        return CaptureStream(int(source), fps)
    if os.path.isdir(source):
        return FolderStream(source, fps)
    return CaptureStream(str(source), fps)


def open_streams(first: StreamLike, second: StreamLike, fps: Optional[float] = None) -> Tuple[Stream, Stream]:
    """Open both sources.

    Two folders whose numbers overlap share one origin, so that frames of equal number are taken at the same time.

    Raises:
        UserError: As :func:`open_stream`; or one is live and the other is not.
    """
    one = open_stream(first, fps)
    try:
        other = open_stream(second, fps)
    except BaseException:
        one.close()
        raise
    if one.live != other.live:
        live, stored = (one, other) if one.live else (other, one)
        for stream in (one, other):
            stream.close()
        raise UserError(
            f'{live.name} is live and {stored.name} is not, so their times cannot be compared; record {live.name} first'
        )
    share_origin(one, other)
    return one, other


def share_origin(one: Stream, other: Stream) -> bool:
    """Let frames of equal number in two folders be taken at the same time, where their numbers overlap. Returns whether
    they do.
    """
    if not (isinstance(one, FolderStream) and isinstance(other, FolderStream)) or one.step != other.step:
        return False
    if one.numbers[0] > other.numbers[-1] or other.numbers[0] > one.numbers[-1]:
        return False
    one.origin = other.origin = min(one.origin, other.origin)
    return True


def is_url(source: StreamLike) -> bool:
    """Whether a source is the address of a network stream."""
    return isinstance(source, str) and re.match(r'[a-zA-Z][\w+.-]+://', source) is not None


_NO_VIDEO = 'is no video that can be read'


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Leave out what OpenCV prints of a source that cannot be opened."""
    former = cv2.getLogLevel()
    cv2.setLogLevel(0)
    try:
        yield
    finally:
        cv2.setLogLevel(former)


def _usual_rate(path: str, claimed: float) -> float:
    """Frames per second by the usual distance of neighbors; what a file claims is its average, to which lost frames
    count.
    """
    capture, times = cv2.VideoCapture(path, cv2.CAP_FFMPEG), []
    while len(times) < 50 and capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    capture.release()
    distance = float(np.median(np.diff(times))) if len(times) > 3 else 0.0
    return 1 / distance if distance > 1e-3 and abs(distance * claimed - 1) > 0.035 else claimed  # Matroska counts in ms


def _remedy(source: Union[str, int]) -> str:
    if isinstance(source, int):
        return 'see whether another program uses it (cameras are numbered from 0)'
    if is_url(source):
        return 'see whether a player can open the address'
    return 'give a video (mp4, avi, mkv, mov...), a folder of images, the number of a camera, or a URL'


def _check_video_file(path: str) -> None:
    """Refuse what FFmpeg would take for a video although it is none: absent files, single images, texts."""
    if not os.path.exists(path):
        raise MissingFileError(f'{path} does not exist; {_remedy(path)}')
    if Path(path).suffix.lower() in IMAGE_SUFFIXES:
        raise UserError(f'{path} is an image; `mmfusion fuse` fuses two images, and a folder of them is a sequence')
    with open(path, 'rb') as file:
        start = file.read(1024)
    text = start and not set(start) - set(b'\t\n\r\f\x1b' + bytes(range(32, 127)))
    if not start or (text and Path(path).suffix.lower() not in _TEXT_FORMATS):
        raise UserError(f'{path} {"is empty" if not start else _NO_VIDEO}; {_remedy(path)}')


def _number(name: str) -> Optional[int]:
    found = re.findall(r'\d+', Path(name).stem)
    return int(found[-1]) if found else None
