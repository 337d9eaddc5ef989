"""A league from a config: plan, measure cell by cell, rank, and write tables and the page."""

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Union

from mmengine.logging import print_log

from mmfusion.fileio import write_csv, write_text
from mmfusion.fileio.paths import ensure_writable_dir
from mmfusion.manifest import write_manifest
from mmfusion.utils import UserError, register_all_modules
from mmfusion.utils.errors import WriteError

from .cells import has_record, record_cell, run_job
from .page import write_page
from .plan import DONE, FAILED, MISSING, SKIPPED, Cell, Plan, make_plan
from .settings import Settings, read_settings
from .standing import RESAMPLES, Standing, read_standing
from .table import CSV_FIELDS, Table, make_tables

FILES = dict(csv='league.csv', markdown='league.md', latex='league.tex', page='league.html')


class League(NamedTuple):
    """What came out.

    Attributes:
        standing: Means, ranks, costs; what is not measured is absent.
        tables: The same as tables: the overview, then one for each set of pairs.
        files: Written files by kind: ``csv``, ``markdown``, ``latex``, ``page``.
        skipped: Reason by cell that is not measured.
        failed: Message by cell that could not be measured.
        missing: Cells that another process works on, or that wait for one that failed.
        notes: What else a reader must know.
    """

    standing: Standing
    tables: List[Table]
    files: Dict[str, Path]
    skipped: Dict[str, str]
    failed: Dict[str, str]
    missing: List[str]
    notes: List[str]


def league(
    config: Union[str, Path, Mapping, Settings],
    root: Union[str, Path],
    methods: Sequence[str] = (),
    only: Optional[Sequence[str]] = None,
    pairs: Optional[Sequence[str]] = None,
    workers: int = 1,
    measure: bool = True,
    resamples: int = RESAMPLES,
    cfg_options: Optional[dict] = None,
) -> League:
    """Put methods side by side: fusion metrics, task networks as loaded and after training, time, operations, memory.

    Every measurement is a cell of its own, known by a hash of all that determines it. Cells that are done are read, so
    the call can be repeated, interrupted, and made in several processes at once; a cell that fails keeps its message,
    and the others go on.

    Args:
        config: File or name of a config such as ``'league_ivif'``, its content, or settings that were read.
        root: Folder of everything: ``cells/``, ``league.html``, ``league.csv``, ``league.md``, ``league.tex``.
        methods: Further rows: ``NAME=FOLDER`` of fused pictures, or ``NAME=CONFIG[,WEIGHTS]``.
        only: Rows of the config to keep; all when None.
        pairs: Sets of pairs to keep; all when None.
        workers: Number of processes.
        measure: False writes tables and the page of what is there.
        resamples: Resamplings of the images for intervals.
        cfg_options: Changes to the config.

    Returns:
        League: With ``standing``, ``tables`` and the written ``files``.

    Raises:
        UserError: The config is none of a league, no set of pairs is there, or pictures of a user do not fit their
            pairs.
        OSError: A file cannot be written; what was measured is kept.

    Examples:
        >>> league('league_ivif', 'work_dirs/league', only=['average', 'maximum'])  # doctest: +SKIP
    """
    if workers < 1:
        raise UserError(f'workers must be at least 1, got {workers}')
    if resamples < 100:
        raise UserError(f'at least 100 resamplings are needed for intervals, got {resamples}')
    register_all_modules()
    settings = config if isinstance(config, Settings) else read_settings(config, methods, only, pairs, cfg_options)
    root = Path(root)
    ensure_writable_dir(root)
    plan = make_plan(settings)
    if measure:
        todo = [job for job in plan.jobs if any(not cell.skipped and cell.state(root) != DONE for cell in job)]
        done = sum(cell.state(root) == DONE for cell in plan.cells)
        print_log(f'league: {done} of {sum(not cell.skipped for cell in plan.cells)} cells are there', 'current')
        _run(plan, todo, root, workers)
        for cell in plan.cells:
            if cell.state(root) == DONE and not has_record(cell, root):
                record_cell(plan, cell, root, late=True)
    return write_results(plan, root, resamples)


