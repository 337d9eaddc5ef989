"""Building a coupling that is ready to fuse from a config, a class name, a checkpoint or a trained model."""

import copy
import logging
import os
import warnings
from pathlib import Path
from typing import NamedTuple, Optional, Union

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch import nn

from mmfusion.model_zoo.card import ModelCard, is_exchanged
from mmfusion.model_zoo.catalog import card_files, has_model
from mmfusion.model_zoo.exchange import ExchangedSources
from mmfusion.model_zoo.loading import load_model
from mmfusion.models.couplings import BaseCoupling, FusionOnly
from mmfusion.models.fusers import BaseFuser
from mmfusion.registry import DATASETS, MODELS, build_configured
from mmfusion.running.checks import name_classes
from mmfusion.running.source_order import warn_of_exchanged_sources
from mmfusion.running.task_checkpoint import start_from_task_checkpoint, task_kind, use_task_checkpoint
from mmfusion.utils import UserError, load_fusion_checkpoint, safe_load, select_device
from mmfusion.utils.checkpoint import checkpoint_modalities, holds_fuser_alone
from mmfusion.utils.config import load_config
from mmfusion.utils.errors import building
from mmfusion.utils.shipped import config_names

ModelLike = Union[str, Path, Config, dict, nn.Module]
CONFIG_SUFFIXES = ('.py', '.yaml', '.yml', '.json')


class BuiltModel(NamedTuple):
    """A coupling with what its config says about data.

    Attributes:
        coupling: In eval mode, on the device.
        pipeline: Transform configs of the test pipeline; empty when the config has none.
        meta: Meta information of the data set (``classes``, ``palette``, ``modalities``), as far as known.
        card: Card of a model of :mod:`mmfusion.model_zoo`, None for all else.
    """

    coupling: BaseCoupling
    pipeline: list
    meta: dict
    card: Optional[ModelCard] = None


def build_coupling(
    model: ModelLike,
    weights: Optional[Union[str, Path]] = None,
    device: Optional[str] = 'cpu',
    warn: bool = True,
    fuser: Optional[str] = None,
) -> BuiltModel:
    """Build a coupling, load its weights and move it to a device.

    Args:
        model: Name of a trained model (``'tdfusion'``, ``'tim'``..., see :func:`mmfusion.model_zoo.list_models`); path
            of a config file, or the name of one that ships; a config (with ``model``); the config of a coupling or of a
            fuser alone; the name of a fuser that needs no arguments, such as ``'LaplacianPyramidFuser'``; or a built
            coupling or fuser.
        weights: Checkpoint of it. One of its fuser alone leaves guide and task networks out, and a warning says so.
            Where the fuser has no weights, one of its detector or segmentor, as mmdet or mmseg wrote it. Without one, a
            model with learned parameters keeps its random initial values and a warning says so. With the name of a
            trained model, in place of its own weights.
        device: ``'cpu'``, ``'cuda'``, ``'cuda:1'``, or None for a GPU if there is one.
        warn: Whether to warn about missing weights.
        fuser: Name of a trained model, whose fuser takes the place of the config's; ``weights`` may then be those of a
            detector or segmentor alone.

    Raises:
        UserError: The config or the checkpoint does not exist or does not fit, the name is unknown, the trained model
            is damaged, there is no such device, or ``fuser`` cannot stand where the config's does.
        TypeError: ``model`` is none of these kinds.
    """
    device = select_device(device)
    if fuser is not None:
        return _with_fuser(fuser, model, weights, device, warn)
    if isinstance(model, str) and not model.endswith(CONFIG_SUFFIXES) and has_model(model):
        return _from_zoo(model, weights, device)
    cfg, model_cfg = None, None
    if isinstance(model, (str, Path)):
        if str(model).endswith(CONFIG_SUFFIXES) or os.path.exists(model) or str(model) in config_names():
            cfg = load_config(model)
        else:
            model_cfg = {'type': str(model)}
    elif isinstance(model, (Config, dict)):
        cfg, model_cfg = (model, None) if 'model' in model else (None, model)
    elif not isinstance(model, nn.Module):
        raise TypeError(f'model must be a config, the name of a fuser or a module, got {type(model).__name__}')
    task = None
    if cfg is not None and weights is not None and cfg['model'].get('tasks'):
        cfg = copy.deepcopy(cfg if isinstance(cfg, Config) else Config(cfg))
        task = use_task_checkpoint(cfg, str(weights))
    coupling = (
        _from_module(model)
        if isinstance(model, nn.Module)
        else _from_config(cfg['model'] if cfg is not None else model_cfg)
    )
    dataset = _dataset_config(cfg)
    meta = _metainfo(dataset)
    if weights is not None:
        if task is not None:
            name_classes(coupling, meta)
            start_from_task_checkpoint(coupling, task, str(weights))
        else:
            coupling = _load(coupling, weights)
        content = safe_load(weights)
        if dataset:
            warn_of_exchanged_sources(content, meta.get('modalities'), str(weights))
        elif checkpoint_modalities(content):
            meta['modalities'] = checkpoint_modalities(content)
            print_log('{} takes {} first and {} second'.format(weights, *meta['modalities']), 'current')
    elif warn and not isinstance(model, nn.Module) and any(True for _ in coupling.parameters()):
        warnings.warn(
            f'{type(coupling.fuser).__name__} is used without weights: everything it should have learned is random. '
            f'Give a checkpoint.',
            stacklevel=3,
        )
    return BuiltModel(coupling.to(device).eval(), copy.deepcopy(list(dataset.get('pipeline') or [])), meta)


