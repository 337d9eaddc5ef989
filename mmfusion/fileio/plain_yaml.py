"""yaml as data, without the tags that build Python objects and without mmengine."""

from typing import Any, Dict, Optional

import yaml

try:
    from yaml import CSafeLoader as Loader
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as Loader

#: Entries of a config after all aliases are written out; a shipped config has a few thousand.
MAX_ENTRIES = 1_000_000


def load_yaml(file) -> Any:
    """Read yaml with the safe loader, and refuse aliases that refer to themselves or grow the file beyond
    :data:`MAX_ENTRIES`.

    Args:
        file: Open file, or text.

    Raises:
        ValueError: It is no yaml, asks for a Python object, or grows without bounds.
    """
    try:
        content = yaml.load(file, Loader=Loader)
        entries = count_entries(content)
    except yaml.YAMLError as error:
        raise ValueError(' '.join(str(error).split())) from None
    except RecursionError:
        raise ValueError('it is nested too deeply, or an alias refers to itself') from None
    if entries > MAX_ENTRIES:
        raise ValueError(f'its aliases expand to {entries:.3g} entries')
    return content


def count_entries(node: Any, known: Optional[Dict[int, int]] = None) -> int:
    """Entries of nested dicts and lists, those that are shared counted wherever they stand.

    Raises:
        RecursionError: A part contains itself, or it is nested too deeply.

    Examples:
        >>> shared = [1, 2]
        >>> count_entries({'a': shared, 'b': shared})
        9
    """
    if not isinstance(node, (dict, list, tuple, set)):
        return 1
    known = {} if known is None else known
    if id(node) not in known:
        parts = [part for item in node.items() for part in item] if isinstance(node, dict) else node
        known[id(node)] = 1 + sum(count_entries(part, known) for part in parts)
    return known[id(node)]
