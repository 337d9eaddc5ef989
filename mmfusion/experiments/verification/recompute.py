"""Computing a sample of a result again: metrics of images, answers of a network, the loss of the first batch."""

import contextlib
import copy
import csv
import math
import os
import random
import secrets
import tempfile
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from mmengine.config import Config
from mmengine.hooks import Hook

from mmfusion.engine.hooks import FIRST_LOSS, FirstLossHook
from mmfusion.evaluation.folders.matching import find_scenes
from mmfusion.evaluation.folders.scoring import Rating, score_scene, single_thread
from mmfusion.evaluation.metrics import SampleFacts
from mmfusion.fileio.reading import read_json
from mmfusion.manifest import Places
from mmfusion.registry import DATASETS, build_configured
from mmfusion.running.manifests import SAMPLES_FILE
from mmfusion.running.runner import build_runner, leave_out_training
from mmfusion.running.task_checkpoint import start_from_task_checkpoint, use_task_checkpoint
from mmfusion.utils import UserError, load_fusion_checkpoint
from mmfusion.utils.errors import building

#: Largest relative difference of a metric: the same arithmetic, perhaps in another order.
METRIC_TOLERANCE = 1e-6
#: Of what a network gives: float32, summed in another order by another machine or number of threads.
NETWORK_TOLERANCE = 1e-3


class Outcome:
    """What a recomputation has found.

    Attributes:
        wrong: A sentence for each number that is another one.
        done: Sentences on what was computed again, or why it was not.
    """

    def __init__(self) -> None:
        self.wrong: List[str] = []
        self.done: List[str] = []


def recompute(entry: dict, folder: Path, places: Places, sample: Optional[int], seed: int) -> Outcome:
    """Compute a sample of an entry again.

    Args:
        entry: Entry of a manifest.
        folder: Its folder.
        places: Where its folders lie.
        sample: Number of images, None for all.
        seed: Seed that draws them.
    """
    outcome = Outcome()
    if sample == 0:
        return outcome
    if entry['kind'] == 'score':
        _recompute_scores(entry, folder, places, sample, seed, outcome)
    elif entry['kind'] == 'test' and SAMPLES_FILE in entry.get('outputs', {}):
        _recompute_answers(entry, folder, places, sample, seed, outcome)
    elif entry['kind'] == 'training' and entry.get('first_loss') is not None:
        _recompute_first_loss(entry, places, outcome)
    elif entry['kind'] == 'league' and 'cell' in entry.get('config', {}).get('resolved', {}):
        _recompute_cell(entry, folder, places, sample, seed, outcome)
    return outcome


def draw(names: Sequence[str], count: Optional[int], seed: int) -> List[str]:
    """Some of the names, always the same ones for a seed; all without a count.

    Examples:
        >>> draw(['a', 'b', 'c'], 2, 0) == draw(['c', 'b', 'a'], 2, 0)
        True
    """
    names = sorted(names)
    return names if count is None or count >= len(names) else sorted(random.Random(seed).sample(names, count))


def _recompute_cell(
    entry: dict, folder: Path, places: Places, sample: Optional[int], seed: int, outcome: Outcome
) -> None:
    from mmfusion.experiments.league.check import recompute_cell

    config = places.find_all(copy.deepcopy(entry['config']['resolved']))
    try:
        again = recompute_cell(config, folder, lambda names: draw(names, sample, seed))
    except (KeyError, TypeError, UserError, OSError) as error:
        outcome.wrong.append(f'it cannot be computed any more: {error}')
        return
    outcome.wrong += again.wrong
    outcome.done += [again.done] if again.done else []


def _recompute_scores(
    entry: dict, folder: Path, places: Places, sample: Optional[int], seed: int, outcome: Outcome
) -> None:
    protocol, data = entry['protocol'], entry['data']
    methods = {
        name.split('/', 1)[1]: places.find(facts['root']) for name, facts in data.items() if name.startswith('fused/')
    }
    sources = (places.find(data[name]['root']) for name in ('first', 'second'))
    scenes, _, _ = find_scenes(methods, *sources, entry.get('suffixes') or ('', '', ''))
    with open(folder / f'{protocol}_images.csv', newline='', encoding='utf-8') as file:
        rows = {(row['method'], row['name']): row for row in csv.DictReader(file)}
    chosen = set(draw([scene.name for scene in scenes], sample, seed))
    rating, count = Rating(tuple(entry['metrics']), protocol, entry.get('bit_depth')), 0
    with single_thread():
        for scene in scenes:
            if scene.name not in chosen:
                continue
            for score in score_scene(scene, rating):
                row = rows.get((score.method, score.name))
                if row is None:
                    continue
                if score.error:
                    outcome.wrong.append(f'{score.method}, {score.name} cannot be scored any more: {score.error}')
                    continue
                count += 1
                for key, value in score.values.items():
                    if row.get(key) not in (None, '') and not _close(float(row[key]), value, METRIC_TOLERANCE):
                        outcome.wrong.append(
                            f'{score.method}, {score.name}: {key} was {float(row[key]):.6g}, is {value:.6g}'
                        )
    outcome.done.append(f'{count} of {len(rows)} fused images scored again ({protocol})')


