"""Decoding beside the network: a thread that reads ahead."""

import contextlib
import queue
import threading
import time
from typing import Iterator, Optional

from .streams import Frame, Stream
from .threads import stop_at_exit

LONGEST_WAIT = 15.0  # seconds for a frame that is being decoded; a network stream gives up after ten
_END = object()


class ReadAhead:
    """Frames of a stream, decoded by a thread of their own.

    The thread waits when ``size`` frames lie ready; of a live stream the oldest is dropped instead, so that what is
    shown stays recent. Iterating raises in the reader's place what the thread met.

    Args:
        stream: Source; closed when this is.
        size: Frames that may lie ready.

    Attributes:
        taken: Frames decoded.
        late: Frames of a live stream that were dropped because nobody took them in time.
        backward: Frames left out because their time stamp lay not after that of the frame before.
        seconds: Time spent decoding.
        ended: Whether the stream came to its end.
    """

    def __init__(self, stream: Stream, size: int = 8) -> None:
        self.stream = stream
        self.taken = self.late = self.backward = 0
        self.seconds, self.ended = 0.0, False
        self._queue: queue.Queue = queue.Queue(size)
        self._stop = threading.Event()
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, name=f'decode {stream.name}', daemon=True)
        self._thread.start()
        stop_at_exit(self)

    def _run(self) -> None:
        last, begin = None, time.perf_counter()
        try:
            for frame in self.stream:
                self.taken += 1
                self.seconds += time.perf_counter() - begin
                if last is not None and frame.time <= last:
                    self.backward += 1
                else:
                    last = frame.time
                    self._put(frame)
                if self._stop.is_set():
                    return
                begin = time.perf_counter()
            self.ended = True
        except BaseException as error:  # noqa: B902 - handed on to the thread that iterates
            self._error = error
        finally:
            self._put(_END)

    def _put(self, item: object) -> None:
        droppable = self.stream.live and item is not _END
        while not self._stop.is_set():
            try:
                self._queue.put(item, block=not droppable, timeout=0.1)
                return
            except queue.Full:
                if droppable:
                    with contextlib.suppress(queue.Empty):  # it was taken just now
                        self._queue.get_nowait()
                        self.late += 1

    def __iter__(self) -> Iterator[Frame]:
        while True:
            item = self._queue.get()
            if item is _END:
                self._queue.put(_END)  # for whoever iterates next
                if self._error is not None:
                    raise self._error
                return
            yield item

    def abandon(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join(timeout=LONGEST_WAIT)

    def close(self) -> None:
        """Stop the thread and let go of the stream."""
        self.abandon()
        if not self._thread.is_alive():  # a thread that hangs in a dead camera keeps it
            self.stream.close()
