"""Keeping pretrained weights that a network's own initialization would overwrite."""

import logging
from contextlib import contextmanager
from typing import Iterator, List, Optional, Tuple
from urllib.error import URLError

from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from torch import nn

from mmfusion.registry import WEIGHT_INITIALIZERS

from .loading import check_loaded, differing, load_task_weights
from .read import read_task_weights


@contextmanager
def pretrained_last(*networks: nn.Module) -> Iterator[None]:
    """Initialize networks in the body of the ``with``; what is pretrained in them is loaded, or put back, at its end,
    and checked.

    mmengine loads the weights of a whole network before or between the initialization of its parts, and detectors of
    the DETR family initialize their transformer after that, so that published weights would be lost without a word.

    Args:
        networks: Detectors or segmentors whose ``init_weights`` runs in the body. A pretrained ``init_cfg`` of the
            network itself must fit whole; one of a part (a backbone) loads what fits, as in mmengine.

    Raises:
        UserError: The checkpoint of a whole network does not fit it, or a part does not keep what it loads.
    """
    taken: List[Tuple[nn.Module, object, List[dict]]] = []
    for network in networks:
        cfgs, whole = _split(network)
        taken.append((network, getattr(network, 'init_cfg', None), whole))
        if whole:
            network.init_cfg = cfgs or None
    try:
        yield
    finally:
        for network, init_cfg, whole in taken:
            if whole:
                network.init_cfg = init_cfg
    for network, _, whole in taken:
        _put_back(network)
        for cfg in whole:
            _load_whole(network, cfg)


def _cfgs(module: nn.Module) -> List[dict]:
    cfgs = getattr(module, 'init_cfg', None) or []
    return [cfg for cfg in ([cfgs] if isinstance(cfgs, dict) else cfgs) if isinstance(cfg, dict)]


def _initializer(cfg: dict) -> Optional[type]:
    """Class of a pretrained ``init_cfg``, None for other kinds."""
    kind = cfg.get('type')
    kind = WEIGHT_INITIALIZERS.get(kind) if isinstance(kind, str) else kind
    return kind if isinstance(kind, type) and issubclass(kind, PretrainedInit) else None


def _split(module: nn.Module) -> Tuple[List[dict], List[dict]]:
    """The ``init_cfg`` of a module as those that are not pretrained, and those that are."""
    cfgs = _cfgs(module)
    return [cfg for cfg in cfgs if _initializer(cfg) is None], [cfg for cfg in cfgs if _initializer(cfg) is not None]


def _load_whole(network: nn.Module, cfg: dict) -> None:
    kind, arguments = _initializer(cfg), {key: value for key, value in cfg.items() if key != 'type'}
    if kind is PretrainedInit:
        load_task_weights(network, cfg['checkpoint'], prefix=cfg.get('prefix'))
    else:
        initializer = kind(**arguments)
        getattr(initializer, 'load_whole', initializer)(network)


def _put_back(network: nn.Module) -> None:
    """Load once more what parts of a network were to start from, where it was overwritten; the outer part has the last
    word, as in mmengine.
    """
    parts = [(name, part) for name, part in network.named_modules() if name]
    for name, part in sorted(parts, key=lambda item: -item[0].count('.')):
        for cfg in _split(part)[1]:
            try:
                state = read_task_weights(cfg['checkpoint'], cfg.get('prefix')).state
            except URLError:
                continue  # the first attempt either was an error, or said that the weights are random
            lost = differing(part, state)
            if lost:
                print_log(
                    f'{type(network).__name__}.{name}: {len(lost)} weights of {cfg["checkpoint"]} were '
                    f'overwritten by the '
                    'initialization of the network, and are put back',
                    'current',
                    logging.INFO,
                )
                kept = {key: state[key] for key in lost}
                part.load_state_dict(kept, strict=False)
                check_loaded(part, kept, cfg['checkpoint'])
