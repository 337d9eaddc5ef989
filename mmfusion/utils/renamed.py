"""Arguments under their former names, which work for one version more and say what they are called now."""

import functools
import inspect
import warnings
from typing import Any, Callable, Collection, Dict, Iterable

#: The fusion task among the options of a fuser, and its name in version 0.1.0.
FUSION_TASK, FORMER_TASK = 'fusion_task', 'task'


def warn_renamed(owner: str, former: str, today: str, level: int = 3) -> None:
    """Say that a name of ``owner`` has changed."""
    warnings.warn(
        f'{owner}: {former!r} is called {today!r} now; the former name goes with the next version',
        DeprecationWarning,
        stacklevel=level,
    )


def renamed(owner: str, **names: str) -> Callable[[Callable], Callable]:
    """Decorator of a function some of whose keyword arguments have new names.

    Where both names are given, as by a config that inherits the new one and sets the former, the former is what the
    user said: dicts are merged as configs are, other values replaced.

    Args:
        owner: What takes the arguments, for the warning.
        names: Former name -> name of today.

    Examples:
        >>> @renamed('area', size='width')
        ... def area(width):
        ...     return width**2
        >>> area(size=3)
        9
    """

    def decorate(function: Callable) -> Callable:

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            found = [former for former in names if former in kwargs]
            if not found:
                return function(*args, **kwargs)
            for former in found:
                warn_renamed(owner, former, names[former])
            return function(*args, **with_present_names(kwargs, names))

        return wrapper

    return decorate


def with_present_names(values: Dict[str, Any], names: Dict[str, str]) -> Dict[str, Any]:
    """A dict whose former keys have the names of today.

    Examples:
        >>> with_present_names(dict(tasks=dict(b=2), fusion_tasks=dict(a=1), lead='a'), dict(tasks='fusion_tasks'))
        {'fusion_tasks': {'a': 1, 'b': 2}, 'lead': 'a'}
    """
    result = {key: value for key, value in values.items() if key not in names}
    for former, today in names.items():
        if former in values:
            result[today] = _merged(result.get(today), values[former])
    return result


def _merged(inherited: Any, said: Any) -> Any:
    """What a config says over what it inherits, as mmengine merges them."""
    if not isinstance(said, dict):
        return said
    said = dict(said)
    if said.pop('_delete_', False) or not isinstance(inherited, dict):
        inherited = {}
    return {**inherited, **{key: _merged(inherited.get(key), value) for key, value in said.items()}}


def name_fusion_task(options: Dict[str, Any], known: Collection[str], owner: str) -> Dict[str, Any]:
    """Options in which the fusion task has the name that ``owner`` knows: ``fusion_task``, or ``task`` as in version
    0.1.0.
    """
    for given, wanted in ((FORMER_TASK, FUSION_TASK), (FUSION_TASK, FORMER_TASK)):
        if given in options and given not in known and wanted in known:
            warn_renamed(owner, FORMER_TASK, FUSION_TASK)
            return with_present_names(options, {given: wanted})
    return options


def warn_of_former_task(losses: Iterable[object]) -> None:
    """Say which fusion losses still ask for the fusion task as ``task``; for one version more they are told under both
    names.
    """
    for loss in losses:
        parameters = inspect.signature(getattr(loss, 'criterion', loss.forward)).parameters
        if FORMER_TASK in parameters and FUSION_TASK not in parameters:
            warn_renamed(type(loss).__name__, FORMER_TASK, FUSION_TASK)
