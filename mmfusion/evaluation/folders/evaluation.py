"""Scoring folders of fused images, of any method, against the folders of their sources."""

import collections
import math
import os
import statistics
import time
from typing import Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from mmfusion.fileio import whole_file, write_csv
from mmfusion.fileio.paths import ensure_writable_dir
from mmfusion.manifest import FileSet, write_manifest
from mmfusion.utils import UserError
from mmfusion.utils.progress import progress_bar

from ..protocols import expand_names
from ..reports.summary import Summary, columns
from ..reports.tables import summary_rows, to_latex, to_markdown
from .journal import Journal, file_identity
from .matching import MAX_LISTED, Scene, find_scenes
from .memory import keep_freed_memory
from .scoring import Rating, Score, score_in_batches, score_on_cpu

JOURNAL = 'journal.jsonl'
_TIMED = 1000  # latest images whose times are kept


class FusionEvaluation(NamedTuple):
    """What came out.

    Attributes:
        summaries: By method, over the images that all of these methods have; methods without any score are left out.
        scored: Number of fused images with a score, of this run or an earlier one.
        total: Number of fused images that there should be: pairs of sources times methods.
        reused: How many of the scores an earlier run had made.
        failures: One sentence for each fused image without a score.
        notes: What else to know: files without partner, JPEG files.
        milliseconds: Median time of scoring one fused image in this run, without reading: CPU time, or wall time in
            batches; NaN when all was done.
        images_per_second: Fused images of this run over its wall time, with reading and the start of the workers; NaN
            when all was done.
        files: Written files by kind.
    """

    summaries: Dict[str, Summary]
    scored: int
    total: int
    reused: int
    failures: List[str]
    notes: List[str]
    milliseconds: float
    images_per_second: float
    files: Dict[str, str]


def evaluate_folders(
    methods: Mapping[str, str],
    first: str,
    second: str,
    metrics: Sequence[str] = ('all',),
    protocol: str = 'default',
    out_dir: str = 'work_dirs/eval_fusion',
    workers: int = 1,
    device: str = 'cpu',
    batch_size: int = 16,
    suffixes: Sequence[str] = ('', '', ''),
    bit_depth: Optional[int] = None,
    resume: bool = True,
    progress: bool = True,
) -> FusionEvaluation:
    """Score folders of fused images and write tables.

    Args:
        methods: Folders of fused images by method.
        first: Folder of the first sources (visible).
        second: Folder of the second sources (infrared).
        metrics: Names out of the protocol's table; ``'all'`` stands for all but the slow ones.
        protocol: Name of the protocol.
        out_dir: Folder for ``{protocol}_images.csv`` (every image), ``{protocol}_summary.csv``,
            ``{protocol}_table.md``, ``{protocol}_table.tex``, ``manifest.json`` and the journal of what is done.
        workers: Worker processes on a CPU, threads that read files for a GPU.
        device: ``'cpu'``, or a GPU, where images of one size are scored in batches.
        batch_size: Images at once on a GPU.
        suffixes: See :func:`find_scenes`.
        bit_depth: Significant bits of 16-bit files.
        resume: Go on where an earlier run in this folder stopped; otherwise its journal is thrown away.
        progress: Show a progress bar; a line per tenth of the images where stderr is no terminal.

    Raises:
        UserError: Unknown protocol or metric, folders without matching images, a folder that cannot be written, or not
            one image could be scored.
        PairDataError: Two files of one folder have the same stem.
    """
    try:
        rating = Rating(tuple(expand_names(metrics, protocol)), protocol, bit_depth)
    except (KeyError, ValueError) as error:
        raise UserError(f'{error.args[0]} (--list shows all)') from error
    scenes, failures, notes = find_scenes(methods, str(first), str(second), suffixes)
    total = len(scenes) * len(methods)
    ensure_writable_dir(out_dir)
    with Journal(os.path.join(out_dir, JOURNAL), resume) as journal:
        todo = [rest for scene in scenes if (rest := _not_done(scene, rating, journal)).fused]
        n_todo = sum(len(scene.fused) for scene in todo)
        reused, jpegs = total - len(failures) - n_todo, collections.Counter()
        times, start, done = collections.deque(maxlen=_TIMED), time.perf_counter(), 0
        for score in _with_progress(_run(todo, rating, workers, device, batch_size), n_todo, progress):
            if score.error:
                failures.append(f'{score.name} ({score.method}): {score.error}')
                continue
            journal.add(protocol, score.files, score.values, (bit_depth,), jpeg=score.jpeg)
            times.append(score.seconds)
            done += 1
        wall = time.perf_counter() - start
        if not done + reused:
            raise UserError('not one fused image could be scored:\n  ' + '\n  '.join(_shortened(failures)))
        files, found = _write_images(scenes, rating, journal, out_dir, jpegs)
        summaries = _summarise(scenes, rating, journal, [method for method in methods if found[method]])
    notes += [
        f'{count} of {found[method]} fused images of {method} are JPEG files: compression changes the image, and MI, '
        f'VIF and Qabf most; '
        'compare methods on png files'
        for method, count in jpegs.items()
    ]
    files.update(_write_tables(summaries, protocol, out_dir))
    files['manifest'] = _write_manifest(
        scenes, rating, summaries, files.values(), out_dir, (str(first), str(second)), methods, suffixes
    )
    return FusionEvaluation(
        summaries,
        done + reused,
        total,
        reused,
        failures,
        notes,
        1e3 * statistics.median(times) if times else float('nan'),
        done / wall if done else float('nan'),
        files,
    )


