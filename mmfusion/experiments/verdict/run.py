"""A verdict from a config: plan, train, test, judge, and write the page."""

from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence, Union

from mmengine.config import Config
from mmengine.logging import print_log

from mmfusion.manifest import write_manifest
from mmfusion.registry import DATASETS
from mmfusion.utils import UserError, load_config, register_all_modules
from mmfusion.version import __version__

from .cells import RECORD_FILE, Cell, check_labels, claim, plan_cells, read_plan, read_records, run_cells
from .groups import Grouping
from .matching import SIZE_EDGES
from .page import write_page
from .report import Report, make_report
from .rows import ROWS, check_rows, default_rows
from .table import write_table
from .tasks import DETECTION_METRICS, RowFacts

PAGE_FILE, TABLE_FILE = 'verdict.html', 'verdict.csv'


class Verdict(NamedTuple):
    """What came out.

    Attributes:
        report: Everything that was found; None while no cell is complete.
        missing: Cells that are not complete yet.
        page: The page, None without a report.
        table: The csv file, None without a report.
    """

    report: Optional[Report]
    missing: List[Cell]
    page: Optional[Path]
    table: Optional[Path]


def verdict(
    base: Config,
    root: Union[str, Path],
    rows: Optional[Sequence[str]] = None,
    seeds: Sequence[int] = (0, 1, 2),
    workers: int = 1,
    minutes: Optional[float] = None,
    metric: str = 'mAP50',
    resamples: int = 2000,
    grouping: Grouping = None,
    size_edges: Sequence[float] = SIZE_EDGES,
) -> Verdict:
    """Train and test every row by one config, with equal budgets, and judge them.

    Finished cells are kept and unfinished ones gone on with, so the call can be repeated; several processes, also on
    several machines that share the folder, can work on one verdict.

    Args:
        base: Config of a coupling with task networks, as a training takes it: its data, schedule, batch size and seeds
            serve all rows.
        root: Folder of everything.
        rows: Keys of :data:`~mmfusion.experiments.verdict.rows.ROWS`; those that the config allows when None.
        seeds: Seeds of the rows that train.
        workers: Number of processes.
        minutes: Budget of each training in this call; it stops at the next end of an epoch.
        metric: Metric of detection that is judged: ``'mAP50'``, ``'mAP75'`` or ``'mAP'``; segmentation is judged by
            mIoU.
        resamples: Number of resamplings.
        grouping: Group of each test image (day, night, ...): a mapping, or a csv file with the columns ``name,group``;
            read off the names of MSRS when None.
        size_edges: Sides in pixels of squares that part small from medium and medium from large objects.

    Raises:
        UserError: The config is no base for a verdict, a row cannot be run by it, or ``root`` holds a verdict on
            another config.
    """
    root = Path(root)
    rows = list(dict.fromkeys(rows)) if rows else default_rows(base)
    seeds = sorted(set(seeds))
    check_rows(base, rows)
    check_options(seeds, workers, metric, resamples, size_edges)
    check_labels(base)
    plan = claim(base, root, dict(rows=rows, seeds=seeds, **describe(base)))
    cells = plan_cells(rows, seeds)
    missing = run_cells(base, cells, root, minutes, workers)
    for cell in missing:
        print_log(f'verdict: {cell.row}, seed {cell.seed} is missing', 'current')
    report = judge_folder(root, plan, metric, resamples, grouping, size_edges)
    return Verdict(report, missing, *(write_results(report, root, plan, missing) if report else (None, None)))


def judge_folder(
    root: Union[str, Path],
    plan: Optional[dict] = None,
    metric: str = 'mAP50',
    resamples: int = 2000,
    grouping: Grouping = None,
    size_edges: Sequence[float] = SIZE_EDGES,
) -> Optional[Report]:
    """Judge the cells that a folder holds, without a config or a network; arguments as in :func:`verdict`.

    Returns:
        Report or None: None while no cell is complete.

    Raises:
        UserError: The folder holds no verdict, or what :func:`make_report` raises.
    """
    plan = plan or read_plan(Path(root))
    cells = plan_cells([row for row in ROWS if row in plan['rows']], plan['seeds'])
    records = read_records(Path(root), cells)
    if not records:
        return None
    return make_report(
        records,
        row_facts([row for row in ROWS if row in records], plan.get('modalities')),
        metric,
        resamples,
        grouping,
        size_edges,
        plan.get('ignore_background', False),
    )


def row_facts(names: Sequence[str], modalities: Optional[Sequence[str]] = None) -> dict:
    """Facts of rows for the statistics; single sources are called by the names of the data set's modalities."""
    own = dict(zip(('visible', 'infrared'), modalities or ()))
    facts = {}
    for name in names:
        row = ROWS[name]
        title = row.title.replace(row.variant, own[row.variant]) if row.single and row.variant in own else row.title
        facts[name] = RowFacts(title, row.single, row.untouched, row.trains, row.variant if row.only else None)
    return facts


