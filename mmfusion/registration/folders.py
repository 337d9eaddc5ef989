"""Registration of folders of pairs: a row for each, a rig from all, and how well a registered set really is."""

from pathlib import Path
from typing import Iterable, Iterator, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from mmfusion.fileio.image_reading import read_image
from mmfusion.fileio.pairing import find_folder, index_images, match_pairs
from mmfusion.fileio.whole import write_csv
from mmfusion.utils.errors import UserError

from .geometry import corner_distance, fitting_matrix
from .registering import Registration, check_options, register_pair

#: Names that folders of visible and of infrared images usually have.
SOURCE_FOLDERS = (
    ('vi', 'vis', 'visible', 'visual', 'rgb', 'images/visible'),
    ('ir', 'inf', 'infrared', 'thermal', 'lwir', 'images/infrared'),
)
FIELDS = ('name', 'accepted', 'confidence', 'offset', 'offset_320', 'reasons')


class PairRegistration(NamedTuple):
    """Result of one pair of a folder.

    Attributes:
        name: Stem of the files.
        result: None when the pair could not be read or is no picture to register (smaller than 64 pixels, NaN).
        message: Why.
    """

    name: str
    result: Optional[Registration]
    message: str = ''

    @property
    def offset(self) -> float:
        """Mean distance of the second image's corners from where equal names and sizes put them, in pixels of the first
        image.
        """
        rest = fitting_matrix(self.result.first_shape, self.result.second_shape)
        return corner_distance(self.result.matrix, rest, self.result.second_shape)

    def row(self) -> dict:
        """A row of the csv file, with the fields :data:`FIELDS`."""
        if self.result is None:
            return dict(name=self.name, accepted='', confidence='', offset='', offset_320='', reasons=self.message)
        offset = self.offset
        return dict(
            name=self.name,
            accepted=self.result.accepted,
            confidence=round(self.result.confidence, 4),
            offset=round(offset, 2),
            offset_320=round(offset * 320 / self.result.first_shape[1], 2),
            reasons='; '.join(self.result.reasons),
        )


def find_source_folders(root: Union[str, Path]) -> Tuple[str, str]:
    """Folders of the first and the second source below one, by their usual names (:data:`SOURCE_FOLDERS`), whatever the
    case.

    Raises:
        UserError: One of them is not there.
    """
    found = [find_folder(str(root), *names) for names in SOURCE_FOLDERS]
    for folder, names in zip(found, SOURCE_FOLDERS):
        if folder is None:
            raise UserError(f'{root} holds none of the folders {", ".join(names)}; give both folders by name')
    return tuple(found)


def find_pairs(first: Union[str, Path], second: Union[str, Path]) -> List[Tuple[str, str, str]]:
    """(name, first path, second path) of two folders, by stem.

    Raises:
        UserError: A folder does not exist, or no name is in both.
    """
    for folder in (first, second):
        if not Path(folder).is_dir():
            raise UserError(f'folder {folder} does not exist')
    pairs = [
        pair for pair in match_pairs(index_images(str(first)), index_images(str(second))) if pair.first and pair.second
    ]
    if not pairs:
        raise UserError(
            f'{first} and {second} hold no pair of images with the same name (png, jpg, bmp or tif, without subfolders)'
        )
    return [tuple(pair) for pair in pairs]


def register_files(pairs: Iterable[Tuple[str, str, str]], **options) -> Iterator[PairRegistration]:
    """Register one pair of files after the other; what cannot be read is reported in its row, and the others go on.

    Args:
        pairs: (name, first path, second path), as :func:`find_pairs` lists them.
        options: Arguments of :func:`~mmfusion.registration.register_pair`.

    Raises:
        UserError: An option is out of range.
    """
    check_options(**options)
    for name, *paths in pairs:
        try:
            row = PairRegistration(name, register_pair(*map(read_image, paths), **options))
        except UserError as error:  # of this pair alone: a file that cannot be read, an image too small
            row = PairRegistration(name, None, str(error))
        yield row


def worst_first(rows: List[PairRegistration]) -> List[PairRegistration]:
    """Unreadable and refused pairs first, then by distance from registered, the largest first."""

    def key(row: PairRegistration):
        if row.result is None:
            return 0, 0.0
        return (2, -row.offset) if row.result.accepted else (1, row.result.confidence)

    return sorted(rows, key=key)


def write_rows(path: Union[str, Path], rows: List[PairRegistration]) -> None:
    """Write the rows to a csv file, whole or not at all."""
    write_csv(path, (row.row() for row in rows), FIELDS)


def summarize(rows: List[PairRegistration]) -> str:
    """A few lines on a set: how many could be judged, and how far they are off."""
    judged = [row for row in rows if row.result is not None and row.result.accepted]
    lines = [f'{len(judged)} of {len(rows)} pairs could be judged']
    if judged:
        offsets = np.array([row.offset for row in judged])
        unit = 320 / judged[0].result.first_shape[1]
        middle, most, largest = np.median(offsets), np.percentile(offsets, 90), offsets.max()
        lines.append(
            f'corners are off by {middle:.1f} pixels (median), {most:.1f} (90 %), {largest:.1f} (largest); '
            f'at a width of 320 these are {middle * unit:.1f}, {most * unit:.1f} and {largest * unit:.1f}'
        )
        shapes = {(row.result.first_shape, row.result.second_shape) for row in judged}
        if len(shapes) == 1 and len(judged) > 2:
            common = np.median(np.stack([row.result.matrix for row in judged]), axis=0)
            distance = corner_distance(common, fitting_matrix(*next(iter(shapes))), judged[0].result.second_shape)
            lines.append(
                f'a common part of {distance:.1f} pixels is in all of them: a fixed rig that is a little off shows so'
            )
    return '\n'.join(lines)
