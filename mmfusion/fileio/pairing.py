"""Finding the folders and the partner files of a pair data set."""

import os
from collections import Counter
from pathlib import Path
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence

from mmfusion.fileio.reading import read_text, reason
from mmfusion.utils.errors import MissingFileError

from .errors import PairDataError
from .image_reading import IMAGE_SUFFIXES

DOCS = 'docs/en/data_preparation.md'


class PairFiles(NamedTuple):
    """The files of one pair; a partner that is absent is None.

    Attributes:
        stem: Name that the two files share, used as ``sample_id``.
        first: Path of the first source.
        second: Path of the second source.
    """

    stem: str
    first: Optional[str]
    second: Optional[str]


def find_folder(root: str, *alternatives: str) -> Optional[str]:
    """Find the first of several relative folders below ``root``, whatever the case of its letters.

    Published copies of the same set differ in case and plural (``Vis``, ``vis``; ``Annotation``, ``Annotations``).

    Examples:
        >>> import os, tempfile
        >>> root = tempfile.mkdtemp()
        >>> os.makedirs(os.path.join(root, 'VIS', 'train'))
        >>> os.path.relpath(find_folder(root, 'visible/train', 'vis/train'), root)
        'VIS/train'
    """
    for alternative in alternatives:
        current = Path(root)
        for part in Path(alternative).parts:
            if (current / part).is_dir():
                current = current / part
                continue
            names = sorted(os.listdir(current)) if current.is_dir() else []
            matches = [name for name in names if name.lower() == part.lower() and (current / name).is_dir()]
            if not matches:
                break
            current = current / matches[0]
        else:
            if current.is_dir():
                return str(current)
    return None


def require_folder(owner: str, root: str, alternatives: Sequence[str], layout: str) -> str:
    """:func:`find_folder`, or an error that shows the expected layout.

    Raises:
        FileNotFoundError: None of the folders exists.
    """
    folder = find_folder(root, *alternatives)
    if folder is None:
        what = (
            f'data root {root!r} does not exist'
            if not Path(root).is_dir()
            else f'no folder {alternatives[0]!r} below {root!r}'
        )
        raise MissingFileError(
            f'{owner}: {what}. Expected layout:\n{layout}\nSet data_root, or prepare the data as {DOCS} describes.'
        )
    return folder


def index_images(folder: str, suffix: str = '') -> Dict[str, str]:
    """Map the stem of every image in a folder to its path.

    Args:
        folder: A folder, read without its subfolders.
        suffix: Ending of the stem that is not part of the sample's name, e.g. ``'_ir'`` for ``0001_ir.png``; other
            files are left out.

    Raises:
        PairDataError: Two files have the same stem, so that the partner is ambiguous.
    """
    found: Dict[str, str] = {}
    for entry in sorted(os.scandir(folder), key=lambda item: item.name):
        stem, extension = os.path.splitext(entry.name)
        if entry.name.startswith('.') or extension.lower() not in IMAGE_SUFFIXES or not stem.endswith(suffix):
            continue
        stem = stem[: len(stem) - len(suffix)]
        if stem in found:
            raise PairDataError(
                'ambiguous partner', f'{found[stem]} and {entry.path} have the same name; keep one of them'
            )
        found[stem] = entry.path
    return found


def match_pairs(
    first: Dict[str, str], second: Dict[str, str], stems: Optional[Iterable[str]] = None
) -> List[PairFiles]:
    """Join two indices by stem, sorted, with None for what is absent.

    Args:
        first: Result of :func:`index_images` for the first source.
        second: The same for the second source.
        stems: Names wanted, in order; all of both indices when omitted.

    Examples:
        >>> match_pairs({'a': 'vi/a.png'}, {'a': 'ir/a.bmp', 'b': 'ir/b.bmp'})
        [PairFiles(stem='a', first='vi/a.png', second='ir/a.bmp'), PairFiles(stem='b', first=None, second='ir/b.bmp')]
    """
    wanted = sorted(set(first) | set(second)) if stems is None else list(stems)
    return [PairFiles(stem, first.get(stem), second.get(stem)) for stem in wanted]


def read_id_list(path: str) -> List[str]:
    """Read sample names from a text file, one per line, with or without an image extension.

    Raises:
        FileNotFoundError: The file does not exist.
        PairDataError: The file is no text, holds no name, or one twice.
    """
    if not Path(path).is_file():
        raise MissingFileError(f'id list {path} does not exist; for M3FD make it with mmfusion split-m3fd (see {DOCS})')
    try:
        names = [line.strip() for line in read_text(path).splitlines()]
    except (OSError, ValueError) as error:
        raise PairDataError('unreadable id list', f'id list {path} cannot be read: {reason(error)}') from error
    names = [name for name in names if name and not name.startswith('#')]
    names = [name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in IMAGE_SUFFIXES else name for name in names]
    if not names:
        raise PairDataError('empty id list', f'id list {path} holds no names')
    doubles = sorted(name for name, count in Counter(names).items() if count > 1)
    if doubles:
        raise PairDataError('double id', f'id list {path} names {doubles[0]!r} more than once')
    return names
