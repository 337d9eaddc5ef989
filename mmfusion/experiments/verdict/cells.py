"""Training and testing of the cells of a verdict, one for each row and seed: resumable, and in several processes at
once."""

import copy
import multiprocessing
import os
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence

from mmengine.config import Config
from mmengine.logging import print_log

from mmfusion.experiments.identity import claim as claim_run
from mmfusion.experiments.identity import run_identity
from mmfusion.experiments.locking import locked
from mmfusion.fileio import write_json
from mmfusion.fileio.paths import ensure_writable_dir
from mmfusion.fileio.reading import read_record
from mmfusion.registry import DATASETS, build_configured
from mmfusion.running.checks import check_testing
from mmfusion.running.manifests import record_test, watch_samples
from mmfusion.running.runner import build_runner, leave_out_training
from mmfusion.utils import UserError, register_all_modules
from mmfusion.utils.errors import building, user_message

from ..comparison import IDENTITY_FILE, RESULT_FILE, train_and_test
from .record import Record
from .recorder import PredictionRecorder  # noqa: F401  registers it
from .rows import ROWS, row_config, seeds_of, task_kinds

RECORD_FILE = 'record.npz'
PLAN_FILE = 'verdict.json'


class Cell(NamedTuple):
    """A row with a seed.

    Attributes:
        row: Key of :data:`~mmfusion.experiments.verdict.rows.ROWS`.
        seed: Seed of its training.
    """

    row: str
    seed: int

    def folder(self, root: Path) -> Path:
        """Where its files lie."""
        return Path(root) / f'{self.row}_seed{self.seed}'

    def is_complete(self, root: Path) -> bool:
        """Whether it is trained, tested and recorded."""
        return all((self.folder(root) / name).exists() for name in (RESULT_FILE, RECORD_FILE))


def plan_cells(rows: Sequence[str], seeds: Sequence[int]) -> List[Cell]:
    """All cells, seed by seed, so that a verdict that is stopped has all rows of the first seeds."""
    cells = [Cell(row, seed) for seed in seeds for row in rows if seed in seeds_of(row, seeds)]
    return sorted(
        cells, key=lambda cell: ROWS[cell.row].trains
    )  # those without training first: they say at once whether the data are in order


def claim(base: Config, root: Path, facts: dict) -> dict:
    """Make a folder the one of this config, or make sure that it is.

    Args:
        base: Config of the verdict.
        root: Folder.
        facts: What else the folder shall say of itself; rows and seeds that were asked for before are kept.

    Returns:
        dict: What the folder now says of itself.

    Raises:
        UserError: The folder belongs to another config, or cannot be written.
    """
    ensure_writable_dir(root)
    claim_run(Path(root) / IDENTITY_FILE, run_identity(base))
    path, now = Path(root) / PLAN_FILE, dict(facts)
    if path.exists():
        before = read_plan(root)
        now = {**before, **now}
        for key in ('rows', 'seeds'):
            now[key] = list(dict.fromkeys([*before.get(key, ()), *facts.get(key, ())]))
        now['seeds'] = sorted(now['seeds'])
    write_json(path, now)
    return now


def read_plan(root: Path) -> dict:
    """What a folder says of itself.

    Raises:
        UserError: It holds no verdict, or a damaged one.
    """
    path = Path(root) / PLAN_FILE
    if not path.exists():
        raise UserError(f'{root} holds no verdict: there is no {PLAN_FILE}')
    return read_record(path, 'remove it and run the command again with its config')


def run_cells(
    base: Config, cells: Sequence[Cell], root: Path, minutes: Optional[float] = None, workers: int = 1
) -> List[Cell]:
    """Run the cells that are not complete yet.

    Args:
        base: Config of the verdict.
        cells: Cells.
        root: Folder of all cells.
        minutes: Budget of each training; it stops at the next end of an epoch, and the next call goes on.
        workers: Number of processes.

    Returns:
        list[Cell]: The cells that are still not complete.

    Raises:
        UserError: A cell cannot be run; those that run at the time are finished first.
    """
    todo = [cell for cell in cells if not cell.is_complete(root)]
    print_log(f'verdict: {len(cells) - len(todo)} of {len(cells)} cells are complete', 'current')
    if workers <= 1 or len(todo) <= 1:
        for cell in todo:
            run_cell(base, cell, root, minutes, with_pictures=_shows(cell, cells))
    else:
        _run_in_processes(base, todo, cells, root, minutes, min(workers, len(todo)))
    return [cell for cell in cells if not cell.is_complete(root)]


def _shows(cell: Cell, cells: Sequence[Cell]) -> bool:
    """Whether the pictures of a cell are kept: those of one seed are enough to look at."""
    return cell.seed == min(other.seed for other in cells if other.row == cell.row)


def run_cell(base: Config, cell: Cell, root: Path, minutes: Optional[float] = None, with_pictures: bool = True) -> bool:
    """Train and test one cell, going on where an earlier piece stopped; return whether it is complete.

    A cell that another process is working on is left to it.
    """
    folder = cell.folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / 'lock') as mine:
        if not mine:
            print_log(f'verdict: another process works on {folder.name}', 'current')
            return False
        if cell.is_complete(root):
            return True
        (folder / RESULT_FILE).unlink(missing_ok=True)  # without a record it is worth nothing
        cfg = cell_config(base, cell, root, with_pictures)
        facts = dict(row=cell.row, seed=cell.seed)
        name = f'verdict_{folder.name}'
        result = train_and_test(cfg, name, facts, minutes) if ROWS[cell.row].trains else _test(cfg, name, facts)
        if result is None:
            print_log(
                f'verdict: {folder.name} is not finished within {minutes} minutes, call again to go on', 'current'
            )
        return result is not None


