"""Adaptation curves: how fast initializations of a fuser learn a fusion task that they have not seen."""

import copy
import json
import math
import random
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmfusion.evaluation.metrics import FusionMetric
from mmfusion.fileio import write_json
from mmfusion.fileio.reading import read_record, sha256
from mmfusion.manifest import write_manifest
from mmfusion.models.couplings import BaseCoupling
from mmfusion.models.couplings.steps.state import TrainingState, trainable
from mmfusion.registry import DATASETS, MODELS, OPTIMIZERS, build_configured
from mmfusion.running.runner import init_weights_quietly
from mmfusion.utils import UserError, load_fusion_checkpoint
from mmfusion.utils.compat import is_batch_norm
from mmfusion.utils.errors import building
from mmfusion.utils.random_state import random_state, set_random_state

RANDOM = 'random'
DEFAULTS = dict(
    optimizer=dict(type='Adam', lr=1e-3),
    points=(0, 1, 2, 5, 10, 20, 50),
    metrics=('SSIM', 'Qabf', 'MI'),
    protocol='default',
)


def adaptation_settings(cfg: Config) -> ConfigDict:
    """The entry ``adaptation`` of a config, completed by defaults.

    ``dataloader`` has the pairs to adapt on (``train_dataloader`` when missing), ``optimizer`` begins anew in every
    run, ``points`` are the numbers of steps after which the pairs of ``test_dataloader`` are fused and rated by the
    fusion losses and by ``metrics`` of ``protocol``.

    Raises:
        UserError: A key is unknown, the points are no increasing whole numbers from 0 on, or there are no test pairs.
    """
    given = cfg.get('adaptation') or {}
    unknown = set(given) - {*DEFAULTS, 'dataloader'}
    if unknown:
        raise UserError(f'adaptation: unknown keys {sorted(unknown)}; known are {sorted([*DEFAULTS, "dataloader"])}')
    settings = ConfigDict({**copy.deepcopy(DEFAULTS), **given})
    settings.setdefault('dataloader', cfg.get('train_dataloader'))
    points = list(settings.points)
    if not points or points != sorted(set(points)) or points[0] < 0 or any(int(point) != point for point in points):
        raise UserError(f'adaptation.points must be increasing whole numbers from 0 on, got {points}')
    if not settings.dataloader or not cfg.get('test_dataloader'):
        raise UserError(
            'the config needs adaptation.dataloader (pairs to adapt on) and test_dataloader (pairs to rate)'
        )
    return settings


def run_adaptation(cfg: Config, name: str, checkpoint: Optional[str], seed: int, root: Path) -> dict:
    """Adapt one initialization and rate it on the way; a finished run with the same settings is read instead.

    The seed decides the weights of a random initialization, and for every initialization alike the order and the
    augmentation of the pairs.

    Batch norm statistics are estimated anew on the pairs to adapt on before each rating, for every initialization
    alike: a random one has none, and running means would need more steps than the weights.

    Args:
        cfg: Config with ``model`` (its fuser and fusion losses count), ``adaptation`` and ``test_dataloader``.
        name: Name of the initialization.
        checkpoint: Its weights; None for random ones.
        seed: Seed of the run.
        root: Folder of the results.

    Returns:
        dict: ``init``, ``seed``, ``settings`` and ``rows``, one for each point: ``step``, ``loss`` (mean over the test
        pairs) and the metrics.

    Raises:
        UserError: The checkpoint does not hold the fuser, the loss is not finite, or a finished run had other settings.
    """
    settings = adaptation_settings(cfg)
    file = Path(root) / f'{name}_seed{seed}.json'
    identity = json.loads(
        json.dumps(
            dict(
                model=_plain(_coupling_config(cfg)),
                adaptation=_plain(settings),
                test=_plain(cfg.test_dataloader),
                weights=sha256(checkpoint) if checkpoint else RANDOM,
            )
        )
    )
    if file.exists():
        result = read_record(file, 'delete it to make this run again')
        if result.get('settings') != identity:
            raise UserError(
                f'{file} was made with another config or checkpoint; choose another --work-dir, or delete it'
            )
        return result
    _seed(seed)
    coupling = build_configured(MODELS, _coupling_config(cfg))
    init_weights_quietly(coupling)
    if checkpoint:
        absent = load_fusion_checkpoint(coupling, checkpoint, strict=False)
        unfit = [key for key in [*absent['missing'], *absent['mismatched']] if key.startswith('fuser.')]
        if unfit:
            raise UserError(
                f'{checkpoint} is no initialization of the fuser of this config: {len(unfit)} weights are missing or '
                f'of another shape, such as {unfit[0]}'
            )
    # one process and no workers: the runs are short, and their random numbers have to be the same for every
    # initialization
    with building():
        loaders = [
            Runner.build_dataloader(_without_workers(part), seed=seed)
            for part in (settings.dataloader, cfg.test_dataloader)
        ]
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    rows = adapt(coupling.to(device), *loaders, settings, seed)
    result = dict(init=name, seed=seed, settings=identity, rows=rows)
    write_json(file, result, indent=1)
    return result


def adapt(
    coupling: BaseCoupling, loader: DataLoader, test: DataLoader, settings: Mapping, seed: int = 0
) -> List[Dict[str, float]]:
    """Train on the pairs of ``loader`` and rate those of ``test`` at the points; see :func:`run_adaptation`.

    Returns:
        list: One dict for each point, with ``step``, ``loss`` and the metrics.
    """
    metric = FusionMetric(metrics=settings['metrics'], protocol=settings['protocol'])
    parameters = trainable(coupling.fuser)
    optimizer = build_configured(OPTIMIZERS, dict(copy.deepcopy(settings['optimizer']), params=parameters))
    rows, batches = [], _endless(loader)
    _seed(seed)
    for step in range(max(settings['points']) + 1):
        if step in settings['points']:
            state = random_state()
            rows.append(dict(step=step, **rate(coupling, loader, test, metric, seed)))
            set_random_state(state)
        if step == max(settings['points']):
            break
        coupling.train()
        total = _total(coupling, next(batches), True)
        if not torch.isfinite(total):
            raise UserError(
                f'the loss is {total.item()} at step {step} of the adaptation; lower adaptation.optimizer.lr'
            )
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return rows


