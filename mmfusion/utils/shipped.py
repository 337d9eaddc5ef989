"""Configs that ship with the package, by name; importing this loads neither torch nor mmengine."""

import difflib
from pathlib import Path
from typing import Iterable, List, Optional, Union

from .errors import UserError


def find_config(name: Union[str, Path]) -> Path:
    """The file of a config: a path, or the name of one that ships, with or without ``configs/`` and ``.py``.

    A file of this name wins over a config that ships.

    Raises:
        UserError: There is neither; the message names the nearest.
    """
    path = Path(name)
    if path.is_file():
        return path
    parts = path.parts[1:] if path.parts[:1] == ('configs',) else path.parts
    folder = shipped_configs()
    if (
        folder is not None
        and len(parts) == 1
        and (shipped := folder / parts[0]).with_suffix('.py').is_file()
        and shipped.suffix in ('', '.py')
    ):
        return shipped.with_suffix('.py')
    known = {*_siblings(path), *config_names()} if len(parts) == 1 else _siblings(path)
    raise UserError(f'config not found: {path}{_hint(path.name, known)}')


def config_names() -> List[str]:
    """Names of the configs that ship, sorted."""
    folder = shipped_configs()
    return [] if folder is None else sorted(path.stem for path in folder.glob('*.py'))


def shipped_config(name: str) -> Path:
    """Path of a file that ships, such as ``'_base_/fusers/tim.py'``.

    Raises:
        UserError: The installation holds no configs.
    """
    folder = shipped_configs()
    if folder is None:
        raise UserError(
            'this installation of mmfusion holds no configs; give the path of one, or install the wheel or the '
            'checkout again'
        )
    return folder / name


def shipped_configs() -> Optional[Path]:
    """Folder of the configs that ship: inside the package where it was installed, beside it in a checkout; None where
    there is neither.
    """
    package = Path(__file__).resolve().parents[1]
    return next(
        (
            folder
            for folder in (package / '.mim' / 'configs', package.parent / 'configs')
            if (folder / '_base_').is_dir()
        ),
        None,
    )


def _siblings(path: Path) -> Iterable[str]:
    return [file.name for file in path.parent.glob('*.py')] if path.parent.is_dir() else []


def _hint(name: str, candidates: Iterable[str]) -> str:
    match = difflib.get_close_matches(name, list(candidates), n=1)
    return f'. Did you mean {match[0]!r}?' if match else ''
