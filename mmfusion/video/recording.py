"""Fusing two streams into files: the fused video, pictures with boxes, panels, and a summary."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Union

from mmfusion.fileio.whole import write_json
from mmfusion.utils.interrupt import Terminated, describe
from mmfusion.utils.progress import progress_bar

from .drawing import draw_frame, draw_panel
from .fusing import FusedFrame, FusedVideo
from .scores import SequenceScores
from .streams import StreamLost
from .writing import FrameClock, FrameWriter, check_output, open_writers


def output_paths(out: Union[str, Path], kinds: Sequence[str]) -> Dict[str, str]:
    """Files (or folders) by kind, ``'fused'`` first: the others have their kind behind the name.

    Examples:
        >>> output_paths('out/night.mp4', ['fused', 'panel'])
        {'fused': 'out/night.mp4', 'panel': 'out/night_panel.mp4'}
    """
    stem, suffix = os.path.splitext(str(out))
    return {kind: str(out) if kind == 'fused' else f'{stem}_{kind}{suffix}' for kind in kinds}


def record(
    video: FusedVideo,
    out: Union[str, Path],
    boxes: bool = False,
    panel: bool = False,
    score_thr: float = 0.3,
    codec: Optional[str] = None,
    limit: Optional[int] = None,
    scores: Optional[SequenceScores] = None,
    see: Optional[Callable[[FusedFrame], None]] = None,
    progress: bool = True,
) -> dict:
    """Fuse two streams into files.

    A video has the constant rate of the first stream. Where frames are missing it holds the one before, so that it
    stays as long as its source. Ctrl-C, SIGTERM and a camera that vanishes end it with a whole file of what was fused
    until then; after any other error nothing is left of it.

    Args:
        video: The two streams; read to their end.
        out: ``.mp4``, ``.mov``, ``.avi`` or ``.mkv`` file (the last one loses nothing), or a folder for one ``.png``
            per frame. ``NAME.json`` beside it gets the summary.
        boxes: Also write ``NAME_boxes``: the fused pictures with boxes and classes.
        panel: Also write ``NAME_panel``: both sources and the fused picture side by side, with boxes and classes where
            ``video`` predicts them.
        score_thr: Boxes with a lower score are not drawn.
        codec: Four letters of a codec that OpenCV has.
        limit: Stop after so many fused frames.
        scores: Rates each frame; its results go into the summary.
        see: Called with each fused frame.
        progress: Show a progress bar with frames per second.

    Returns:
        The summary: ``frames`` (paired, repeated, dropped...), ``offset``, ``rate`` (frames per second, in all and by
        part), ``files``.

    Raises:
        UserError: Nothing can be paired, a stream breaks, or a file cannot be written.
    """
    kinds = ['fused', *(['boxes'] if boxes else []), *(['panel'] if panel else [])]
    paths = output_paths(out, kinds)
    for path in paths.values():
        check_output(path, codec)
    writers = open_writers(paths, video.fps, codec)
    clock, begin, stopped = FrameClock(video.fps), time.perf_counter(), None
    total = min(video.length or limit or 0, limit or video.length)
    try:
        with progress_bar(total, 'fusing', shown=progress) as bar:
            try:
                for frame in video:
                    _write(frame, writers, clock, video, score_thr)
                    if scores is not None:
                        begun = time.perf_counter()
                        scores(frame)
                        video.seconds['scores'] += time.perf_counter() - begun
                    if see is not None:
                        see(frame)
                    bar.update()
                    if limit and video.counts.paired >= limit:
                        break
            except (KeyboardInterrupt, Terminated, StreamLost) as error:
                stopped = error
        with _uninterrupted():
            passed = time.perf_counter() - begin
            written = {kind: writer.finish() for kind, writer in writers.items()}
            files = {kind: path for kind, path in paths.items() if written[kind]}
            summary = summarize(video, clock, writers, passed, files, stopped)
            if scores is not None:
                summary['scores'] = scores.result()
            if files:
                write_json(f'{os.path.splitext(str(out))[0]}.json', summary)
    except BaseException:
        for writer in writers.values():
            writer.discard()
        raise
    if stopped is not None:
        said = f'{written["fused"]} frames until then are in {out}' if files else 'nothing was fused until then'
        if isinstance(stopped, StreamLost):
            raise StreamLost(f'{stopped}; {said}') from None
        stopped.add_note(said)
        raise stopped
    return summary


def _write(
    frame: FusedFrame, writers: Dict[str, FrameWriter], clock: FrameClock, video: FusedVideo, score_thr: float
) -> None:
    missing = clock.gap(frame.time)
    if missing is None:
        return
    begin, meta = time.perf_counter(), video.fuse.meta
    pictures = {'fused': frame.view.fused}
    if 'boxes' in writers:
        pictures['boxes'] = draw_frame(frame, meta, score_thr)[0]
    if 'panel' in writers:
        pictures['panel'] = draw_panel(frame, meta, score_thr)
    video.seconds['draw'] += time.perf_counter() - begin
    begin = time.perf_counter()
    for kind, writer in writers.items():
        writer.hold(missing)
        writer.write(pictures[kind], frame.name)
    video.seconds['wait for encoder'] += time.perf_counter() - begin


def summarize(
    video: FusedVideo,
    clock: FrameClock,
    writers: Dict[str, FrameWriter],
    passed: float,
    files: Dict[str, str],
    stopped: Optional[BaseException] = None,
) -> dict:
    """Plain values of what was done; see :func:`record`."""
    counts, frames = video.counts, video.counts.paired
    parts = {f'decode {label}': reader.seconds for label, reader in video.readers.items()}
    parts.update(video.seconds)
    parts.update({f'encode {kind}': writer.seconds for kind, writer in writers.items()})
    sources = {}
    for label, stream in zip(('first', 'second'), video.streams):
        reader = video.readers.get(label)
        sources[label] = dict(
            name=stream.name,
            size=list(stream.size),
            fps=round(stream.fps, 3),
            frames_claimed=stream.count,
            frames_read=reader.taken if reader else 0,
            ended=bool(reader and reader.ended),
            late=reader.late if reader else 0,
            stamps_backward=reader.backward if reader else 0,
        )
    return dict(
        sources=sources,
        offset=round(video.offset, 4),
        start=None if clock.begin is None else round(clock.begin, 4),
        offset_estimate=None if video.estimate is None else video.estimate.to_dict(),
        left_over=video.left_over,
        frames=dict(counts.to_dict(), filled=clock.filled, skipped=clock.skipped, gaps_cut=clock.cut),
        rate=dict(
            frames_per_second=round(frames / passed, 2) if passed > 0 else None,
            seconds=round(passed, 2),
            milliseconds_per_frame={part: round(1000 * used / max(frames, 1), 2) for part, used in parts.items()},
        ),
        files=files,
        stopped=None if stopped is None else str(stopped) if isinstance(stopped, StreamLost) else describe(stopped)[0],
    )


def remarks(summary: dict) -> List[str]:
    """What a user should know of a summary: streams that end early, frames that were lost; each a sentence."""
    frames, said = summary['frames'], []
    first, second = (summary['sources'][label] for label in ('first', 'second'))
    for source in (first, second):
        claimed, read = source['frames_claimed'] or 0, source['frames_read']
        if source['ended'] and read < 0.95 * claimed:
            said.append(f'{source["name"]} claims {claimed} frames and holds {read}; is the file whole?')
    if summary['left_over']:
        said.append(f'{second["name"]} has ended, and {first["name"]} goes on for {summary["left_over"]} frames')
    rates = first['fps'], second['fps']
    if abs(rates[0] - rates[1]) > 0.02 * max(rates):
        said.append(
            f'{first["name"]} has {rates[0]:g} frames a second and {second["name"]} {rates[1]:g}: '
            f'{frames["repeated"]} frames got a second frame that the one before has too'
        )
    for key, words in (
        ('outside_first', 'frames of the first stream before or after the second'),
        ('dropped_first', 'frames of the first stream without a partner, left out'),
        ('unused_second', 'frames of the second stream that were not used'),
        ('filled', 'places of the video that show the frame before'),
        ('gaps_cut', 'gaps of more than ten seconds, cut out of the video'),
    ):
        if frames[key]:
            said.append(f'{words}: {frames[key]}')
    late = sum(source['late'] for source in summary['sources'].values())
    if late:
        said.append(f'frames that came faster than they could be fused: {late}')
    return said


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until the files are whole."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former if former is not None else signal.SIG_DFL)