def _load(coupling: BaseCoupling, weights: Union[str, Path]) -> BaseCoupling:
    """Load a checkpoint of the coupling, or of its fuser alone, with which the fuser alone is left."""
    if not holds_fuser_alone(coupling, weights):
        load_fusion_checkpoint(coupling, weights)
        return coupling
    alone = _from_module(coupling.fuser)
    alone.data_preprocessor, alone.clamp = coupling.data_preprocessor, coupling.clamp
    load_fusion_checkpoint(alone, weights)
    print_log(
        f'{weights} holds the weights of {type(coupling.fuser).__name__} alone: it fuses without guide and task '
        f'networks, as --config {type(coupling.fuser).__name__} would',
        'current',
        logging.WARNING,
    )
    return alone


def _with_fuser(
    name: str, model: ModelLike, weights: Optional[Union[str, Path]], device: torch.device, warn: bool
) -> BuiltModel:
    """A config's coupling with the fuser of a trained model."""
    loaded = load_model(name)
    cfg = model if isinstance(model, (Config, dict)) else None
    if isinstance(model, (str, Path)) and (str(model).endswith(CONFIG_SUFFIXES) or str(model) in config_names()):
        cfg = load_config(model)
    if cfg is None or 'model' not in cfg or not cfg['model'].get('tasks'):
        raise UserError(
            f'the fuser of {name} can stand in a config that has a detector or a segmentor, and {model} is none; '
            f'give such a config '
            '(average_msrs_det), or the name of the trained model alone'
        )
    if cfg['model'].get('guide'):
        raise UserError(
            f'the config guides its own fuser, which {name} cannot take the place of; choose one without a guide'
        )
    cfg = copy.deepcopy(cfg if isinstance(cfg, Config) else Config(cfg))
    if weights is None or task_kind(str(weights)) is not None:
        cfg.model.fuser = dict(type='AverageFuser')  # nothing of it would be loaded, and a random one is an error
        cfg.model.fusion_loss = {}
    if weights is None and warn:
        warnings.warn(
            'the task networks are used without weights: what they find is random. Give a checkpoint.', stacklevel=3
        )
    built = build_coupling(cfg, weights, device, warn=warn and weights is not None)
    sources, given = tuple(loaded.card.sources), tuple(built.meta.get('modalities') or ())
    exchanged = is_exchanged(sources)
    if given and set(given) == set(sources):
        exchanged = given != sources
    built.coupling.fuser = (ExchangedSources(loaded.fuser) if exchanged else loaded.fuser).to(device).eval()
    return built._replace(card=loaded.card)


def _from_zoo(name: str, weights: Optional[Union[str, Path]], device: torch.device) -> BuiltModel:
    loaded = load_model(name)
    sources = loaded.card.sources
    coupling = _from_module(loaded.fuser)
    if weights is not None:
        load_fusion_checkpoint(coupling, weights)
        sources = checkpoint_modalities(safe_load(weights)) or sources
    if is_exchanged(sources):
        coupling.fuser, sources = ExchangedSources(loaded.fuser), sources[::-1]
    return BuiltModel(coupling.to(device).eval(), [], dict(modalities=sources), loaded.card)


def _from_config(cfg: dict) -> BaseCoupling:
    cfg = copy.deepcopy(dict(cfg))
    kind = cfg.get('type')
    cls = MODELS.get(kind) if isinstance(kind, str) else kind
    if cls is None:
        fusers = sorted(
            name
            for name, entry in MODELS.module_dict.items()
            if isinstance(entry, type) and issubclass(entry, BaseFuser)
        )
        raise UserError(
            f'{kind!r} is neither a config file, a trained model ({", ".join(card_files())}) nor a registered one; '
            f'fusers are {", ".join(fusers)}'
        )
    if isinstance(cls, type) and issubclass(cls, BaseFuser):
        with building():
            return FusionOnly(fuser=cfg)
    built = build_configured(MODELS, cfg)
    if not isinstance(built, BaseCoupling):
        raise UserError(f'{kind!r} is neither a coupling nor a fuser')
    return built


def _from_module(model: nn.Module) -> BaseCoupling:
    if isinstance(model, BaseFuser):
        coupling = FusionOnly(fuser={'type': 'SourceFuser'})
        coupling.fuser = model
        return coupling
    if not isinstance(model, BaseCoupling):
        raise TypeError(f'model must be a coupling or a fuser, got {type(model).__name__}')
    return model


def _dataset_config(cfg: Optional[dict]) -> dict:
    dataset = ((cfg or {}).get('test_dataloader') or {}).get('dataset') or {}
    while 'dataset' in dataset or 'datasets' in dataset:  # wrappers such as RepeatDataset and ConcatDataset
        dataset = dataset['dataset'] if 'dataset' in dataset else dataset['datasets'][0]
    return dataset


def _metainfo(dataset: dict) -> dict:
    kind = dataset.get('type')
    cls = DATASETS.get(kind) if isinstance(kind, str) else kind
    named = dict(modalities=tuple(dataset['modalities'])) if dataset.get('modalities') else {}
    return {**getattr(cls, 'METAINFO', {}), **named, **(dataset.get('metainfo') or {})}
