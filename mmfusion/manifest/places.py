"""Paths as a manifest states them: relative, without the folders of a machine."""

import os
from pathlib import Path
from typing import Any, Dict, Optional, Union

import numpy as np

PathLike = Union[str, Path]
MARK, TUPLE = '@', '__tuple__'


class Places:
    """Where the folders of a manifest lie on this machine.

    Paths in the current folder become relative to it. Of others, the folder gets a name such as ``@MSRS``; what it
    stands for is kept apart from the manifest, in a file that need not be shared.

    Args:
        folders: Folders by name, as :meth:`to_dict` returns them.
        base: What relative paths are relative to; by default the current folder.

    Examples:
        >>> places = Places(base='/home/me/project')
        >>> places.share('/home/me/project/data/MSRS'), places.share('/data/sets/MSRS')
        ('data/MSRS', '@MSRS')
        >>> places.find('@MSRS/test/vi/1.png')
        '/data/sets/MSRS/test/vi/1.png'
    """

    def __init__(self, folders: Optional[Dict[str, str]] = None, base: Optional[PathLike] = None) -> None:
        self.folders = dict(folders or {})
        self.base = os.path.abspath(base or os.getcwd())

    def share(self, path: PathLike) -> str:
        """The path as others may see it."""
        full = os.path.normpath(os.path.join(self.base, path))
        inside = _below(full, self.base)
        if inside is not None:
            return inside
        for name, folder in self.folders.items():
            inside = _below(full, folder)
            if inside is not None:
                return name if inside == '.' else f'{name}/{inside}'
        folder, rest = (full, '') if os.path.isdir(full) or not os.path.splitext(full)[1] else os.path.split(full)
        name = self._new_name(os.path.basename(folder) or 'root')
        self.folders[name] = folder
        return f'{name}/{rest}' if rest else name

    def find(self, path: str) -> str:
        """The path on this machine; a name that is not known is left as it is."""
        known = self._known(path)
        return known or (path if path.startswith(MARK) else os.path.normpath(os.path.join(self.base, path)))

    def share_all(self, node: Any, keep_tuples: bool = False) -> Any:
        """Nested settings as JSON has them, with absolute paths and those that lead out of the current folder replaced.

        Args:
            node: Dicts, lists, numbers, texts.
            keep_tuples: Mark tuples, which JSON does not have and some transforms insist on; :meth:`find_all` gives
                them back.
        """
        if isinstance(node, dict):
            return {str(key): self.share_all(node[key], keep_tuples) for key in node}
        if isinstance(node, tuple) and keep_tuples:
            return {TUPLE: [self.share_all(value, True) for value in node]}
        if isinstance(node, (list, tuple)):
            return [self.share_all(value, keep_tuples) for value in node]
        if isinstance(node, (set, frozenset)):
            return sorted(map(str, node))
        if isinstance(node, np.ndarray):
            return self.share_all(node.tolist())
        if isinstance(node, np.generic):
            return node.item()
        if isinstance(node, Path):
            return self.share(node)
        if isinstance(node, str):
            return self.share(node) if _leads_away(node) else node
        if node is None or isinstance(node, (bool, int, float)):
            return node
        if callable(node):  # its repr has an address
            return f'{node.__module__}.{node.__qualname__}'
        return str(node)

    def find_all(self, node: Any) -> Any:
        """The reverse of :meth:`share_all`, as far as names of folders go."""
        if isinstance(node, dict) and list(node) == [TUPLE]:
            return tuple(self.find_all(value) for value in node[TUPLE])
        if isinstance(node, dict):
            return {key: self.find_all(value) for key, value in node.items()}
        if isinstance(node, list):
            return [self.find_all(value) for value in node]
        return (self._known(node) or node) if isinstance(node, str) else node

    def to_dict(self) -> Dict[str, Any]:
        """What :meth:`from_dict` reads."""
        return dict(base=self.base, folders=self.folders)

    @classmethod
    def from_dict(cls, content: dict) -> 'Places':
        """Reverse of :meth:`to_dict`."""
        return cls(content.get('folders'), content.get('base'))

    def _known(self, path: str) -> Optional[str]:
        """The path below a folder that has a name, else None."""
        for name, folder in self.folders.items():
            inside = _below(path.rstrip('/'), name)
            if inside is not None:
                return folder if inside == '.' else os.path.join(folder, inside)
        return None

    def _new_name(self, stem: str) -> str:
        name, count = f'{MARK}{stem}', 1
        while name in self.folders:
            count += 1
            name = f'{MARK}{stem}-{count}'
        return name


def _below(path: str, folder: str) -> Optional[str]:
    if path == folder:
        return '.'
    start = folder.rstrip(os.sep) + os.sep
    return path[len(start) :].replace(os.sep, '/') if path.startswith(start) else None


def _leads_away(text: str) -> bool:
    return os.path.isabs(text) and len(text) > 1 and '\n' not in text or text.startswith('../')
