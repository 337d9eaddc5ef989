"""Genotypes: the operations of the cells of a TIM network, as data, one small JSON file each."""

import json
from pathlib import Path
from typing import List, NamedTuple, Tuple, Union

from mmfusion.fileio import write_text
from mmfusion.fileio.reading import read_json
from mmfusion.utils.errors import InputError, InputTypeError, MissingFileError

from .operations import parse_operation

FOLDER = Path(__file__).parent / 'genotypes'
CELL_KINDS = ('chain', 'multiscale')


class Cell(NamedTuple):
    """One cell.

    Attributes:
        kind: ``'chain'`` (the operations one after the other) or ``'multiscale'`` (the same chain at full, half and
            quarter size, merged).
        operations: Names of the operations in their order; see :mod:`~mmfusion.models.fusers.tim.operations`.
    """

    kind: str
    operations: Tuple[str, ...]


class Genotype(NamedTuple):
    """The cells of a network (or of one branch of it), one after the other.

    Attributes:
        name: Name of the genotype; that of its file without the suffix.
        cells: The cells.
        note: Where it comes from, in a sentence.
    """

    name: str
    cells: Tuple[Cell, ...]
    note: str = ''


GenotypeLike = Union[str, Path, dict, Genotype]


def genotype_names() -> List[str]:
    """Names of the genotypes that come with the package.

    Examples:
        >>> 'fusion_light' in genotype_names()
        True
    """
    return sorted(path.stem for path in FOLDER.glob('*.json'))


def load_genotype(source: GenotypeLike) -> Genotype:
    """Load and check a genotype.

    Args:
        source: Name of a genotype of the package, path of a ``.json`` file, content of one as a dict, or a genotype.

    Raises:
        TypeError: It is none of these.
        FileNotFoundError: There is no such file.
        ValueError: The name is unknown, or the content is not a genotype; the message says where.

    Examples:
        >>> load_genotype('fusion_light').cells[0]
        Cell(kind='chain', operations=('residual_3_1', 'eca_3'))
    """
    if isinstance(source, Genotype):
        source = as_dict(source)
    if isinstance(source, dict):
        return _from_dict(source, str(source.get('name', 'genotype')))
    if not isinstance(source, (str, Path)):
        raise InputTypeError(f'a genotype is given by a name, a path, a dict or a Genotype, got {source!r}')
    path = Path(source)
    if path.suffix != '.json':
        path = FOLDER / f'{source}.json'
        if str(source) not in genotype_names():
            raise InputError(
                f'there is no genotype {str(source)!r}; the package has {", ".join(genotype_names())}, '
                f'and a path ends in .json'
            )
    if not path.is_file():
        raise MissingFileError(f'no genotype file {path}')
    try:
        content = read_json(path)
    except ValueError as error:
        raise InputError(f'{path} is not JSON: {error}') from None
    if not isinstance(content, dict):
        raise InputError(f'{path}: a genotype is an object with "cells"')
    return _from_dict({'name': path.stem, **content}, str(path))


def save_genotype(genotype: GenotypeLike, path: Union[str, Path]) -> None:
    """Write a genotype, one line per cell; the file appears whole or not at all.

    Args:
        genotype: As :func:`load_genotype` takes it.
        path: File to write; its suffix must be ``.json``, its folder is made.

    Raises:
        ValueError: The genotype is not one, or the suffix is another one.
    """
    content, path = as_dict(load_genotype(genotype)), Path(path)
    if path.suffix != '.json':
        raise InputError(f'a genotype file must end in .json, got {path}')
    cells = ',\n'.join(f'    {json.dumps(cell)}' for cell in content['cells'])
    text = (
        f'{{\n  "name": {json.dumps(content["name"])},\n  "note": {json.dumps(content["note"])},\n  "cells": '
        f'[\n{cells}\n  ]\n}}\n'
    )
    write_text(path, text)


def as_dict(genotype: Genotype) -> dict:
    """The content of a genotype's file.

    Examples:
        >>> as_dict(Genotype('mine', (Cell('chain', ('eca_3',)),)))
        {'name': 'mine', 'note': '', 'cells': [{'kind': 'chain', 'operations': ['eca_3']}]}
    """
    cells = [dict(kind=kind, operations=list(operations)) for kind, operations in genotype.cells]
    return dict(name=genotype.name, note=genotype.note, cells=cells)


def _from_dict(content: dict, where: str) -> Genotype:
    unknown = set(content) - {'name', 'note', 'cells'}
    if unknown or not isinstance(content.get('cells'), (list, tuple)) or not content['cells']:
        raise InputError(
            f'{where}: a genotype has "cells", a list that is not empty, and may have "name" and "note"'
            + (f'; it has {", ".join(sorted(map(str, unknown)))} too' if unknown else '')
        )
    cells = []
    for index, cell in enumerate(content['cells']):
        if not isinstance(cell, dict) or set(cell) != {'kind', 'operations'} or cell['kind'] not in CELL_KINDS:
            raise InputError(
                f'{where}: cell {index} must have "kind" (one of {", ".join(CELL_KINDS)}) and "operations", got {cell}'
            )
        if not isinstance(cell['operations'], (list, tuple)) or not cell['operations']:
            raise InputError(f'{where}: the operations of cell {index} must be a list of names that is not empty')
        for name in cell['operations']:
            try:
                parse_operation(name)
            except ValueError as error:
                raise InputError(f'{where}: cell {index}: {error}') from None
        cells.append(Cell(cell['kind'], tuple(cell['operations'])))
    return Genotype(str(content.get('name', 'genotype')), tuple(cells), str(content.get('note', '')))
