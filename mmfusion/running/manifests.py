"""Manifests of training and testing."""

import os
from pathlib import Path
from typing import Any, Dict, Iterable, Optional

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner, find_latest_checkpoint
from torch.utils.data import DataLoader

from mmfusion.engine.hooks import FIRST_LOSS
from mmfusion.evaluation.metrics.sample_facts import SampleFacts
from mmfusion.fileio import write_json
from mmfusion.manifest import write_manifest

SAMPLES_FILE = 'samples.json'


def watch_samples(runner: Runner) -> SampleFacts:
    """Let a test describe each sample; hand the result to :func:`record_test`."""
    facts = SampleFacts()
    runner.test_evaluator.metrics.append(facts)
    return facts


def record_training(runner: Runner, cfg: Config) -> Optional[Path]:
    """Write the manifest of a finished training into its work dir: data, config, seed, weights before and after, loss
    of the first batch.

    Args:
        runner: Runner after training.
        cfg: Its config.

    Returns:
        Path or None: The file; None in processes other than the main one.
    """
    if not is_main_process():
        return None
    work_dir = Path(runner.work_dir)
    loops = [runner.train_loop] + ([runner.val_loop] if runner.val_loop is not None else [])
    data: Dict[str, Any] = {}
    for name, loop in zip(('train', 'val'), loops):
        for key, value in vars(loop).items():
            if isinstance(value, DataLoader):
                data[name if key == 'dataloader' else f'{name}/{key}'] = value.dataset
    checkpoint = find_latest_checkpoint(str(work_dir))
    weights = {
        Path(path).name: path for path in [*filter(None, [checkpoint]), *map(str, sorted(work_dir.glob('best_*.pth')))]
    }
    start = cfg.get('load_from')
    if start and os.path.isfile(start) and not cfg.get('resume'):
        weights['start'] = start
    scalars = runner.message_hub.log_scalars
    last = {
        name[4:]: value.current()
        for name, value in sorted(scalars.items())
        if name.startswith('val/') and not name.endswith('time')
    }
    return write_manifest(
        work_dir,
        'training',
        config=cfg,
        data=data,
        weights=weights,
        seeds=runner.seed,
        results=numbers(last),
        epochs=runner.epoch,
        iterations=runner.iter,
        first_loss=runner.message_hub.runtime_info.get(FIRST_LOSS),
    )


def record_test(
    runner: Runner,
    cfg: Config,
    metrics: Dict[str, Any],
    facts: SampleFacts,
    weights: Optional[str] = None,
    outputs: Iterable[str] = (),
) -> Optional[Path]:
    """Write the manifest of a test into its work dir, and what the network answered for each sample.

    Args:
        runner: Runner after the test.
        cfg: Its config.
        metrics: What the test has returned.
        facts: Result of :func:`watch_samples`.
        weights: Checkpoint that was tested.
        outputs: Other files that the test has written.

    Returns:
        Path or None: The file; None in processes other than the main one.
    """
    if not is_main_process():
        return None
    work_dir = Path(runner.work_dir)
    samples = work_dir / SAMPLES_FILE
    write_json(samples, facts.facts, indent=None)
    protocols = {getattr(metric, 'protocol', None) for metric in runner.test_evaluator.metrics} - {None}
    return write_manifest(
        work_dir,
        'test',
        config=cfg,
        data=dict(test=runner.test_loop.dataloader.dataset),
        weights={Path(weights).name: weights} if weights else None,
        outputs=[samples, *outputs],
        seeds=runner.seed,
        protocol=', '.join(sorted(protocols)) or None,
        results=numbers(metrics),
    )


def numbers(metrics: Dict[str, Any]) -> Dict[str, Optional[float]]:
    """Those of the metrics that are numbers; None for NaN, which JSON does not have."""
    found = {
        key: float(value)
        for key, value in metrics.items()
        if isinstance(value, (int, float)) or getattr(value, 'size', 0) == 1
    }
    return {key: value if abs(value) < float('inf') else None for key, value in found.items()}
