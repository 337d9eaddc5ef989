"""Writing fused frames: a video file that is whole and playable or absent, or a folder of images; encoded by a thread
of its own.
"""

import contextlib
import os
import queue
import threading
import time
from pathlib import Path
from typing import Dict, Mapping, Optional, Union

import cv2
import numpy as np

from mmfusion.fileio.image_writing import write_image
from mmfusion.fileio.paths import ensure_writable_dir
from mmfusion.fileio.whole import temporary_path
from mmfusion.utils.errors import UserError, WriteError

from .threads import stop_at_exit

#: Codec by the ending of the file: MPEG-4 part 2, motion JPEG, and FFV1, which loses nothing.
CODECS: Dict[str, str] = {'.mp4': 'mp4v', '.mov': 'mp4v', '.m4v': 'mp4v', '.avi': 'MJPG', '.mkv': 'FFV1'}

LONGEST_HOLD = 10.0  # seconds without a fused frame that a video fills with the one before


def check_output(path: Union[str, Path], codec: Optional[str] = None) -> None:
    """Say early that a file could not be written.

    Raises:
        UserError: Its ending is unknown (one without an ending is a folder), its folder cannot be written, or the codec
            is not four letters.
    """
    suffix = Path(path).suffix.lower()
    if suffix and suffix not in CODECS:
        raise UserError(
            f'{path}: the ending must be one of {", ".join(CODECS)}, or none for a folder of images; got {suffix!r}'
        )
    if codec is not None and (len(codec) != 4 or not suffix):
        raise UserError(f'a codec is four letters such as mp4v, for a video file; got {codec!r} for {path}')
    if suffix and os.path.isdir(path):
        raise UserError(f'{path} is a folder; give a file, or remove it')
    ensure_writable_dir(path if not suffix else os.path.dirname(os.path.abspath(path)))


class FrameClock:
    """Places of frames in a video of constant rate, so that it keeps the time of its source.

    A frame may lie up to a place off, so that stamps that tremble cost nothing.

    Args:
        fps: Frames per second.

    Attributes:
        begin: Time of the first frame; None before it.
        filled: Places that show the frame before.
        skipped: Frames for which there was no place.
        cut: Gaps longer than ten seconds, which are left out.

    Examples:
        >>> clock = FrameClock(10)
        >>> [clock.gap(time) for time in (5.0, 5.1, 5.2, 5.5, 5.6, 5.6, 5.6)]  # frames to repeat first; None: leave this one out
        [0, 0, 0, 2, 0, 0, None]
    """

    def __init__(self, fps: float) -> None:
        self.fps, self._start, self._next = fps, None, 0
        self.begin: Optional[float] = None
        self.filled = self.skipped = self.cut = 0

    def gap(self, now: float) -> Optional[int]:
        """Places between the frame before and this one, or None where this one has no place.

        Args:
            now: Seconds, in order.
        """
        if self._start is None:
            self.begin = self._start = now
        ahead = (now - self._start) * self.fps - self._next
        if ahead <= -1.5:
            self.skipped += 1
            return None
        missing = max(int(ahead + 0.25), 0)
        if missing > LONGEST_HOLD * self.fps:
            self.cut += 1
            self._start, missing = self._start + missing / self.fps, 0
        self.filled += missing
        self._next += missing + 1
        return missing


def open_writers(
    paths: Mapping[str, Union[str, Path]], fps: float, codec: Optional[str] = None
) -> Dict[str, 'FrameWriter']:
    """A writer for each path, or none at all.

    Args:
        paths: By kind.
        fps: See :class:`FrameWriter`.
        codec: Likewise.

    Raises:
        UserError: See :func:`check_output`.
    """
    writers: Dict[str, FrameWriter] = {}
    try:
        for kind, path in paths.items():
            writers[kind] = FrameWriter(path, fps, codec)
    except BaseException:
        for writer in writers.values():
            writer.discard()
        raise
    return writers