def _recompute_answers(
    entry: dict, folder: Path, places: Places, sample: Optional[int], seed: int, outcome: Outcome
) -> None:
    stated: Dict[str, dict] = read_json(folder / SAMPLES_FILE)
    cfg = _config(entry, places)
    dataset = cfg.test_dataloader.dataset
    if any(key in dataset for key in ('dataset', 'datasets', 'tasks')):
        outcome.done.append('answers were not computed again: the test set is made of several')
        return
    chosen = set(draw(list(stated), sample, seed))
    built = build_configured(DATASETS, dict(copy.deepcopy(dataset.to_dict()), pipeline=[]))
    indices = [index for index in range(len(built)) if str(_name(built.get_data_info(index))) in chosen]
    dataset.indices = indices
    weights = [places.find(facts['file']) for facts in entry.get('weights', {}).values()]
    with tempfile.TemporaryDirectory() as work_dir:
        now = answers(cfg, weights[0] if weights else None, work_dir)
    for name in sorted(chosen):
        for key, before in stated[name].items():
            if not _same_answer(key, before, now.get(name, {}).get(key)):
                outcome.wrong.append(f'{name}: {key} was {_short(before)}, is {_short(now.get(name, {}).get(key))}')
    outcome.done.append(f'{len(now)} of {len(stated)} test samples computed again')


def answers(cfg: Config, weights: Optional[str], work_dir: str) -> Dict[str, dict]:
    """What the network of a config gives for the samples of its test set, in a few numbers each; see
    :class:`SampleFacts`.

    Args:
        cfg: Config; it is changed.
        weights: Checkpoint, None for the weights that the config itself names.
        work_dir: Folder for what a test writes on the way.
    """
    cfg.work_dir = work_dir
    cfg.test_evaluator = [dict(type='mmfusion.SampleFacts')]
    leave_out_training(cfg)
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    for key in ('prefetch_factor', 'pin_memory'):
        cfg.test_dataloader.pop(key, None)
    cfg.custom_hooks, cfg.resume, cfg.load_from = [], False, None
    (cfg.get('default_hooks') or {}).pop('visualization', None)
    task = use_task_checkpoint(cfg, weights) if weights else None
    runner = build_runner(cfg)
    if task:
        start_from_task_checkpoint(runner.model, task, weights)
    elif weights:
        load_fusion_checkpoint(runner.model, weights)
    else:
        with building():
            runner.model.init_weights()
    runner.test()
    return next(metric for metric in runner.test_evaluator.metrics if isinstance(metric, SampleFacts)).facts


class _Enough(Exception):
    """The first iteration is over."""


class _EndAfterFirst(Hook):
    priority = 'LOWEST'

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        raise _Enough


def _recompute_first_loss(entry: dict, places: Places, outcome: Outcome) -> None:
    cfg = _config(entry, places)
    if cfg.get('resume'):
        outcome.done.append('the first batch was not computed again: the run went on from an earlier one')
        return
    start = entry.get('weights', {}).get('start')
    if start:
        cfg.load_from = places.find(start['file'])
    cfg.randomness = dict(cfg.get('randomness') or {}, seed=entry['seeds'])
    with tempfile.TemporaryDirectory() as work_dir:
        cfg.work_dir = work_dir
        runner = build_runner(cfg)
        runner.register_hook(FirstLossHook())
        runner.register_hook(_EndAfterFirst())
        with contextlib.suppress(_Enough):
            runner.train()
    before, now = entry['first_loss'], runner.message_hub.runtime_info.get(FIRST_LOSS, math.nan)
    if not _close(before, now, NETWORK_TOLERANCE):
        outcome.wrong.append(f'the loss of the first batch was {before:.6g}, is {now:.6g}')
    outcome.done.append('loss of the first batch computed again')


def _config(entry: dict, places: Places) -> Config:
    cfg = Config(places.find_all(copy.deepcopy(entry['config']['resolved'])))
    cfg.launcher = 'none'
    # mmengine knows one message hub for each name; the seed of a run must not decide on that of the next
    cfg.experiment_name = f'verify_{os.getpid()}_{secrets.token_hex(8)}'
    return cfg


def _name(item: dict) -> object:
    return item.get('sample_id', item.get('img_id'))


def _close(before: float, now: float, tolerance: float) -> bool:
    return (
        math.isnan(before) and math.isnan(now) or math.isclose(before, now, rel_tol=tolerance, abs_tol=tolerance * 1e-3)
    )


def _same_answer(key: str, before: Sequence[float], now: Optional[Sequence[float]]) -> bool:
    if now is None:
        return False
    if key == 'classes':  # single pixels between two classes may turn
        length = max(len(before), len(now))
        old, new = ([*values, *[0] * (length - len(values))] for values in (before, now))
        return sum(abs(a - b) for a, b in zip(old, new)) <= 2 * NETWORK_TOLERANCE * sum(old)
    return len(before) == len(now) and all(_close(a, b, NETWORK_TOLERANCE) for a, b in zip(before, now))


def _short(values: object) -> str:
    return 'nothing' if values is None else '[' + ', '.join(f'{value:.5g}' for value in values) + ']'
