"""Streams of a rendered sequence: known truth for tests, benchmarks and demonstrations."""

from pathlib import Path
from typing import Iterator, List, Optional, Union

import numpy as np

from mmfusion.datasets.demo.sequence import DemoSequence

from .streams import Frame, Stream
from .writing import FrameWriter


class RenderedStream(Stream):
    """A camera before a :class:`DemoSequence`, with a clock of its own and lost frames.

    Frame ``k`` is taken ``k / fps`` seconds after ``start``; ``taken`` holds the true times of the frames that were not
    lost.

    Args:
        sequence: What there is to see.
        camera: ``'visible'`` or ``'infrared'``.
        frames: Number of frames, lost ones included.
        fps: Frames per second.
        start: True time of the first frame in seconds.
        offset: What the clock of this stream lacks: a frame taken at the true time t has the stamp t - offset.
        lost: Part of the frames that are lost, the first and the last aside.
        jitter: Standard deviation of the stamps in seconds.
        seed: Chooses the lost frames and the jitter.

    Attributes:
        taken: (n,) true times of the frames.
        stamps: (n,) their times on the stream's clock.
    """

    def __init__(
        self,
        sequence: DemoSequence,
        camera: str,
        frames: int,
        fps: float = 25.0,
        start: float = 0.0,
        offset: float = 0.0,
        lost: float = 0.0,
        jitter: float = 0.0,
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng([seed, len(camera)])
        kept = np.ones(frames, bool)
        kept[rng.choice(np.arange(1, frames - 1), int(round(lost * frames)), replace=False)] = False
        self.numbers: List[int] = np.flatnonzero(kept).tolist()
        self.taken = start + np.array(self.numbers) / fps
        self.stamps = self.taken - offset + rng.normal(0, 1, len(self.taken)).clip(-2, 2) * jitter
        self.sequence, self.camera, self.fps = sequence, camera, fps
        self.name, self.count, self.size = f'rendered {camera}', len(self.taken), sequence.size[::-1]

    def __iter__(self) -> Iterator[Frame]:
        for number, taken, stamp in zip(self.numbers, self.taken, self.stamps):
            yield Frame(self.sequence.render(self.camera, taken), float(stamp), f'{number:06d}')

    def reopen(self) -> 'RenderedStream':
        return self


def write_stream(stream: Stream, path: Union[str, Path], codec: Optional[str] = None) -> int:
    """Write a stream to a video file of constant rate, or to a folder; returns the number of frames.

    Raises:
        OSError: The file cannot be written.
    """
    writer = FrameWriter(path, stream.fps, codec)
    try:
        for frame in stream:
            writer.write(frame.image[..., ::-1] if frame.image.shape[2] == 3 else frame.image[..., 0], frame.name)
        return writer.finish()
    except BaseException:
        writer.discard()
        raise
