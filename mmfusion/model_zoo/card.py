"""The card of a model: what the weights are, where they come from and on which terms they may be used."""

import json
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Tuple, Union

from mmfusion.fileio.reading import read_json, reason
from mmfusion.utils import UserError

CARD_VERSION = 1
CARD_SUFFIX, WEIGHTS_SUFFIX = '.json', '.safetensors'
# In which order pairs are given to programs here, as the data sets have it.
USUAL_ORDERS = (
    ('visible', 'infrared'),
    ('over', 'under'),
    ('far', 'near'),
    ('mri', 'ct'),
    ('mri', 'pet'),
    ('mri', 'spect'),
)
NAME = re.compile(r'[a-z0-9][a-z0-9_.-]{0,63}')


@dataclass(frozen=True)
class ModelCard:
    """Everything that is known about one model, kept in ``NAME.json`` beside ``NAME.safetensors``.

    Attributes:
        name: What :class:`~mmfusion.apis.FusionInferencer` and the tools call it.
        summary: One sentence.
        fuser: Config of the fuser, with its registered type.
        sources: Modalities of the first and the second image that the network takes, in the network's order.
        parameters: Numbers that were learned.
        size: Bytes of the weights.
        sha256: Of the weights file.
        license: Terms on which the weights may be used.
        training: How they came about: data and their terms, command, seed, commit.
        figures: What was measured on which pairs.
        folder: Where card and weights lie; not part of the file.
    """

    name: str
    summary: str
    fuser: Dict[str, Any]
    sources: Tuple[str, str]
    parameters: int
    size: int
    sha256: str
    license: str
    training: Dict[str, Any] = field(default_factory=dict)
    figures: Dict[str, Any] = field(default_factory=dict)
    folder: Optional[Path] = field(default=None, compare=False)

    @property
    def weights_file(self) -> Path:
        """The weights, beside the card."""
        return Path(self.folder or '') / f'{self.name}{WEIGHTS_SUFFIX}'

    @property
    def card_file(self) -> Path:
        """The card itself."""
        return Path(self.folder or '') / f'{self.name}{CARD_SUFFIX}'

    def to_json(self) -> str:
        """Text of the file."""
        content = {'card_version': CARD_VERSION, **asdict(self)}
        content.pop('folder')
        return json.dumps({**content, 'sources': list(self.sources)}, indent=2) + '\n'


def is_exchanged(sources: Sequence[str]) -> bool:
    """Whether a network takes its sources in the reverse of the usual order, such as infrared before visible.

    Examples:
        >>> is_exchanged(('infrared', 'visible')), is_exchanged(('visible', 'infrared')), is_exchanged(('first', 'second'))
        (True, False, False)
    """
    return tuple(source.lower() for source in reversed(sources)) in USUAL_ORDERS


_KINDS = dict(
    name=str,
    summary=str,
    fuser=dict,
    sources=list,
    parameters=int,
    size=int,
    sha256=str,
    license=str,
    training=dict,
    figures=dict,
)


def check_name(name: str) -> str:
    """Return ``name``, or raise a UserError: names become file names and are typed in shells."""
    if not NAME.fullmatch(name):
        raise UserError(
            f'{name!r} cannot name a model: use up to 64 small letters, digits, ".", "_" and "-", '
            f'with a letter or a digit first'
        )
    return name


def read_card(path: Union[str, Path]) -> ModelCard:
    """Read and check a card.

    Raises:
        UserError: There is no such card, it is no JSON, an entry is missing, unknown or of another kind, or it belongs
            to another file.
    """
    path = Path(path)
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise UserError(f'model {path.stem!r} has no card: {path} is missing. {remedy(path)}') from None
    except (OSError, ValueError) as error:
        raise UserError(f'the card {path} cannot be read ({reason(error)}). {remedy(path)}') from None
    faults = _faults(content, path.stem)
    if faults:
        raise UserError(
            f'the card {path} is damaged or of another version of mmfusion: {"; ".join(faults)}. {remedy(path)}'
        )
    content.pop('card_version')
    return ModelCard(**{**content, 'sources': tuple(content['sources'])}, folder=path.parent)


def _faults(content: object, name: str) -> list:
    if not isinstance(content, dict):
        return ['it is no JSON object']
    if content.get('card_version') != CARD_VERSION:
        return [f'card_version is {content.get("card_version")!r}, this version reads {CARD_VERSION}']
    known = {'card_version', *(entry.name for entry in fields(ModelCard))} - {'folder'}
    faults = [f'missing entry {key}' for key in sorted(known - set(content))] + [
        f'unknown entry {key}' for key in sorted(set(content) - known)
    ]
    faults += [
        f'{key} must be of type {kind.__name__}, found {type(content[key]).__name__}'
        for key, kind in _KINDS.items()
        if key in content and type(content[key]) is not kind
    ]
    if faults:
        return faults
    if content['name'] != name:
        faults.append(f'it is the card of {content["name"]!r}, renamed')
    if len(content['sources']) != 2 or not all(isinstance(source, str) and source for source in content['sources']):
        faults.append(f'sources must be two names, found {content["sources"]!r}')
    if not re.fullmatch('[0-9a-f]{64}', content['sha256']):
        faults.append(f'sha256 must be 64 hexadecimal digits, found {content["sha256"]!r}')
    return faults


def remedy(path: Path) -> str:
    """What a user can do about a damaged model."""
    from .catalog import SHIPPED

    if path.parent == SHIPPED:
        return 'Install mmfusion again'
    return f'Remove it (mmfusion models remove {path.stem}) and add the file that it came from again'