def _run(scenes: List[Scene], rating: Rating, workers: int, device: str, batch_size: int) -> Iterator[Score]:
    keep_freed_memory()
    if device != 'cpu':
        return score_in_batches(scenes, rating, device, batch_size, workers)
    return score_on_cpu(scenes, rating, min(workers, len(scenes)))


def _with_progress(scores: Iterable[Score], total: int, progress: bool) -> Iterator[Score]:
    with progress_bar(total, 'scoring', shown=progress) as bar:
        for score in scores:
            yield score
            bar.update()


def _not_done(scene: Scene, rating: Rating, journal: Journal) -> Scene:
    """The scene with those methods that the journal has no score of."""
    return scene._replace(
        fused={method: path for method, path in scene.fused.items() if _find(scene, method, rating, journal) is None}
    )


def _find(scene: Scene, method: str, rating: Rating, journal: Journal) -> Optional[dict]:
    if method not in scene.fused:
        return None
    try:
        files = [file_identity(path) for path in (scene.fused[method], scene.first, scene.second)]
    except OSError:
        return None  # vanished since it was listed; reading it names it
    return journal.find(rating.protocol, files, rating.metrics, (rating.bit_depth,))


def _write_images(
    scenes: Sequence[Scene], rating: Rating, journal: Journal, out_dir: str, jpegs: collections.Counter
) -> tuple:
    """The csv file of every image, and how many each method has."""
    found = collections.Counter()
    keys = set()  # which metrics have values per source is known from the values alone
    for scene in scenes:
        for method in scene.fused:
            row = _find(scene, method, rating, journal)
            if row is not None:
                found[method] += 1
                jpegs[method] += row.get('jpeg') is True
                keys.update(row['values'])
    for method in [method for method, count in jpegs.items() if not count]:
        del jpegs[method]
    fields = [column.key for column in columns(rating.metrics, found=keys)]

    def rows() -> Iterator[dict]:
        for scene in scenes:
            for method in scene.fused:
                row = _find(scene, method, rating, journal)
                if row is not None:
                    yield dict(
                        method=method,
                        name=scene.name,
                        protocol=rating.protocol,
                        fused=row['files'][0][0],
                        **{key: row['values'].get(key, float('nan')) for key in fields},
                    )

    path = os.path.join(out_dir, f'{rating.protocol}_images.csv')
    write_csv(path, rows(), ['method', 'name', 'protocol', 'fused', *fields])
    return {'images': path}, found


def _summarise(scenes: Sequence[Scene], rating: Rating, journal: Journal, methods: Sequence[str]) -> Dict[str, Summary]:
    summaries = {method: Summary(rating.metrics, rating.protocol) for method in methods}
    for scene in scenes:
        rows = {method: _find(scene, method, rating, journal) for method in methods}
        if all(rows.values()):
            for method, row in rows.items():
                summaries[method].add(scene.name, row['values'])
    if not summaries[methods[0]].n_images:
        raise UserError(f'{", ".join(methods)} have no image in common that could be scored; score them one by one')
    return summaries


def _write_tables(summaries: Mapping[str, Summary], protocol: str, out_dir: str) -> Dict[str, str]:
    files = {
        kind: os.path.join(out_dir, f'{protocol}_{name}')
        for kind, name in (('summary', 'summary.csv'), ('markdown', 'table.md'), ('latex', 'table.tex'))
    }
    write_csv(files['summary'], summary_rows(summaries))
    for kind, text in (('markdown', to_markdown(summaries)), ('latex', to_latex(summaries))):
        with whole_file(files[kind]) as file:
            file.write(text)
    return files


def _write_manifest(
    scenes: Sequence[Scene],
    rating: Rating,
    summaries: Mapping[str, Summary],
    outputs: Iterable[str],
    out_dir: str,
    sources: Sequence[str],
    methods: Mapping[str, str],
    suffixes: Sequence[str],
) -> str:
    """State what was scored; one entry for each protocol."""
    data = {
        name: FileSet([getattr(scene, name) for scene in scenes], folder)
        for name, folder in zip(('first', 'second'), sources)
    }
    for method in summaries:
        data[f'fused/{method}'] = FileSet(
            [scene.fused[method] for scene in scenes if method in scene.fused], methods[method]
        )
    means = {
        method: {key: value.mean for key, value in summary.statistics().items()}
        for method, summary in summaries.items()
    }
    return str(
        write_manifest(
            out_dir,
            'score',
            key=f'score/{rating.protocol}',
            data=data,
            outputs=outputs,
            results=_finite(means),
            protocol=rating.protocol,
            metrics=list(rating.metrics),
            bit_depth=rating.bit_depth,
            suffixes=list(suffixes),
            images={method: summary.n_images for method, summary in summaries.items()},
        )
    )


def _finite(means: Dict[str, Dict[str, float]]) -> Dict[str, Dict[str, Optional[float]]]:
    """None for NaN, which JSON does not have."""
    return {
        method: {key: value if math.isfinite(value) else None for key, value in values.items()}
        for method, values in means.items()
    }


def _shortened(lines: Sequence[str]) -> List[str]:
    return [*lines[:MAX_LISTED], *([f'and {len(lines) - MAX_LISTED} more'] if len(lines) > MAX_LISTED else [])]
