"""Building a network from the fuser's config in a card, without running anything that the card could smuggle in."""

import json
from typing import Any, Sequence

from torch import nn

from mmfusion.models.fusers import BaseFuser
from mmfusion.registry import MODELS
from mmfusion.utils import UserError

NETWORK_KEY = 'mmfusion'
FORBIDDEN = ('init_cfg', 'type', 'checkpoint', 'mae')  # would load other files, or build other things


def build_fuser(cfg: dict, where: str) -> BaseFuser:
    """Build the fuser of a card.

    Only registered fusers are built; the registry itself would import whatever module a dotted name points to.

    Args:
        cfg: Config with the registered ``type`` and plain values.
        where: What to call it in errors.

    Raises:
        UserError: The type is no registered fuser, a value would load or build something else, or the fuser does not
            take these arguments.
    """
    kind = cfg.get('type')
    cls = MODELS.module_dict.get(kind) if isinstance(kind, str) else None
    if not (isinstance(cls, type) and issubclass(cls, BaseFuser)):
        raise UserError(f'{where}: {kind!r} is not a fuser of this version of mmfusion')
    arguments = {key: value for key, value in cfg.items() if key != 'type'}
    wrong = sorted(set(_forbidden(arguments)))
    if wrong:
        raise UserError(
            f'{where}: the config of the fuser holds {", ".join(wrong)}, which a model may not: '
            f'it would load or build something else'
        )
    try:
        return cls(**arguments)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f'{where}: {kind} cannot be built from {arguments} ({error})') from error


def _forbidden(value: Any) -> list:
    if isinstance(value, dict):
        return [key for key in value if key in FORBIDDEN or key.endswith('init_cfg')] + [
            name for part in value.values() for name in _forbidden(part)
        ]
    if isinstance(value, (list, tuple)):
        return [name for part in value for name in _forbidden(part)]
    return []


def count_parameters(fuser: nn.Module) -> int:
    """Numbers in all parameters, learned ones and frozen ones."""
    return sum(parameter.numel() for parameter in fuser.parameters())


def describe_network(fuser: dict, sources: Sequence[str]) -> str:
    """Text in the head of a weights file that ties it to its network; equal for equal configs and sources.

    It is one text: safetensors writes several in an order that changes from run to run.

    Examples:
        >>> describe_network(dict(type='ReFusion', blocks=1), ('visible', 'infrared'))
        '{"fuser":{"blocks":1,"type":"ReFusion"},"sources":["visible","infrared"]}'
    """
    return json.dumps(dict(fuser=fuser, sources=list(sources)), sort_keys=True, separators=(',', ':'))