def check_options(seeds: Sequence[int], workers: int, metric: str, resamples: int, size_edges: Sequence[float]) -> None:
    """Refuse options out of range before anything is trained.

    Raises:
        UserError: The message names the option.
    """
    if not seeds or min(seeds) < 0:
        raise UserError(f'seeds must be numbers from 0 on, at least one, got {list(seeds)}')
    if len(seeds) == 1:
        print_log(
            'verdict: with one seed nothing that is trained can be called different from anything, since another seed'
            ' may turn it round; give two at least, better three',
            'current',
        )
    if workers < 1:
        raise UserError(f'workers must be at least 1, got {workers}')
    if metric not in DETECTION_METRICS:
        raise UserError(f'metric must be one of {", ".join(DETECTION_METRICS)}, got {metric!r}')
    if resamples < 100:
        raise UserError(f'at least 100 resamplings are needed for intervals, got {resamples}')
    if len(size_edges) != 2 or not 0 < size_edges[0] < size_edges[1]:
        raise UserError(f'size edges must be two sides in pixels, the smaller first, got {tuple(size_edges)}')


def describe(base: Config) -> dict:
    """What the page says about the config: budget, data, and what the metrics need."""
    dataset = dict(base.test_dataloader.dataset)
    while 'dataset' in dataset:
        dataset = dict(dataset['dataset'])
    cls = DATASETS.get(dataset['type']) if isinstance(dataset.get('type'), str) else dataset.get('type')
    meta = {**getattr(cls, 'METAINFO', {}), **(dataset.get('metainfo') or {})}
    metrics = base.get('test_evaluator') or []
    seg = [
        each
        for each in (metrics if isinstance(metrics, (list, tuple)) else [metrics])
        if str(each.get('type')).endswith('SegIoUMetric')
    ]
    budget = {key: base.train_cfg[key] for key in ('max_epochs', 'max_iters') if key in base.train_cfg}
    return dict(
        config=str(base.filename or ''),
        coupling=base.model.type,
        fuser=base.model.fuser.get('type'),
        tasks={name: network.type for name, network in base.model.tasks.items()},
        data=str(dataset.get('type')),
        modalities=list(meta.get('modalities', ())),
        budget=dict(budget, batch_size=base.train_dataloader.get('batch_size')),
        ignore_background=bool(seg and seg[0].get('ignore_background', False)),
        version=__version__,
    )


def write_results(report: Report, root: Union[str, Path], plan: dict, missing: Sequence[Cell] = ()) -> tuple:
    """Write the page and the csv file; return their paths."""
    root = Path(root)
    write_table(report, root / TABLE_FILE)
    write_page(report, root / PAGE_FILE, root, plan, [f'{cell.row}, seed {cell.seed}' for cell in missing])
    cells = plan_cells([row for row in ROWS if row in plan.get('rows', ())], plan.get('seeds', ()))
    runs = [cell.folder(root) for cell in cells if cell.is_complete(root)]
    write_manifest(
        root,
        'verdict',
        outputs=[root / PAGE_FILE, root / TABLE_FILE, *(run / RECORD_FILE for run in runs)],
        runs=[run.name for run in runs],
        seeds=plan.get('seeds'),
        results=dict(sentences=report.sentences, notes=report.notes),
    )
    return root / PAGE_FILE, root / TABLE_FILE


def verdict_command(args) -> Verdict:
    """What ``tools/analysis_tools/verdict.py`` does.

    Args:
        args: Its arguments.

    Raises:
        UserError: See :func:`verdict` and :func:`judge_folder`.
    """
    options = dict(metric=args.metric, resamples=args.resamples, grouping=args.groups, size_edges=args.size_edges)
    if args.config:
        cfg = load_config(args.config, args.cfg_options)
        register_all_modules()
        result = verdict(cfg, args.work_dir, args.rows, args.seeds, args.workers, args.minutes, **options)
    else:
        plan = read_plan(args.work_dir)
        check_options(plan['seeds'], 1, args.metric, args.resamples, args.size_edges)
        report = judge_folder(args.work_dir, plan, **options)
        missing = [cell for cell in plan_cells(plan['rows'], plan['seeds']) if not cell.is_complete(args.work_dir)]
        result = Verdict(
            report, missing, *(write_results(report, args.work_dir, plan, missing) if report else (None, None))
        )
    if result.report is None:
        print(f'\nno cell is complete yet, {len(result.missing)} are missing; repeat the command to go on')
        return result
    print('\n' + '\n'.join(result.report.sentences + result.report.notes))
    if result.missing:
        print(f'{len(result.missing)} cells are missing, so this is not the last word; repeat the command to go on')
    print(f'\nwritten to {result.page} and {result.table}')
    return result
