"""Scoring fused sequences, from anyone's program, against the two streams that they were made of."""

import contextlib
import os
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Union

import numpy as np

from mmfusion.datasets.transforms import LoadPair
from mmfusion.evaluation.protocols import expand_names
from mmfusion.evaluation.reports.summary import format_value
from mmfusion.fileio import whole_file, write_csv
from mmfusion.fileio.markdown import markdown_table
from mmfusion.fileio.paths import ensure_writable_dir
from mmfusion.fileio.reading import read_json
from mmfusion.fileio.whole import write_json
from mmfusion.utils.errors import UserError
from mmfusion.utils.progress import progress_bar

from .aligning import check_sizes
from .fusing import as_picture
from .gray import GrayStream
from .pairing import PairedFrames
from .scores import KINDS, SequenceScores
from .streams import Frame, Stream, open_stream, open_streams, share_origin


class SequenceFrame(NamedTuple):
    """One fused frame with what it was made of.

    Attributes:
        name: Stem of the first stream's image file, otherwise its number.
        time: Seconds on the clock of the first stream.
        fused: (H, W) or (H, W, 3) RGB uint8.
        first: Likewise.
        second: Likewise.
    """

    name: str
    time: float
    fused: np.ndarray
    first: np.ndarray
    second: np.ndarray


class SequenceEvaluation(NamedTuple):
    """What came out.

    Attributes:
        metrics: Names of the image metrics.
        results: By method, what :meth:`SequenceScores.result` gives, with ``frames``, the number of frames that were
            rated, and ``offset``.
        files: Written files by kind.
        notes: What else to know.
    """

    metrics: List[str]
    results: Dict[str, dict]
    files: Dict[str, str]
    notes: List[str]


def score_sequences(
    methods: Mapping[str, str],
    first: str,
    second: str,
    metrics: Sequence[str] = ('all',),
    protocol: str = 'default',
    out_dir: str = 'work_dirs/eval_fusion',
    offset: Optional[float] = None,
    fps: Optional[float] = None,
    load: Optional[dict] = None,
    progress: bool = True,
) -> SequenceEvaluation:
    """Rate fused sequences frame by frame and over time, and write tables.

    Frames belong together by time, as :class:`~mmfusion.video.PairedFrames` pairs them; folders by the numbers in the
    names of their images. Beside a video of ``mmfusion video`` lies a summary, whose offset and beginning are taken.

    Args:
        methods: Fused video, or folder of fused frames, by method.
        first: First stream (visible): file, or folder of numbered images.
        second: Second stream (infrared).
        metrics: Names of image metrics; ``'all'`` for all but the slow ones.
        protocol: Whose conventions they follow.
        out_dir: Folder for ``{protocol}_frames.csv`` (every frame), ``{protocol}_sequences.md`` and
            ``{protocol}_sequences.json``.
        offset: Seconds to add to the times of the second stream; that of the summary beside a fused video when missing,
            or 0.
        fps: Frames per second of folders, or in place of the time stamps of files.
        load: Arguments of :class:`LoadPair` for the sources, such as ``dict(registration='rig.yaml')``.
        progress: Show a progress bar.

    Raises:
        UserError: A stream cannot be read, sizes differ, no frame has a partner, or protocol or metric are unknown.
    """
    try:
        metrics = expand_names(metrics, protocol)
    except (KeyError, ValueError) as error:
        raise UserError(f'{error.args[0]} (--list shows all)') from error
    ensure_writable_dir(out_dir)
    results, rows, notes = {}, [], []
    for name, path in methods.items():
        facts = _summary_beside(path)
        used = facts.get('offset', 0.0) if offset is None else offset
        if facts and offset is None:
            notes.append(f'{name}: offset {used:+.4f} s and beginning from {_summary_path(path)}')
        scores = SequenceScores(metrics, protocol)
        with progress_bar(0, f'scoring {name}', plain='silent', shown=progress) as bar:
            for frame in sequence_frames(path, first, second, used, facts.get('start', 0.0), fps, load):
                values = scores.add(frame.name, frame.fused, frame.first, frame.second)
                rows.append(dict(method=name, name=frame.name, time=round(frame.time, 4), **values))
                bar.update()
        results[name] = dict(frames=scores.frames, offset=used, **scores.result())
    return SequenceEvaluation(list(metrics), results, _write(results, rows, metrics, protocol, out_dir), notes)