def cell_config(base: Config, cell: Cell, root: Path, with_pictures: bool) -> Config:
    """Config of a cell, with the recorder in the place of metrics of pictures."""
    folder = cell.folder(root)
    cfg = row_config(base, cell.row, cell.seed, folder)
    metrics = cfg.get('test_evaluator') or []
    metrics = list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]
    kept = [metric for metric in metrics if str(metric.get('type')).split('.')[-1] != 'FusionMetric']
    pictures = (
        dict(picture_dir=str(folder / 'pictures'), source_dir=str(Path(root) / 'sources')) if with_pictures else {}
    )
    cfg.test_evaluator = [
        *kept,
        dict(type='mmfusion.PredictionRecorder', out_file=str(folder / RECORD_FILE), tasks=task_kinds(cfg), **pictures),
    ]
    return cfg


def check_labels(base: Config) -> None:
    """Make sure that the test set can judge the tasks, before anything is trained.

    Raises:
        UserError: It has no boxes, or no class maps, or cannot be built.
    """
    dataset = build_configured(DATASETS, copy.deepcopy(dict(base.test_dataloader.dataset)))
    items = (dataset.get_data_info(index) for index in range(len(dataset)))
    kinds = task_kinds(base)
    if 'detection' in kinds and not any(item.get('instances') for item in items):
        raise UserError(
            f'test_dataloader: {type(dataset).__name__} has no boxes in any of {len(dataset)} pairs to compare'
            ' detections with; use a labeled test set'
        )
    first = dataset.get_data_info(0)
    if 'segmentation' in kinds and not ('seg_map_path' in first or 'gt_seg_map' in first):
        raise UserError(
            f'test_dataloader: {type(dataset).__name__} has no class maps to compare segmentations'
            ' with; use a labeled test set'
        )


def _test(cfg: Config, name: str, facts: dict) -> dict:
    """Test networks as their own weights make them."""
    cfg.experiment_name = f'{name}_{os.getpid()}'
    leave_out_training(cfg)
    cfg.resume = False
    runner = build_runner(cfg)
    check_testing(runner, runner.test_loop)
    with building():
        runner.model.init_weights()
    samples = watch_samples(runner)
    metrics = {key: float(value) for key, value in runner.test().items() if isinstance(value, (int, float))}
    record_test(runner, cfg, metrics, samples)
    result = dict(facts, epochs=0, metrics=metrics)
    write_json(Path(cfg.work_dir) / RESULT_FILE, result)
    return result


def _run_in_processes(
    base: Config, todo: Sequence[Cell], cells: Sequence[Cell], root: Path, minutes: Optional[float], workers: int
) -> None:
    # Processes read the number of threads when torch is loaded, so it must stand before they start.
    threads = str(max(1, (len(os.sched_getaffinity(0))) // workers))
    before = {name: os.environ.get(name) for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')}
    os.environ.update({name: value or threads for name, value in before.items()})
    try:
        with ProcessPoolExecutor(workers, multiprocessing.get_context('spawn'), max_tasks_per_child=1) as pool:
            jobs = {
                pool.submit(_in_process, base.to_dict(), cell, root, minutes, _shows(cell, cells)): cell
                for cell in todo
            }
            for job in as_completed(jobs):
                cell = jobs[job]
                where = cell.folder(root)
                try:
                    error = job.result()
                except BrokenProcessPool as broken:
                    running = sorted(other.folder(root).name for other in todo if not other.is_complete(root))
                    raise UserError(
                        'a worker process was killed, perhaps because memory ran out, while these were running or '
                        'waiting:'
                        f' {", ".join(running)}. Look at output.log in their folders, and repeat the command to go on,'
                        ' with fewer workers'
                    ) from broken
                if error is not None:
                    pool.shutdown(wait=True, cancel_futures=True)
                    message, known = error
                    if known:
                        raise UserError(f'{where.name}: {message}')
                    raise UserError(f'{where.name} failed (see {where}/output.log):\n{message}')
                state = 'is complete' if cell.is_complete(root) else 'is not finished'
                print_log(f'verdict: {where.name} {state}', 'current')
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _in_process(content: dict, cell: Cell, root: Path, minutes: Optional[float], with_pictures: bool):
    """Run a cell in a process of its own, its output in a file; return None, or what went wrong and whether a user can
    mend it."""
    folder = cell.folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'output.log', 'a', buffering=1, encoding='utf-8') as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
        try:
            register_all_modules()
            run_cell(Config(content), cell, root, minutes, with_pictures)
        except Exception as error:  # exceptions of other packages need not survive the way back
            message = user_message(error)
            print(traceback.format_exc(), flush=True)
            return (message, True) if message else (traceback.format_exc(), False)
    return None


def read_records(root: Path, cells: Sequence[Cell]) -> Dict[str, Dict[int, Record]]:
    """Records of the complete cells, by row and seed."""
    found: Dict[str, Dict[int, Record]] = {}
    for cell in cells:
        if cell.is_complete(root):
            found.setdefault(cell.row, {})[cell.seed] = Record.load(cell.folder(root) / RECORD_FILE)
    return found
