"""Fusing two streams: an iterator over fused frames."""

import copy
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Dict, Iterator, List, NamedTuple, Optional, Union

import numpy as np

from mmfusion.structures import FusionDataSample
from mmfusion.utils.errors import UserError
from mmfusion.visualization import SampleView

from .aligning import ONE_TRANSFORM, Registrar, check_sizes, find_offset
from .gray import GrayStream
from .offset import MAX_OFFSET
from .pairing import FramePair, PairCounts, PairedFrames
from .reading import ReadAhead
from .steadying import SteadyPicture, SteadyWindow
from .streams import StreamLike, open_streams

if TYPE_CHECKING:
    from mmfusion.apis import FusionInferencer


class FusedFrame(NamedTuple):
    """One fused frame.

    Attributes:
        name: For files: the stem of the first frame's image file, otherwise its number.
        time: Seconds on the clock of the first stream.
        view: ``fused``, ``first`` and ``second`` as (H, W) or (H, W, 3) RGB uint8 on the pixels of the first frame, and
            ``boxes``, ``labels`` and ``scores`` of a detector.
        sample: Everything that the task networks predicted, None without them.
        pair: The frames as they were decoded, and how far apart in time.
    """

    name: str
    time: float
    view: SampleView
    sample: Optional[FusionDataSample]
    pair: FramePair


