"""Train the same task network on the outputs of several fusers, with the same schedule and seeds, and tabulate what
comes out.
"""

import copy
import math
import os
import statistics
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from mmfusion.engine.hooks import FirstLossHook
from mmfusion.experiments import claim, data_identity, run_identity
from mmfusion.fileio import write_json, write_text
from mmfusion.fileio.markdown import markdown_table
from mmfusion.fileio.reading import read_record
from mmfusion.manifest import write_manifest
from mmfusion.registry import MODELS
from mmfusion.running.checks import check_training
from mmfusion.running.manifests import record_test, record_training, watch_samples
from mmfusion.running.run_config import checkpoint_to_resume, coupling_class
from mmfusion.running.runner import build_runner
from mmfusion.utils import UserError
from mmfusion.utils.errors import InputError

#: What each row of the table changes in the model of the base config; ``joint``, ``meta`` and ``bilevel`` are the
#: config as it is. With the config of a ``MetaCoupling`` or ``BilevelCoupling``, ``meta`` or ``bilevel`` is that, and
#: all other rows train the same parts by a ``JointCoupling``, a weighted sum: see :func:`as_joint`.
VARIANTS: Dict[str, dict] = dict(
    visible=dict(fuser=dict(type='SourceFuser', source='first')),
    infrared=dict(fuser=dict(type='SourceFuser', source='second')),
    average=dict(fuser=dict(type='AverageFuser')),
    maximum=dict(fuser=dict(type='MaximumFuser')),
    laplacian=dict(fuser=dict(type='LaplacianPyramidFuser')),
    false_color=dict(fuser=dict(type='FalseColorFuser')),
    detached=dict(detach=True),
    joint=dict(),
    meta=dict(),
    bilevel=dict(),
)
#: Rows that train by the rule of a coupling other than ``JointCoupling``.
RULES: Dict[str, str] = dict(meta='MetaCoupling', bilevel='BilevelCoupling')
RESULT_FILE, IDENTITY_FILE = 'result.json', 'run.json'
#: Column title -> metric, for tables; those that the results have are shown.
COLUMNS = {'mIoU': 'seg/mIoU', 'mAP50': 'coco/bbox_mAP_50', 'mAP': 'coco/bbox_mAP', 'AP50 (VOC)': 'pascal_voc/AP50'}


def variant_config(base: Config, variant: str, seed: int, work_dir: Path) -> Config:
    """Config of one run of the comparison.

    A fuser without parameters replaces the base's fuser, together with the guide and the fusion losses that it does not
    need.

    Args:
        base: Config of a joint training, or of a coupling of :data:`RULES`.
        variant: Key of :data:`VARIANTS`.
        seed: Seed of the run.
        work_dir: Folder of the run.

    Raises:
        ValueError: The variant is unknown, or the config has another coupling than the rule of the variant.
    """
    if variant not in VARIANTS:
        raise InputError(f'unknown variant {variant!r}; choose from {list(VARIANTS)}')
    rule = RULES.get(variant)
    cls = coupling_class(base.model)
    if rule is not None and not issubclass(cls, MODELS.get(rule)):
        raise InputError(f'variant {variant!r} needs the config of a {rule}, this one has a {base.model.type}')
    cfg = (
        copy.deepcopy(base)
        if rule is not None or not issubclass(cls, tuple(MODELS.get(name) for name in RULES.values()))
        else as_joint(base)
    )
    change = copy.deepcopy(VARIANTS[variant])
    if 'fuser' in change:
        cfg.model.update(guide=None, fusion_loss=None)
        if 'optimizer' not in cfg.optim_wrapper:  # one for each part, and these parts do not learn any more
            for part in ('fuser', 'guide', 'fusion_loss'):
                cfg.optim_wrapper.pop(part, None)
    for key, value in change.items():
        cfg.model[key] = ConfigDict(value) if isinstance(value, dict) else value
    cfg.randomness = dict(seed=seed)
    cfg.work_dir = str(work_dir)
    return cfg


