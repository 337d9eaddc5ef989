"""Two streams through an exported file; needs OpenCV and Pillow beside numpy and onnxruntime."""

import os
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Union

import numpy as np

from mmfusion.utils.errors import UserError

from .folders import box_rows
from .model import RuntimeModel
from .registering import registrar

VIDEOS = ('.mp4', '.mov', '.m4v', '.avi', '.mkv', '.webm', '.mpg', '.mpeg', '.ts', '.wmv')


class StreamRun(NamedTuple):
    """What was made of two streams.

    Attributes:
        files: What was written, by kind.
        frames: Frames fused.
        left_out: Frames of the first stream without a partner.
        offset: Seconds that were added to the times of the second stream.
    """

    files: Dict[str, str]
    frames: int
    left_out: int
    offset: float = 0.0


def is_stream(source: Union[str, Path]) -> bool:
    """Whether a source is a video file, a URL or the number of a camera.

    Examples:
        >>> is_stream('night.mp4'), is_stream('rtsp://camera/1'), is_stream('vi/0001.png')
        (True, True, False)
    """
    text = str(source)
    return text.lower().endswith(VIDEOS) or '://' in text or (text.isdigit() and not os.path.exists(text))


def run_streams(
    model: RuntimeModel,
    first: Union[str, Path],
    second: Union[str, Path],
    out: Union[str, Path],
    offset: Union[float, str] = 0.0,
    tolerance: Optional[float] = None,
    fps: Optional[float] = None,
    limit: Optional[int] = None,
    steady: bool = True,
    score_thr: float = 0.3,
    registration: Optional[str] = None,
    max_offset: Optional[float] = None,
    **options,
) -> StreamRun:
    """Fuse two streams frame by frame, as :class:`~mmfusion.video.FusedVideo` does; a few frames are in memory at a
    time.

    Ctrl-C and a camera that vanishes end it with a whole file of what was fused until then.

    Args:
        model: The exported file.
        first: Video file, URL, number of a camera, or folder of numbered images. It leads.
        second: Likewise; frames are fused with the nearest in time.
        out: ``.mp4``, ``.mov``, ``.avi`` or ``.mkv`` file, or a folder for one picture per frame. Boxes go to
            ``NAME_boxes.json``, one entry per frame, class maps to pictures in the folder ``NAME_classes``.
        offset: Seconds to add to the times of the second stream; ``'auto'`` estimates them from what moves, as
            :class:`~mmfusion.video.FusedVideo` does.
        tolerance: Farthest partner in seconds; 0.6 of the interval of the second stream when missing.
        fps: Frames per second of folders, or in place of the time stamps of files.
        limit: Stop after so many fused frames.
        steady: Smooth over time what stands still.
        score_thr: Boxes from this score on are written.
        registration: Rig file of ``mmfusion register``, for streams that do not coincide; needs PyYAML.
        max_offset: Largest offset that ``'auto'`` tries, in seconds between the beginnings of both streams; 2 when
            missing.
        options: ``tile`` and ``overlap`` of :meth:`RuntimeModel.__call__`.

    Raises:
        UserError: A stream cannot be read, the frames cannot be fused or differ in size without a registration, the
            registration is none of a fixed rig, the offset cannot be estimated, nothing can be written, or no frame has
            a partner.
    """
    try:
        from mmfusion.fileio import write_json
        from mmfusion.video.aligning import ONE_TRANSFORM, check_sizes, find_offset
        from mmfusion.video.gray import GrayStream
        from mmfusion.video.offset import MAX_OFFSET
        from mmfusion.video.pairing import PairedFrames
        from mmfusion.video.reading import ReadAhead
        from mmfusion.video.steadying import SteadyPicture
        from mmfusion.video.streams import StreamLost, open_streams
        from mmfusion.video.writing import FrameClock, check_output, open_writers
    except ImportError as error:
        raise UserError(
            f'streams need OpenCV and Pillow ({error}): pip install opencv-python-headless pillow'
        ) from error
    check_output(out)
    if registration == 'auto':
        raise UserError(ONE_TRANSFORM)
    register = registrar(registration)
    plain = None if register is None else register.plain
    streams = open_streams(str(first), str(second), fps)
    readers: List[ReadAhead] = []

    def start() -> List[ReadAhead]:
        readers.extend(ReadAhead(stream) for stream in streams[len(readers) :])
        return readers

    try:
        check_sizes(streams, plain)
        if offset == 'auto':
            offset = find_offset(streams, start, plain, max_offset or MAX_OFFSET).offset
        start()
    except BaseException:
        for opened in (*readers, *streams[len(readers) :]):
            opened.close()
        raise
    stem = os.path.splitext(str(out))[0]
    tasks = {task['kind']: task for task in model.info.tasks.values()}
    paths = dict(fused=str(out), **(dict(class_map=f'{stem}_classes') if 'segmentation' in tasks else {}))
    writers: Dict[str, Any] = {}
    rows: List[dict] = []
    stopped: Optional[BaseException] = None
    gray, smooth, clock = (GrayStream(), GrayStream()), SteadyPicture() if steady else None, FrameClock(streams[0].fps)
    pairs = PairedFrames(*readers, offset, tolerance, 1 / streams[1].fps)
    try:
        writers = open_writers(paths, streams[0].fps)
        try:
            for pair in pairs:
                frames = [side(frame.image) for side, frame in zip(gray, pair[:2])]
                if register is not None:
                    frames = register(*frames)
                frames = [frame[..., ::-1] for frame in frames]
                result = model(*frames, names=[f'{stream.name}: a frame' for stream in streams], **options)
                fused = result.fused if smooth is None else smooth(result.fused, [_plain(frame) for frame in frames])
                missing = clock.gap(pair.first.time)
                if missing is not None:
                    for kind, writer in writers.items():
                        writer.hold(missing)
                        writer.write(fused if kind == 'fused' else result.class_map.astype(np.uint8), pair.first.name)
                if result.boxes is not None:
                    boxes = box_rows(result, tasks['detection']['classes'], score_thr)
                    rows.append(dict(frame=pair.first.name, time=round(pair.first.time, 4), boxes=boxes))
                if limit and pairs.counts.paired >= limit:
                    break
        except (KeyboardInterrupt, StreamLost) as error:
            stopped = error
        if not pairs.counts.paired and stopped is None:
            raise UserError(
                f'no frame of {streams[0].name} has a partner in {streams[1].name} at an offset of {offset:.3f} s; '
                f'give --offset SECONDS'
            )
        files = {kind: os.path.abspath(paths[kind]) for kind, writer in writers.items() if writer.finish()}
        if 'detection' in tasks:
            files['boxes'] = os.path.abspath(f'{stem}_boxes.json')
            write_json(files['boxes'], rows)
    except BaseException:
        for writer in writers.values():
            writer.discard()
        raise
    finally:
        for reader in readers:
            reader.close()
    if isinstance(stopped, StreamLost):
        raise StreamLost(f'{stopped}; {pairs.counts.paired} frames until then are in {out}') from None
    return StreamRun(files, pairs.counts.paired, pairs.counts.dropped_first + pairs.counts.outside_first, float(offset))


def _plain(image: np.ndarray) -> np.ndarray:
    return image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