def sequence_frames(
    fused: str,
    first: str,
    second: str,
    offset: float = 0.0,
    start: float = 0.0,
    fps: Optional[float] = None,
    load: Optional[dict] = None,
) -> Iterator[SequenceFrame]:
    """The frames of a fused sequence with those of both sources.

    Args:
        fused: Fused video or folder.
        first: First stream.
        second: Second stream.
        offset: Seconds to add to the times of the second stream to get those of the first.
        start: Time of the first stream at which the fused video begins.
        fps: Frames per second of folders, or in place of the time stamps of files.
        load: Arguments of :class:`LoadPair`.

    Raises:
        UserError: See :func:`score_sequences`.
    """
    loader, gray = LoadPair(**(load or {})), {kind: GrayStream() for kind in KINDS}
    with contextlib.ExitStack() as opened:
        sources = open_streams(first, second, fps)
        for stream in sources:
            opened.callback(stream.close)
        result = open_stream(fused, fps)
        opened.callback(result.close)
        if any(stream.live for stream in (*sources, result)):
            raise UserError('sequences that are scored are files or folders, not cameras or network streams')
        if share_origin(sources[0], result):
            start = 0.0
        check_sizes(sources, loader.register)
        _check_size(result, sources[0])
        pairs = PairedFrames(*sources, offset, None, 1 / sources[1].fps)
        whole = (Frame(pair, pair.first.time, pair.first.name) for pair in pairs)  # a pair in the place of a picture
        shifted = (frame._replace(time=frame.time + start) for frame in result)
        found = 0
        for match in PairedFrames(shifted, whole, 0.0, 0.6 / sources[0].fps):
            if match.repeated:
                continue  # the video holds a frame where one is missing
            pair = match.second.image
            item = loader(
                dict(
                    sample_id=pair.first.name,
                    img_id=found,
                    first=gray['first'](pair.first.image),
                    second=gray['second'](pair.second.image),
                )
            )
            height, width = item['first'].shape[:2]
            picture = as_picture(gray['fused'](match.first.image)[:height, :width])
            found += 1
            yield SequenceFrame(
                pair.first.name, pair.first.time, picture, as_picture(item['first']), as_picture(item['second'])
            )
        if not found:
            raise UserError(
                f'no frame of {fused} has a partner in {first} and {second} at an offset of {offset:.3f} s; '
                'give --offset SECONDS, and --fps for folders'
            )


def _check_size(fused: Stream, first: Stream) -> None:
    """A video whose side would be odd has one row or column more."""
    if any(side not in (own, own + own % 2) for side, own in zip(fused.size, first.size)):
        raise UserError(
            f'the frames of {fused.name} have {fused.pixels} pixels, those of {first.name} {first.pixels}; '
            'a fused sequence lies on the pixels of the first stream'
        )


def _summary_path(fused: str) -> str:
    return f'{os.path.splitext(fused)[0]}.json'


def _summary_beside(fused: str) -> dict:
    """``offset`` and ``start`` from the summary of ``mmfusion video`` beside what it wrote; empty where there is
    none.
    """
    path = _summary_path(fused)
    if not os.path.isfile(path):
        return {}
    content = read_json(path)
    found = content if isinstance(content, dict) and 'offset' in content and 'sources' in content else {}
    return {key: float(found[key]) for key in ('offset', 'start') if isinstance(found.get(key), (int, float))}


def _write(
    results: Dict[str, dict], rows: List[dict], metrics: Sequence[str], protocol: str, out_dir: str
) -> Dict[str, str]:
    files = {
        kind: os.path.join(out_dir, f'{protocol}_{name}')
        for kind, name in (('frames', 'frames.csv'), ('table', 'sequences.md'), ('values', 'sequences.json'))
    }
    write_csv(files['frames'], rows, list(dict.fromkeys(key for row in rows for key in row)))
    with whole_file(files['table']) as file:
        file.write(sequence_table(results, metrics) + '\n')
    write_json(files['values'], results)
    return files


def sequence_table(results: Mapping[str, dict], metrics: Sequence[str]) -> str:
    """Markdown table: a row for each metric with mean and worst frame of each method, then the metrics over time."""
    lines = []
    for name in metrics:
        found = [result['metrics'][name] for result in results.values()]
        lines.append(
            [name, *(f'{_number(one["mean"])} (worst {_number(one["worst"])}, {one["worst_frame"]})' for one in found)]
        )
    for key, title in (('warping_error', 'warping error x 1000'), ('flicker', 'flicker, gray levels')):
        for kind in KINDS:
            lines.append([f'{title}, {kind}', *(_number(result[key][kind]) for result in results.values())])
    lines.append(['flicker by that of the sources', *(_number(result['flicker_ratio']) for result in results.values())])
    lines.append(['frames', *(str(result['frames']) for result in results.values())])
    return markdown_table(['', *results], lines)


def _number(value: Union[float, None]) -> str:
    return '-' if value is None else format_value(value)
