"""Named pairs from the files, folders, arrays or lists that a user passes."""

import logging
import os
from pathlib import Path
from typing import List, NamedTuple, Sequence, Union

import numpy as np
from mmengine.logging import print_log

from mmfusion.fileio.image_writing import FileNames
from mmfusion.fileio.pairing import index_images, match_pairs
from mmfusion.utils import UserError

Source = Union[str, Path, np.ndarray]
MAX_LISTED = 5


class Pair(NamedTuple):
    """One pair of source images.

    Attributes:
        name: Distinct among the pairs of one call, fit for a file name.
        first: Path or array of the first source.
        second: Path or array of the second source.
    """

    name: str
    first: Source
    second: Source


def resolve_pairs(
    first: Union[Source, Sequence[Source]],
    second: Union[Source, Sequence[Source]],
    on_error: str = 'raise',
    suffixes: Sequence[str] = ('', ''),
) -> List[Pair]:
    """Find the pairs that two arguments mean.

    Two files or two arrays are one pair; two folders are matched by file stem (the extension may differ); two lists of
    files or arrays are matched by position.

    Args:
        first: First source or sources.
        second: Second source or sources, of the same kind.
        on_error: ``'raise'``, or ``'skip'`` to leave out (and log) files of a folder that have no partner.
        suffixes: Endings of the stems in folders that tell the sources apart, such as ``('_vi', '_ir')``.

    Raises:
        UserError: A file or folder does not exist, kinds or lengths differ, a folder's file has no partner, or no pair
            is left.
        TypeError: An argument is none of these kinds.

    Examples:
        >>> import numpy as np
        >>> resolve_pairs(np.zeros((16, 16)), np.zeros((16, 16)))[0].name
        'pair_0'
    """
    kinds = _kind(first, 'first'), _kind(second, 'second')
    if kinds[0] != kinds[1]:
        raise UserError(
            f'first is {_article(kinds[0])} ({_text(first)}) and second {_article(kinds[1])} ({_text(second)}); '
            f'give two files, '
            'two folders, two arrays or two lists'
        )
    if kinds[0] == 'folder':
        return _match_folders(str(first), str(second), on_error, suffixes)
    if kinds[0] != 'list':
        first, second = [first], [second]
    elif len(first) != len(second) or not first:
        raise UserError(
            f'the lists hold {len(first)} first and {len(second)} second sources; they must be of equal length, at '
            f'least one'
        )
    names, pairs = FileNames(), []
    for index, sources in enumerate(zip(first, second)):
        for label, source in zip(('first', 'second'), sources):
            if _kind(source, label) not in ('file', 'array'):
                raise UserError(
                    f'entry {index} of {label} is {_article(_kind(source, label))} ({_text(source)}); '
                    f'a list may hold files and arrays'
                )
        path = next((source for source in sources if not isinstance(source, np.ndarray)), None)
        pairs.append(Pair(names(Path(path).stem if path is not None else f'pair_{index}', index), *sources))
    return pairs


def _match_folders(first: str, second: str, on_error: str, suffixes: Sequence[str]) -> List[Pair]:
    files = match_pairs(*(index_images(folder, suffix) for folder, suffix in zip((first, second), suffixes)))
    alone = [pair.first or pair.second for pair in files if pair.first is None or pair.second is None]
    matched = [Pair(pair.stem, pair.first, pair.second) for pair in files if pair.first and pair.second]
    listing = ', '.join(alone[:MAX_LISTED]) + (
        f' and {len(alone) - MAX_LISTED} more' if len(alone) > MAX_LISTED else ''
    )
    if not matched:
        raise UserError(
            f'{first} and {second} hold no pair of images with the same name (png, jpg, bmp or tif, without subfolders)'
            + (f'; without partner: {listing}' if alone else '')
        )
    if alone and on_error == 'raise':
        raise UserError(
            f'{len(alone)} images have no partner of the same name in {first} or {second}: {listing}. '
            f'Add the partners, or skip such '
            "images (on_error='skip', --skip-bad)"
        )
    if alone:
        print_log(f'{len(alone)} images without partner are skipped: {listing}', 'current', logging.WARNING)
    return matched


def _kind(source, label: str) -> str:
    if isinstance(source, np.ndarray):
        return 'array'
    if isinstance(source, (str, Path)):
        if not os.path.exists(source):
            raise UserError(f'{label}: {source} does not exist')
        return 'folder' if os.path.isdir(source) else 'file'
    if isinstance(source, (list, tuple)):
        return 'list'
    raise TypeError(f'{label} must be a path, an array or a list of them, got {type(source).__name__}')


def _article(kind: str) -> str:
    return ('an ' if kind == 'array' else 'a ') + kind


def _text(source) -> str:
    if isinstance(source, np.ndarray):
        return f'shape {source.shape}'
    return f'{len(source)} entries' if isinstance(source, (list, tuple)) else str(source)