class FrameWriter:
    """Take frames and write them in a thread.

    Leave it by :meth:`finish`, which makes the file whole and gives it its name, or by :meth:`discard`, after which
    nothing of it is left. Until then a video lies beside its place under a temporary name. A picture whose side is odd
    gets its last row or column twice, since video codecs want even sides.

    Args:
        path: Video file (``.mp4``, ``.mov``, ``.avi``, ``.mkv``), or a folder for ``NAME.png``.
        fps: Frames per second of a video.
        codec: Four letters of a codec that OpenCV has, by default that of :data:`CODECS`.
        size: Frames that may wait for the encoder.

    Attributes:
        written: Frames written.
        seconds: Time spent encoding.

    Raises:
        UserError: See :func:`check_output`.
    """

    def __init__(self, path: Union[str, Path], fps: float, codec: Optional[str] = None, size: int = 8) -> None:
        check_output(path, codec)
        self.path, self.fps = str(path), float(fps)
        suffix = Path(path).suffix.lower()
        self.codec = codec or CODECS.get(suffix)
        self.written, self.seconds = 0, 0.0
        self._queue: queue.Queue = queue.Queue(size)
        self._error: Optional[BaseException] = None
        self._writer: Optional[cv2.VideoWriter] = None
        self._last: Optional[np.ndarray] = None
        self._temporary: Optional[str] = temporary_path(self.path, suffix) if suffix else None
        self._thread = threading.Thread(target=self._run, name=f'encode {self.path}', daemon=True)
        self._thread.start()
        stop_at_exit(self)

    def write(self, image: np.ndarray, name: str) -> None:
        """Hand a frame over.

        Args:
            image: (H, W) or (H, W, 3) RGB uint8; not changed afterwards by the caller.
            name: Name of the file in a folder.

        Raises:
            UserError: The encoder met an error; the message says which.
        """
        self._raise()
        self._queue.put((image, name))

    def hold(self, times: int) -> None:
        """Show the last frame so many times more; a folder of images has no use for that."""
        if times > 0 and self._temporary is not None:
            self._queue.put((times,))

    def finish(self) -> int:
        """Write what waits, close the file, give it its name.

        Returns:
            Frames in it; 0 when there was none, and then there is no file.

        Raises:
            OSError: The file is not whole, as on a full disk; nothing is left of it.
        """
        self._end()
        try:
            self._raise()
            if self._temporary is not None and self.written:
                self._check()
                os.replace(self._temporary, os.path.realpath(self.path))
        finally:
            self._remove()
        return self.written

    def discard(self) -> None:
        """Leave nothing of a video; images of a folder that were written stay, each is whole."""
        self._end()
        self._remove()

    def abandon(self) -> None:
        """Leave nothing of a video that nobody finished."""
        if self._thread.is_alive():
            self.discard()

    def _end(self) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def _remove(self) -> None:
        if self._temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.remove(self._temporary)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error is not None:
                continue  # nobody waits for a full queue
            begin = time.perf_counter()
            try:
                self._write(*item) if len(item) == 2 else self._encode(self._last, item[0])
            except BaseException as error:  # noqa: B902 - handed on to the thread that writes
                self._error = error
            self.seconds += time.perf_counter() - begin

    def _write(self, image: np.ndarray, name: str) -> None:
        if self._temporary is None:
            write_image(os.path.join(self.path, f'{name}.png'), image)
            self.written += 1
            return
        image = image[..., None] if image.ndim == 2 else image
        image = np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3))[..., ::-1])
        bottom, right = image.shape[0] % 2, image.shape[1] % 2
        if bottom or right:
            image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
        if self._writer is None:
            self._writer = cv2.VideoWriter(
                self._temporary, cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*self.codec), self.fps, image.shape[1::-1]
            )
            if not self._writer.isOpened():
                raise UserError(
                    f'{self.path} cannot be written with the codec {self.codec}; those that every OpenCV has are '
                    f'{", ".join(sorted(set(CODECS.values())))}'
                )
        if self._last is not None and image.shape != self._last.shape:
            raise UserError(f'{self.path}: the size of the frames changes from {self._last.shape} to {image.shape}')
        self._last = image
        self._encode(image)

    def _encode(self, image: Optional[np.ndarray], times: int = 1) -> None:
        for _ in range(times if image is not None else 0):
            self._writer.write(image)
            self.written += 1

    def _check(self) -> None:
        """The encoder says nothing of a full disk: the file must open, and claim as many frames as were written."""
        capture = cv2.VideoCapture(self._temporary, cv2.CAP_FFMPEG)
        claimed = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        whole = capture.isOpened() and capture.grab() and abs(claimed - self.written) <= 1
        capture.release()
        if not whole:
            raise WriteError(f'cannot write {self.path}: the file did not become whole; is the disk full?')
