"""Matching of the files of several folders."""

import os
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Sequence, Tuple

from mmfusion.fileio.pairing import index_images
from mmfusion.utils import UserError

MAX_LISTED = 5


class Scene(NamedTuple):
    """Two sources and what methods made of them.

    Attributes:
        name: Stem that the files share.
        first: Path of the first source.
        second: Path of the second source.
        fused: Path of the fused image by method.
    """

    name: str
    first: str
    second: str
    fused: Dict[str, str]


def name_methods(paths: Sequence[str], folders: bool = True) -> Dict[str, str]:
    """Folders by method: ``NAME=DIR``, or a folder that gives its own name.

    Args:
        paths: What was written.
        folders: All are folders, which have to be there; otherwise files may be among them (``NAME=PATH``), which are
            called by their stems.

    Raises:
        UserError: A folder is missing, or two methods have one name.

    Examples:
        >>> name_methods(['mine=.'])
        {'mine': '.'}
        >>> name_methods(['mine=a/fused.mp4', 'b/other.mp4'], folders=False)
        {'mine': 'a/fused.mp4', 'other': 'b/other.mp4'}
    """
    exists, form = (os.path.isdir, 'NAME=DIR') if folders else (os.path.exists, 'NAME=PATH')
    methods: Dict[str, str] = {}
    for text in paths:
        name, mark, path = text.partition('=')
        if not mark or exists(text):
            own = Path(text).resolve()
            name, path = own.name if folders else own.stem, text
        if folders:
            _require_folder(path)
        if name in methods or not name:
            raise UserError(f'two methods are called {name!r} ({methods.get(name)}, {path}); give names: {form}')
        methods[name] = path
    return methods


def find_scenes(
    methods: Mapping[str, str], first: str, second: str, suffixes: Sequence[str] = ('', '', '')
) -> Tuple[List[Scene], List[str], List[str]]:
    """Match the files of all folders by stem; extensions may differ.

    Args:
        methods: Folders of fused images by method.
        first: Folder of the first sources.
        second: Folder of the second sources.
        suffixes: Endings of the stems of fused, first and second that are not part of the name.

    Returns:
        Scenes in the order of their names; a sentence for each fused image that is absent; sentences about files that
        belong to nothing.

    Raises:
        UserError: A folder is missing, or no name occurs in both folders of sources and in one of the methods.
        PairDataError: Two files of one folder have the same stem.
    """
    for folder in (first, second):
        _require_folder(folder)
    sources = [index_images(folder, suffix) for folder, suffix in zip((first, second), suffixes[1:])]
    fused = {method: index_images(folder, suffixes[0]) for method, folder in methods.items()}
    names = sorted(set(sources[0]) & set(sources[1]))
    if not names:
        raise UserError(
            f'{first} and {second} hold no pair of images with the same name (png, jpg, bmp or tif, '
            f'without subfolders); they hold {_listing(sorted(sources[0]))} and {_listing(sorted(sources[1]))}. '
            f'--suffixes takes off endings'
        )
    if not any(set(names) & set(found) for found in fused.values()):
        inside = '; '.join(f'{folder} holds {_listing(sorted(fused[method]))}' for method, folder in methods.items())
        raise UserError(
            f'no fused image has the name of a pair of sources ({_listing(names)}): {inside}. '
            f'--suffixes takes off endings'
        )
    scenes = [
        Scene(
            name,
            sources[0][name],
            sources[1][name],
            {method: found[name] for method, found in fused.items() if name in found},
        )
        for name in names
    ]
    missing = [
        f'{name} ({method}): no such image in {methods[method]}'
        for name in names
        for method, found in fused.items()
        if name not in found
    ]
    alone = [
        (folder, sorted(set(found) - set(names)))
        for folder, found in [
            (first, sources[0]),
            (second, sources[1]),
            *((methods[method], found) for method, found in fused.items()),
        ]
    ]
    notes = [
        f'{len(extra)} images in {folder} belong to no pair of sources: {_listing(extra)}'
        for folder, extra in alone
        if extra
    ]
    return scenes, missing, notes


def _require_folder(folder: str) -> None:
    if not os.path.isdir(folder):
        raise UserError(f'there is no folder {folder}')


def _listing(names: Sequence[str]) -> str:
    return (
        ', '.join(names[:MAX_LISTED]) + (f' and {len(names) - MAX_LISTED} more' if len(names) > MAX_LISTED else '')
        or 'no image'
    )