def _run(plan: Plan, todo: Sequence[Sequence[Cell]], root: Path, workers: int) -> None:
    if workers == 1 or len(todo) < 2:
        for index, job in enumerate(todo):
            print_log(f'league: {index + 1} of {len(todo)}: {job[0].label}', 'current')
            run_job(plan, list(job), root)
        return
    with ProcessPoolExecutor(
        min(workers, len(todo)), multiprocessing.get_context('spawn'), _start_worker, (str(root),)
    ) as pool:
        jobs = {
            pool.submit(_in_process, plan.settings, index, str(root)): plan.jobs[index]
            for index in map(plan.jobs.index, todo)
        }
        try:
            for number, job in enumerate(as_completed(jobs)):
                job.result()
                print_log(f'league: {number + 1} of {len(todo)}: {jobs[job][0].label} is through', 'current')
        except BrokenProcessPool as error:
            raise UserError(
                'a process ended from outside, perhaps for want of memory; what it had measured is kept. '
                'Repeat the command with fewer workers'
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


_plans: Dict[str, Plan] = {}  # of a worker process


def _start_worker(root: str) -> None:
    file = open(Path(root) / f'output_{os.getpid()}.log', 'a', buffering=1, encoding='utf-8')  # noqa: SIM115 - open as long as the process
    os.dup2(file.fileno(), sys.stdout.fileno())
    os.dup2(file.fileno(), sys.stderr.fileno())
    register_all_modules()


def _in_process(settings: Settings, index: int, root: str) -> None:
    if root not in _plans:
        _plans[root] = make_plan(settings)
    try:
        run_job(_plans[root], _plans[root].jobs[index], Path(root))
    except OSError as error:
        raise UserError(str(error)) from None  # its cause need not survive the way back


def _plain(node: Any) -> Any:
    """Settings as a config has them."""
    if hasattr(node, '_asdict'):
        return _plain(node._asdict())
    return {key: _plain(value) for key, value in node.items()} if isinstance(node, Mapping) else node


def write_results(plan: Plan, root: Path, resamples: int = RESAMPLES) -> League:
    """Write tables and the page of the cells that are done.

    Raises:
        OSError: A file cannot be written; what was measured is kept, and the former file too.
    """
    standing = read_standing(plan, root, resamples)
    tables = make_tables(plan, standing)
    by_state: Dict[str, List[Cell]] = {}
    for cell in plan.cells:
        by_state.setdefault(cell.state(root), []).append(cell)
    result = League(
        standing,
        tables,
        {kind: root / name for kind, name in FILES.items()},
        {cell.label: cell.skipped for cell in by_state.get(SKIPPED, ())},
        {cell.label: cell.failure(root) for cell in by_state.get(FAILED, ())},
        [cell.label for cell in by_state.get(MISSING, ())],
        plan.notes,
    )
    try:
        write_csv(result.files['csv'], (row for table in tables for row in table.csv_rows()), CSV_FIELDS)
        write_text(result.files['markdown'], '\n'.join(table.to_markdown() for table in tables))
        write_text(result.files['latex'], '\n'.join(table.to_latex() for table in tables))
        write_page(plan, result, root)
        runs = [str(cell.folder(root).relative_to(root)) for cell in by_state.get(DONE, ())]
        ranks = {name: value.value for name, value in standing.overall.items()}
        write_manifest(
            root,
            'league',
            config=_plain(plan.settings),
            runs=runs,
            outputs=result.files.values(),
            protocol=plan.settings.protocol,
            results=ranks,
        )
    except OSError as error:
        raise WriteError(
            f'{error}. Every measurement is kept: free space, and the same command writes tables and page'
        ) from error
    return result


def summary_lines(result: League) -> List[str]:
    """What a terminal shows: the overview, what was left out and why, where the files are."""
    lines = [result.tables[0].to_text()] if result.tables and result.tables[0].methods else ['nothing is measured yet']
    lines += [f'note: {note}' for note in result.notes]
    for title, entries in (('skipped', grouped(result.skipped)), ('failed', grouped(result.failed))):
        for reason, labels in entries.items():
            first, *rest = reason.splitlines()
            lines.append(f'{title}: {", ".join(labels)}: {first}{" (the page has all of it)" if rest else ""}')
    if result.missing:
        number, shown = len(result.missing), '; '.join(result.missing[:3])
        lines.append(
            f'missing: {number} cell{"s" * (number > 1)} ({shown}{"; ..." * (number > 3)}), the same command goes on'
        )
    lines.append('written: ' + ', '.join(str(path) for path in result.files.values()))
    return lines


def grouped(reasons: Mapping[str, str]) -> Dict[str, List[str]]:
    """Methods by reason: the first part of a label is the method.

    Examples:
        >>> grouped({'a, msrs, pictures': 'no weights', 'a, msrs, scores': 'no weights', 'b, cost': 'a folder'})
        {'no weights': ['a'], 'a folder': ['b']}
    """
    found: Dict[str, List[str]] = {}
    for label, reason in reasons.items():
        names = found.setdefault(reason, [])
        name = label.split(', ')[0]
        if name not in names:
            names.append(name)
    return found
