"""Measuring the cells of a league: once each, in several processes, with a manifest that says what it was made from."""

import json
import time
import traceback
from pathlib import Path
from typing import Dict, List, Optional

from mmengine.logging import print_log

from mmfusion.experiments.locking import locked
from mmfusion.fileio import write_json
from mmfusion.fileio.reading import parse_json
from mmfusion.manifest import FileSet, read_manifest, write_manifest
from mmfusion.profiling.timing import describe_machine
from mmfusion.utils import UserError
from mmfusion.utils.errors import user_message

from .cost import measure_cost
from .course import run_course
from .measure import RECORD_FILE, make_pictures, rate_pictures, test_network, weights_of
from .plan import DONE, FAILURE_FILE, RESULT_FILE, Cell, Plan, pictures_of


def run_job(plan: Plan, job: List[Cell], root: Path) -> None:
    """Measure the cells of a job that are not done; what fails keeps its message, and what depends on it waits.

    Raises:
        OSError: The disk is full, so that not even the message can be kept.
    """
    for cell in job:
        if cell.skipped or cell.state(root) == DONE:
            continue
        if not run_cell(plan, cell, root) and cell.kind == 'pictures':
            return


def run_cell(plan: Plan, cell: Cell, root: Path) -> bool:
    """Measure a cell unless another process does; return whether it is done."""
    folder = cell.folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / 'lock') as mine:
        if not mine:
            print_log(f'league: another process works on {cell.label}', 'current')
            return False
        if (folder / RESULT_FILE).exists():
            return True
        start = time.perf_counter()
        try:
            values = _measure(plan, cell, root)
        except Exception as error:  # one cell that cannot be measured must not cost the others
            message = user_message(error) or f'{type(error).__name__}: {error}'
            write_json(folder / FAILURE_FILE, dict(message=message, traceback=traceback.format_exc()))
            print_log(f'league: {cell.label} failed: {message}', 'current')
            return False
        write_json(
            folder / RESULT_FILE,
            dict(
                kind=cell.kind, method=cell.method, data=cell.data, name=cell.name, facts=parse_json(json.dumps(cell.facts, default=repr)),
                values=values, seconds=round(time.perf_counter() - start, 2), machine=describe_machine(plan.settings.device),
            ),
        )  # fmt: skip
        record_cell(plan, cell, root)
        (folder / FAILURE_FILE).unlink(missing_ok=True)
        return True


def has_record(cell: Cell, root: Path) -> bool:
    """Whether the manifest of a cell says enough to compute it again; there is none where a process ended just
    before.
    """
    try:
        return 'config' in read_manifest(cell.folder(root)).get('league', ())
    except UserError:
        return False


def cell_config(plan: Plan, cell: Cell, root: Path) -> dict:
    """All settings that a cell was measured by, for its manifest."""
    settings, method = plan.settings, plan.settings.methods[cell.method]
    config: Dict[str, object] = dict(
        cell=dict(kind=cell.kind, method=cell.method, data=cell.data, name=cell.name), device=settings.device
    )
    if cell.kind in ('pictures', 'cost', 'course'):
        config['method'] = method._asdict()
    if cell.data:
        config['pairs_dataloader'] = dict(dataset=dict(settings.pairs[cell.data].dataset, test_mode=True))
        home = Path(root).absolute()
        files = {
            name: Path(file).absolute() for name, file in pictures_of(plan, cell.method, cell.data, root).files.items()
        }
        config['pictures'] = {
            name: str(file.relative_to(home) if home in file.parents else file) for name, file in files.items()
        }
    if cell.kind == 'scores':
        config.update(metrics=list(settings.metrics), protocol=settings.protocol)
    elif cell.kind == 'network':
        config['network'] = settings.networks[cell.name]._asdict()
    elif cell.kind == 'cost':
        config['cost'] = settings.cost._asdict()
    elif cell.kind == 'course':
        config['course'] = settings.courses[cell.name]._asdict()
    return config


def record_cell(plan: Plan, cell: Cell, root: Path, late: bool = False) -> None:
    """Write the manifest of a cell: settings, pairs or pictures, weights, and hashes of what came out.

    Args:
        plan: The plan.
        cell: A cell that is done.
        root: Folder of the league.
        late: The cell was measured before, and its manifest is missing.
    """
    folder, method = cell.folder(root), plan.settings.methods[cell.method]
    data, weights, outputs = {}, {}, [folder / RESULT_FILE]
    if cell.data:
        data['pairs'] = plan.pairs[cell.data].dataset
        pictures = [Path(path) for path in pictures_of(plan, cell.method, cell.data, root).files.values()]
        if cell.kind == 'pictures' and not method.folder:
            outputs += pictures
        else:
            data['pictures'] = FileSet(pictures, pictures[0].parent)
    if cell.kind in ('pictures', 'cost', 'course') and method.weights:
        weights['fusion'] = method.weights
    if cell.kind == 'network':
        checkpoint = weights_of(plan.settings.networks[cell.name].network)
        outputs.append(folder / RECORD_FILE)
        if checkpoint and Path(checkpoint).is_file():
            weights['network'] = checkpoint
    seeds = plan.settings.courses[cell.name].seeds if cell.kind == 'course' else ()
    write_manifest(
        folder,
        'league',
        config=cell_config(plan, cell, root),
        data=data,
        weights=weights,
        outputs=outputs,
        protocol=plan.settings.protocol if cell.kind == 'scores' else None,
        seeds=list(seeds),
        runs=[f'seed{seed}' for seed in seeds],
        cell=cell.label,
        **(dict(late=True) if late else {}),
    )


def _measure(plan: Plan, cell: Cell, root: Path) -> Optional[dict]:
    settings, method = plan.settings, plan.settings.methods[cell.method]
    if cell.kind == 'cost':
        return measure_cost(method, settings.cost, settings.device)
    if cell.kind == 'course':
        return run_course(settings.courses[cell.name], method, cell.folder(root), settings.device)
    pairs = plan.pairs[cell.data]
    if cell.kind == 'pictures':
        made = plan.pictures.get((cell.method, cell.data)) or make_pictures(
            method, pairs, cell.folder(root), settings.device
        )
        return dict(images=len(pairs), files=dict(made.identity()))
    pictures = pictures_of(plan, cell.method, cell.data, root)
    if cell.kind == 'scores':
        return rate_pictures(pictures, pairs, settings.metrics, settings.protocol, cell.folder(root))
    return test_network(settings.networks[cell.name], pictures, pairs, cell.folder(root), settings.device)