@torch.no_grad()
def rate(
    coupling: BaseCoupling, loader: DataLoader, test: DataLoader, metric: FusionMetric, seed: int = 0
) -> Dict[str, float]:
    """Mean loss and metrics over the pairs of ``test``; the coupling is afterwards what it was. Undefined values are
    left out of the mean.
    """
    saved, training = TrainingState(coupling.fuser), coupling.training
    _estimate_statistics(coupling, loader, seed)
    coupling.eval()
    values: Dict[str, List[float]] = {}
    for batch in test:
        data = coupling.data_preprocessor(copy.deepcopy(batch), False)
        inputs, samples = data['inputs'], data['data_samples']
        fusion = coupling.fuse(inputs, data_samples=samples)
        losses = sum(loss for key, loss in coupling.fusion_losses(fusion, samples).items() if 'loss' in key)
        values.setdefault('loss', []).append(losses.item())
        for index, (image, sample) in enumerate(zip(fusion.image, samples)):
            height, width = sample.img_shape
            sources = (batch['inputs'][name][index].to(image.device) for name in ('first', 'second'))
            for key, value in metric.rate(image[:, :height, :width].clamp(0, 1), *sources).items():
                if key in metric.metrics:
                    values.setdefault(key, []).append(value)
    saved.restore()
    coupling.train(training)
    return {key: float(np.nanmean(value)) if np.isfinite(value).any() else math.nan for key, value in values.items()}


def adaptation_curves(cfg: Config, inits: Mapping[str, Sequence[str]], seeds: Sequence[int], root: Path) -> List[dict]:
    """Run every initialization and the random one with every seed.

    Args:
        cfg: See :func:`run_adaptation`.
        inits: Checkpoints by name; the i-th seed takes the i-th of them, and begins again when there are fewer.
        seeds: Seeds.
        root: Folder of the results; runs that are finished there are not repeated.

    Raises:
        UserError: A name is taken, there is no seed, or see :func:`run_adaptation`.
    """
    if RANDOM in inits or not seeds:
        raise UserError(
            f'{RANDOM!r} is the name of the random initialization; choose another'
            if seeds
            else 'at least one seed is needed'
        )
    results = []
    for index, seed in enumerate(seeds):
        for name, checkpoints in {**inits, RANDOM: (None,)}.items():
            result = run_adaptation(cfg, name, checkpoints[index % len(checkpoints)], seed, root)
            first, last = result['rows'][0], result['rows'][-1]
            print_log(
                f'{name}, seed {seed}: loss {first["loss"]:.4f} at step {first["step"]}, {last["loss"]:.4f} at step '
                f'{last["step"]}',
                'current',
            )
            results.append(result)
    settings = adaptation_settings(cfg)
    parts = dict(train=settings.dataloader, test=cfg.test_dataloader)
    files = [Path(root) / f'{result["init"]}_seed{result["seed"]}.json' for result in results]
    write_manifest(
        root,
        'adaptation',
        config=cfg,
        data={name: build_configured(DATASETS, dict(part['dataset'])) for name, part in parts.items()},
        weights={f'{name}/{Path(path).name}': path for name, paths in inits.items() for path in paths},
        outputs=files,
        seeds=list(seeds),
        protocol=settings.protocol,
        results={file.stem: result['rows'][-1] for file, result in zip(files, results)},
    )
    return results


def _coupling_config(cfg: Config) -> dict:
    keep = {key: cfg.model[key] for key in ('fuser', 'fusion_loss', 'data_preprocessor') if cfg.model.get(key)}
    if 'fusion_loss' not in keep:
        raise UserError('adaptation learns from the fusion losses of the config, and its model has none')
    return dict(copy.deepcopy(keep), type='FusionOnly')


def _plain(node):
    """Configs as JSON can hold them."""
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    return (
        [_plain(value) for value in node]
        if isinstance(node, (list, tuple))
        else node
        if isinstance(node, (int, float, bool))
        else str(node)
    )


def _without_workers(loader: Mapping) -> dict:
    return dict(copy.deepcopy(dict(loader)), num_workers=0, persistent_workers=False)


def _seed(value: int) -> None:
    random.seed(value), np.random.seed(value), torch.manual_seed(value)


def _endless(loader: DataLoader):
    epoch = 0
    while True:
        if hasattr(loader.sampler, 'set_epoch'):
            loader.sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def _total(coupling: BaseCoupling, batch: dict, training: bool) -> torch.Tensor:
    data = coupling.data_preprocessor(batch, training)
    return coupling.parse_losses(coupling(data['inputs'], data['data_samples'], mode='loss'))[0]


def _estimate_statistics(coupling: nn.Module, loader: DataLoader, seed: int) -> None:
    norms = [part for part in coupling.fuser.modules() if is_batch_norm(part) and part.track_running_stats]
    if not norms:
        return
    momenta = [part.momentum for part in norms]
    for part in norms:
        part.reset_running_stats()
        part.momentum = None  # plain mean over the pass
    coupling.train()
    _seed(seed)
    for batch in loader:
        data = coupling.data_preprocessor(batch, True)
        coupling.fuse(data['inputs'], data_samples=data['data_samples'])
    for part, momentum in zip(norms, momenta):
        part.momentum = momentum
