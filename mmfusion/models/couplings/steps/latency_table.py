"""Latency of every candidate at every position of a supernet: a small file, and the term that it adds to a search."""

from pathlib import Path
from typing import Dict, NamedTuple, Sequence, Tuple, Union

import torch
from torch import Tensor

from mmfusion.fileio import write_json
from mmfusion.fileio.reading import read_json
from mmfusion.utils.errors import InputError, MissingFileError


class LatencyTable(NamedTuple):
    """Measured latencies.

    Attributes:
        milliseconds: Latency by position, then by candidate; in a multiscale cell the sum over its scales.
        machine: What the numbers hold for: device, threads, versions.
        size: (height, width) of the images.
    """

    milliseconds: Dict[str, Dict[str, float]]
    machine: dict
    size: Tuple[int, int]

    def tensor(self, positions: Sequence[str], candidates: Sequence[str]) -> Tensor:
        """The numbers as (positions, candidates).

        Raises:
            ValueError: One is missing, or is no positive number.
        """
        try:
            values = torch.tensor(
                [[float(self.milliseconds[position][name]) for name in candidates] for position in positions]
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f'the latency table does not fit the supernet ({type(error).__name__}: {error}); measure it with '
                'mmfusion latency and the config of this search'
            ) from None
        if not (values > 0).all() or not torch.isfinite(values).all():
            raise InputError('every number of the latency table must be positive')
        return values


def save_latency_table(table: LatencyTable, path: Union[str, Path]) -> None:
    """Write a table as JSON; the file appears whole or not at all."""
    content = dict(
        table._asdict(),
        milliseconds={
            position: {name: round(value, 6) for name, value in row.items()}
            for position, row in table.milliseconds.items()
        },
    )
    write_json(path, content)


def load_latency_table(source: Union[str, Path, dict, LatencyTable]) -> LatencyTable:
    """Read a table.

    Args:
        source: Path of a file of :func:`save_latency_table`, its content, or a table.

    Raises:
        FileNotFoundError: There is no such file; the message says how to make one.
        ValueError: It is not a table.
    """
    if isinstance(source, LatencyTable):
        return source
    if not isinstance(source, dict):
        path = Path(source)
        if not path.is_file():
            raise MissingFileError(
                f'no latency table {path}: measure one with mmfusion latency, on the device on which the '
                f'network will run'
            )
        try:
            source = read_json(path)
        except ValueError as error:
            raise InputError(f'{path} is not JSON: {error}') from None
    try:
        rows = {position: dict(row) for position, row in dict(source['milliseconds']).items()}
        height, width = (int(side) for side in source['size'])
        return LatencyTable(rows, dict(source['machine']), (height, width))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f'not a latency table ({type(error).__name__}: {error}); it has milliseconds, machine and size'
        ) from None


def expected_latency(probabilities: Tensor, table: Tensor) -> Tensor:
    """Sum over positions and candidates of weight times latency, in the unit of the table.

    Args:
        probabilities: (positions, candidates), rows sum up to 1.
        table: Same shape.

    Examples:
        >>> expected_latency(torch.tensor([[0.5, 0.5], [1., 0.]]), torch.tensor([[2., 4.], [3., 9.]]))
        tensor(6.)
    """
    return (probabilities * table).sum()
