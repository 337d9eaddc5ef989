"""Models that are there: shipped ones beside this file, added ones in a folder of the user."""

import os
from pathlib import Path
from typing import Dict, List, Tuple

from mmfusion.utils import UserError

from .card import CARD_SUFFIX, WEIGHTS_SUFFIX, ModelCard, read_card

SHIPPED = Path(__file__).resolve().parent / 'weights'
DEFAULT_MODEL = 'plain_conv_rendered'


def user_folder() -> Path:
    """Folder of added models: ``$MMFUSION_MODELS``, or ``mmfusion/models`` below ``$XDG_CACHE_HOME`` (``~/.cache``). It
    may not exist yet.
    """
    chosen = os.environ.get('MMFUSION_MODELS')
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'mmfusion' / 'models'


def card_files() -> Dict[str, Path]:
    """Path of the card of every model by name, shipped ones first; a card may be missing where there are weights.

    A model of the user with the name of a shipped one is left out.
    """
    found: Dict[str, Path] = {}
    for folder in (SHIPPED, user_folder()):
        names = {path.stem for suffix in (CARD_SUFFIX, WEIGHTS_SUFFIX) for path in folder.glob(f'*{suffix}')}
        for name in sorted(names):
            found.setdefault(name, folder / f'{name}{CARD_SUFFIX}')
    return found


def has_model(name: str) -> bool:
    """Whether there is a model of this name, damaged or not."""
    return name in card_files()


def find_model(name: str) -> ModelCard:
    """Card of a model.

    Raises:
        UserError: There is no such model, or its card is missing or damaged.
    """
    files = card_files()
    if name not in files:
        raise UserError(
            f'there is no model {name!r}; there are {", ".join(files) or "none"} (mmfusion models list), '
            f'and mmfusion models add '
            'takes files of others'
        )
    return read_card(files[name])


def list_models() -> Tuple[List[ModelCard], Dict[str, str]]:
    """All models.

    Returns:
        tuple: The cards, shipped ones first, and by name what is wrong with cards that cannot be read.
    """
    cards, problems = [], {}
    for name, path in card_files().items():
        try:
            cards.append(read_card(path))
        except UserError as error:
            problems[name] = str(error)
    return cards, problems