def as_joint(base: Config) -> Config:
    """Config of a ``JointCoupling`` that trains the parts of a coupling of :data:`RULES`: fusion loss plus weighted
    task losses, one optimizer.

    Epochs, batches and learning rates stay; of one optimizer for each part, that of the task networks serves all. What
    a ``MetaCoupling`` learns is fixed (fusion losses weigh each source 0.5), and there is no phase 1 and no copy with
    exchanged sources.
    """
    cfg = copy.deepcopy(base)
    shared = (
        'fuser',
        'fusion_loss',
        'tasks',
        'task_weights',
        'frozen_tasks',
        'guide',
        'guide_weight',
        'clamp',
        'data_preprocessor',
    )
    cfg.model = ConfigDict(type='JointCoupling', **{key: cfg.model[key] for key in shared if key in cfg.model})
    loop = {key: value for key, value in cfg.train_cfg.items() if key in ('max_epochs', 'val_begin', 'val_interval')}
    cfg.train_cfg = ConfigDict(type='EpochBasedTrainLoop', **loop)
    if 'optimizer' not in cfg.optim_wrapper:
        cfg.optim_wrapper = ConfigDict({'type': 'OptimWrapper', **cfg.optim_wrapper.tasks})
    cfg.custom_hooks = [hook for hook in cfg.get('custom_hooks') or [] if hook['type'] != 'LossWeightVisualizationHook']
    return cfg


def run_variant(
    base: Config, variant: str, seed: int, root: Path, minutes: Optional[float] = None, data: Optional[dict] = None
) -> Optional[dict]:
    """Train and test one variant, going on where an earlier piece stopped.

    Args:
        base: Config of a joint training.
        variant: Key of :data:`VARIANTS`.
        seed: Seed of the run.
        root: Folder that holds all runs.
        minutes: Budget of this piece; the run stops at the next end of an epoch.
        data: Result of :func:`mmfusion.experiments.data_identity`, if it is known.

    Returns:
        dict or None: The test metrics, or None when the budget ended first.

    Raises:
        UserError: The folder of the run holds one with another config, other data or other weights to start from.
    """
    work_dir = Path(root) / f'{variant}_seed{seed}'
    result_file, identity_file = work_dir / RESULT_FILE, work_dir / IDENTITY_FILE
    cfg = variant_config(base, variant, seed, work_dir)
    if not identity_file.exists() and (result_file.exists() or (work_dir / 'last_checkpoint').exists()):
        raise UserError(
            f'{work_dir} holds a run that does not say by which config it was made; choose another --work-dir, or '
            f'remove it'
        )
    claim(identity_file, run_identity(cfg, data))
    if result_file.exists():
        return read_record(result_file, 'delete it to make this run again')
    return train_and_test(cfg, f'{variant}_{seed}', dict(variant=variant, seed=seed), minutes)


def train_and_test(cfg: Config, name: str, facts: dict, minutes: Optional[float] = None) -> Optional[dict]:
    """Train and test by a config, going on where an earlier piece stopped, and store the result in the work dir when it
    is whole.

    Args:
        cfg: Config with ``work_dir``.
        name: Name of the run.
        facts: What the result says beside ``epochs`` and ``metrics``.
        minutes: Budget of this piece; the run stops at the next end of an epoch.

    Returns:
        dict or None: The result, or None when the budget ended first.
    """
    work_dir = Path(cfg.work_dir)
    checkpoint = checkpoint_to_resume(str(work_dir))
    cfg.resume = checkpoint is not None
    cfg.load_from = checkpoint or cfg.get('load_from')  # that of the config is where the first piece began
    cfg.experiment_name = f'{name}_{os.getpid()}'
    # The test at the end is the result; validating on the way would cost time and change nothing.
    cfg.train_cfg.val_begin = cfg.train_cfg.max_epochs + 1
    # One file per run is enough to go on from, and nothing else of the run is needed.
    cfg.default_hooks.checkpoint.update(max_keep_ckpts=1)
    if minutes:
        cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='StopAfterHook', minutes=minutes)]
    runner = build_runner(cfg)
    check_training(runner)
    runner.register_hook(FirstLossHook())
    runner.train()
    if runner.epoch < runner.max_epochs:
        return None
    record_training(runner, cfg)
    samples = watch_samples(runner)
    metrics = {key: float(value) for key, value in runner.test().items() if isinstance(value, (int, float))}
    record_test(runner, cfg, metrics, samples, checkpoint_to_resume(str(work_dir)))
    result = dict(facts, epochs=runner.max_epochs, metrics=metrics)
    write_json(work_dir / RESULT_FILE, result)
    return result


