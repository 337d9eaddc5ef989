"""Judgment of the facts that were recorded about a network."""

from typing import Dict, List, Optional

from .families import FAMILIES

WORKS, NOTE, UPSTREAM, FAILS = 'works', 'works with a note', 'fails upstream', 'fails'
#: Names under which packages are installed, by the name of the module.
DISTRIBUTIONS: Dict[str, str] = dict(sklearn='scikit-learn', mmpretrain='onedl-mmpretrain', torchvision='torchvision')


def faults(row: dict) -> List[str]:
    """What is wrong with a network that was trained and predicted without an error; ``row`` is a line of results."""
    found = []
    train, predict = row.get('train') or {}, row.get('predict') or {}
    if row.get('reached') != 'end':
        found.append(f'it got as far as {row.get("reached")!r}')
    gradient = train.get('gradient') or 0.0
    if not 0 < gradient < float('inf'):
        found.append(f'the gradient of the fuser is {gradient}')
    for part in (train, predict):
        found += part.get('differences') or ()
        if part.get('backbone') != ['same']:
            found.append('what arrives at the backbone is not the input of the network')
    return found + list(predict.get('faults') or ())


def note(row: dict) -> str:
    """What a user has to know of a network of :data:`FAMILIES` beyond its config and its labels; may be empty."""
    family = FAMILIES.get(row['name'])
    if family is None:
        return ''
    needs = f'needs `{DISTRIBUTIONS.get(family.requires, family.requires)}`' if family.requires else ''
    return '; '.join(filter(None, (needs, family.note)))


def status(row: dict) -> str:
    """``'works'``, ``'works with a note'``, ``'fails upstream'`` (alone just as behind a fuser, or for want of a
    package that it needs) or ``'fails'``.

    Examples:
        >>> error = dict(type='KeyError', message="'x'")
        >>> status(dict(error=error, alone=dict(error))), status(dict(error=error, alone=None))
        ('fails upstream', 'fails')
    """
    if 'error' in row:
        if row.get('missing'):
            return UPSTREAM
        return UPSTREAM if same_error(row['error'], row.get('alone')) else FAILS
    if faults(row):
        return FAILS
    return NOTE if note(row) else WORKS


def same_error(ours: dict, alone: Optional[dict]) -> bool:
    """Whether the network fails alone in the same way."""
    return alone is not None and (ours['type'], ours['message']) == (alone['type'], alone['message'])