class FusedVideo:
    """Fuse two streams frame by frame. Decoding runs in threads beside the network.

    The first stream leads: each of its frames is fused with the frame of the second that is nearest in time, and left
    out where none is near. Nothing but a few frames is held in memory, however long the streams are.

    Args:
        first: Video file, folder of images, URL or number of a camera, or an opened :class:`~mmfusion.video.Stream`.
        second: Likewise.
        fuse: The fuser, with registration where the streams need one
            (``FusionInferencer(load=dict(registration='rig.yaml'))``).
        offset: Seconds to add to the times of the second stream to get those of the first; ``'auto'`` estimates them
            from what moves in the first 20 seconds (:func:`~mmfusion.video.estimate_offset`), of cameras in ten seconds
            that are not fused.
        tolerance: Farthest partner in seconds, see :class:`~mmfusion.video.PairedFrames`.
        fps: Frames per second of folders, or in place of the time stamps of files.
        predict: Run the task networks on each fused frame.
        max_offset: Largest offset that is tried, in seconds between the beginnings of both streams.
        steady: Smooth the fused pictures over time where nothing moves (:class:`~mmfusion.video.SteadyPicture`), and
            percentiles (``load=dict(stretch=...)``) over time, so that the video does not flicker. The task networks
            see the pictures as they were fused.

    Attributes:
        streams: Both streams.
        offset: Offset in seconds.
        estimate: What the offset was estimated from, None where it was given.
        seconds: Time spent by part: ``wait`` for decoded frames, ``load`` (gray, registration), ``network``.

    Raises:
        UserError: A stream cannot be used, sizes differ without a registration, the registration is none of a fixed
            rig, there is no task network to run, or the offset cannot be estimated; the message then has the numbers.

    Examples:
        >>> fuse = FusionInferencer('LaplacianPyramidFuser')  # doctest: +SKIP
        >>> with FusedVideo('visible.mp4', 'infrared.mp4', fuse) as video:  # doctest: +SKIP
        ...     for frame in video:
        ...         show(frame.view.fused)
    """

    def __init__(
        self,
        first: StreamLike,
        second: StreamLike,
        fuse: 'FusionInferencer',
        offset: Union[float, str] = 0.0,
        tolerance: Optional[float] = None,
        fps: Optional[float] = None,
        predict: bool = False,
        max_offset: float = MAX_OFFSET,
        steady: bool = True,
    ) -> None:
        if predict and not len(fuse.coupling.tasks):
            raise UserError(
                'this model has no detector and no segmentor; give the config and the weights of a coupling'
            )
        if not isinstance(fuse.load.registration, (str, type(None))) or fuse.load.registration == 'auto':
            raise UserError(ONE_TRANSFORM)
        self.fuse, self.predict = fuse, predict
        self._steady = SteadyPicture() if steady else None
        self._load, self._windows = fuse.load, {}
        if steady and any(fuse.load.stretch.values()):
            self._load = copy.copy(fuse.load)
            self._windows = {label: SteadyWindow(ends) for label, ends in fuse.load.stretch.items() if ends}
            self._load.stretch = dict.fromkeys(fuse.load.stretch)
        self.streams = open_streams(first, second, fps)
        self.readers: Dict[str, ReadAhead] = {}
        self.seconds: Dict[str, float] = defaultdict(float)
        self._read = False
        try:
            check_sizes(self.streams, self.fuse.load.register)
            self.estimate = None
            if offset == 'auto':
                self.estimate = find_offset(self.streams, self._start, self._registrar(), max_offset)
            self.offset = float(offset) if self.estimate is None else self.estimate.offset
            self._pairs = PairedFrames((), (), self.offset, tolerance, 1 / self.streams[1].fps)
        except BaseException:
            self.close()
            raise
        self._gray = dict(first=GrayStream(), second=GrayStream())

    @property
    def counts(self) -> PairCounts:
        """What became of the frames so far."""
        return self._pairs.counts

    @property
    def fps(self) -> float:
        """Frames per second of the first stream."""
        return self.streams[0].fps

    @property
    def left_over(self) -> Optional[int]:
        """Frames of the first stream after the end of the second, as far as their number is known; None where the first
        ended first.
        """
        if not self._pairs.second_ended:
            return None
        seen = self.counts.paired + self.counts.dropped_first + self.counts.outside_first
        return max(self.length - seen, 0) + 1

    @property
    def length(self) -> int:
        """Frames that the first stream claims to hold, 0 where that is not known."""
        return self.streams[0].count or 0

    def _start(self) -> List[ReadAhead]:
        for label, stream in zip(('first', 'second'), self.streams):
            if label not in self.readers:  # those of cameras run since their offset was estimated
                self.readers[label] = ReadAhead(stream)
        return list(self.readers.values())

    def _registrar(self) -> Optional[Registrar]:
        return None if self.fuse.load.register is None else self.fuse.load.register.registrar

    def __iter__(self) -> Iterator[FusedFrame]:
        if self._read:
            raise RuntimeError('the streams were read already; open them again')
        self._read = True
        self._start()
        self._pairs.first, self._pairs.second = self.readers['first'], self.readers['second']
        pairs = iter(self._pairs)
        while True:
            begin = time.perf_counter()
            pair = next(pairs, None)
            self.seconds['wait'] += time.perf_counter() - begin
            if pair is None:
                break
            yield self._fuse(pair)
        if not self.counts.paired:
            raise UserError(
                f'no frame of {self.streams[0].name} has a partner in {self.streams[1].name} at an offset of '
                f'{self.offset:.3f} s (tolerance {self._pairs.reach:.3f} s); give --offset SECONDS, or auto to '
                f'estimate it'
            )

    def _fuse(self, pair: FramePair) -> FusedFrame:
        begin = time.perf_counter()
        item = self._load(
            dict(
                sample_id=pair.first.name,
                img_id=self.counts.paired - 1,
                first=self._prepared('first', pair.first.image),
                second=self._prepared('second', pair.second.image),
            )
        )
        loaded = time.perf_counter()
        fused, sample = self.fuse.fuse_loaded(item, self.predict)
        self.seconds['load'] += loaded - begin
        self.seconds['network'] += time.perf_counter() - loaded
        from mmfusion.apis.inferencer import found_boxes

        sources = [as_picture(item[label]) for label in ('first', 'second')]
        begin = time.perf_counter()
        if self._steady is not None:
            fused = self._steady(fused, sources)
            self.seconds['steady'] += time.perf_counter() - begin
        view = SampleView(fused, *sources, *found_boxes(sample), True)
        return FusedFrame(pair.first.name, pair.first.time, view, sample, pair)

    def _prepared(self, label: str, image: np.ndarray) -> np.ndarray:
        """A gray stream stays one, though a codec leaves a trace of color in some of its frames; a window moves
        slowly.
        """
        if label in self._windows:
            image = self._windows[label](image)
        return self._gray[label](image)

    def close(self) -> None:
        """Stop decoding and let go of both streams."""
        for reader in self.readers.values():
            reader.close()
        for stream in self.streams if not self.readers else ():
            stream.close()

    def __enter__(self) -> 'FusedVideo':
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def as_picture(image: np.ndarray) -> np.ndarray:
    """(H, W, 1 or 3) BGR, uint8 or float in [0, 1], as an RGB or gray picture (H, W, 3) or (H, W) uint8."""
    if image.dtype != np.uint8:
        image = np.floor(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return image[..., 0] if image.shape[2] == 1 else image[..., ::-1]