def compare(
    base: Config, variants: Sequence[str], seeds: Sequence[int], root: Path, minutes: Optional[float] = None
) -> List[dict]:
    """Run every variant with every seed; finished runs are read, unfinished ones resumed.

    Args:
        base: Config of a joint training, or of a coupling of :data:`RULES`.
        variants: Keys of :data:`VARIANTS`, in the order of the table.
        seeds: Seeds.
        root: Folder that holds all runs.
        minutes: Budget of each run, see :func:`run_variant`.

    Returns:
        list[dict]: The results that are complete, in the order of ``variants`` and ``seeds``.

    Raises:
        UserError: See :func:`run_variant`.
    """
    results, data = [], data_identity(base)
    for seed in seeds:
        for variant in variants:
            result = run_variant(base, variant, seed, root, minutes, data)
            if result is None:
                print_log(
                    f'{variant}, seed {seed}: not finished within {minutes} minutes, call again to go on',
                    logger='current',
                )
            else:
                results.append(result)
    results.sort(key=lambda item: (list(variants).index(item['variant']), item['seed']))
    if results:
        runs = [f'{result["variant"]}_seed{result["seed"]}' for result in results]
        metrics = {run: result['metrics'] for run, result in zip(runs, results)}
        write_manifest(root, 'compare', config=base, seeds=list(seeds), runs=runs, results=metrics)
    return results


def columns(results: Sequence[dict]) -> Dict[str, str]:
    """Those of :data:`COLUMNS` that the results have."""
    return {
        title: metric for title, metric in COLUMNS.items() if any(metric in result['metrics'] for result in results)
    }


def write_table(results: Sequence[dict], folder: Path) -> str:
    """Write the table of all results as ``table.md`` into a folder.

    Returns:
        str: The table, and where it was written.
    """
    table, path = tabulate(results, columns(results)), Path(folder) / 'table.md'
    write_text(path, table + '\n')
    return f'{table}\n\nwritten to {path}'


def tabulate(results: Sequence[dict], keys: Dict[str, str]) -> str:
    """Markdown table of mean and standard deviation over seeds.

    Args:
        results: As :func:`compare` returns them.
        keys: Column title -> metric name.

    Returns:
        str: One row per variant; the spread is the sample standard deviation, left out for a single seed. A metric that
        a run does not have, or that is NaN, is left out of the mean, and the cell says of how many runs that is.

    Examples:
        >>> runs = [dict(variant='joint', seed=s, metrics={'coco/bbox_mAP_50': v}) for s, v in ((0, .2), (1, .3))]
        >>> print(tabulate(runs, {'mAP50': 'coco/bbox_mAP_50'}))
        | fusion | seeds | mAP50 |
        |---|---|---|
        | joint | 2 | 0.250 ± 0.071 |
    """
    lines = []
    for variant in dict.fromkeys(result['variant'] for result in results):
        rows = [result for result in results if result['variant'] == variant]
        cells = [
            _mean_and_spread([row['metrics'].get(metric, float('nan')) for row in rows]) for metric in keys.values()
        ]
        lines.append([variant, len(rows), *cells])
    return markdown_table(['fusion', 'seeds', *keys], lines)


def _mean_and_spread(values: Sequence[float]) -> str:
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return '-'
    text = f'{statistics.mean(known):.3f}' + (f' ± {statistics.stdev(known):.3f}' if len(known) > 1 else '')
    return text if len(known) == len(values) else f'{text} ({len(known)} of {len(values)})'
