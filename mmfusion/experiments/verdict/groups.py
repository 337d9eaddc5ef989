"""Groups of test images, such as day and night."""

import csv
import re
from pathlib import Path
from typing import Dict, Mapping, Optional, Sequence, Union

from mmfusion.utils import UserError

Grouping = Union[None, str, Path, Mapping[str, str]]
#: Names of images that tell the time of day, and what their last letter stands for: MSRS (``00004N``).
_TIME = re.compile(r'\d+([DN])')
_TIMES = dict(D='day', N='night')


def group_images(names: Sequence[str], grouping: Grouping = None) -> Dict[str, str]:
    """Group of each image, by name; empty where nothing tells.

    Args:
        names: Names of the test images.
        grouping: Group by name of the image, or a csv file with the columns ``name,group``; None to read it off the
            names where they tell, as those of MSRS do (``00004N`` is at night).

    Raises:
        UserError: The file cannot be read, lacks the columns, or an image has no group.

    Examples:
        >>> group_images(['00001D', '00004N'])
        {'00001D': 'day', '00004N': 'night'}
        >>> group_images(['a', 'b'])
        {}
    """
    if grouping is None:
        found = {name: _TIME.fullmatch(name) for name in names}
        return {name: _TIMES[match[1]] for name, match in found.items()} if all(found.values()) else {}
    where = 'the mapping of groups'
    if isinstance(grouping, (str, Path)):
        where, grouping = str(grouping), _read(Path(grouping))
    absent = [name for name in names if name not in grouping]
    if absent:
        raise UserError(
            f'{where} has no group for {len(absent)} of {len(names)} test images, the first is {absent[0]!r}; add a'
            ' line for each'
        )
    return {name: str(grouping[name]) for name in names}


def _read(path: Path) -> Dict[str, str]:
    try:
        with open(path, newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'groups cannot be read from {path}: {error}') from error
    if not rows or not {'name', 'group'} <= set(rows[0]):
        raise UserError(f'{path} must be a csv file with the header name,group and a line for each test image')
    return {row['name']: row['group'] for row in rows}


def members(groups: Mapping[str, str], names: Sequence[str], minimum: Optional[int] = 2) -> Dict[str, list]:
    """Indices of the images of each group that has at least ``minimum`` of them, in the order of the names of the
    groups."""
    found: Dict[str, list] = {}
    for index, name in enumerate(names):
        if name in groups:
            found.setdefault(groups[name], []).append(index)
    return {group: found[group] for group in sorted(found) if len(found[group]) >= (minimum or 1)}
