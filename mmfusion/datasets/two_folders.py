"""Base of data sets with a folder for each source."""

from typing import List, Sequence

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.pairing import PairFiles, index_images, match_pairs, read_id_list

from .base_pair_dataset import BasePairDataset


class TwoFolderDataset(BasePairDataset):
    """Pairs in two folders (or in one, told apart by the ends of their names); no labels, no split. What the names
    share is the name of the sample.

    Attributes:
        SUFFIXES: Ends of the names in the folder of the first and the second source, before the extension.

    Args:
        kwargs: See :class:`BasePairDataset`. ``data_prefix`` keys: ``first`` and ``second``. ``ann_file`` lists names
            without their ends.

    Raises:
        FileNotFoundError: A folder is missing.
        PairDataError: See :class:`BasePairDataset`.
    """

    SUFFIXES: Sequence[str] = ('', '')

    def list_pairs(self) -> List[PairFiles]:
        """List the images of both folders, or those of the id list."""
        folders = [self.folder(key) for key in ('first', 'second')]
        first, second = (index_images(folder, suffix) for folder, suffix in zip(folders, self.SUFFIXES))
        if not first and not second:
            ends = ' or '.join(f'{suffix}.png' if suffix else 'png' for suffix in dict.fromkeys(self.SUFFIXES))
            raise PairDataError(
                'no pairs',
                f'{type(self).__name__}: no image with a name in {ends} (or jpg, bmp, tif) in '
                f'{" or ".join(dict.fromkeys(folders))}. Expected layout:\n{self.LAYOUT}',
            )
        return match_pairs(first, second, read_id_list(self.ann_file) if self.ann_file else None)
