"""Any two folders of registered images, without labels."""

import os
from typing import List, Sequence

from mmfusion.fileio.pairing import PairFiles, index_images, match_pairs, read_id_list, require_folder
from mmfusion.registry import DATASETS

from .base_pair_dataset import BasePairDataset


@DATASETS.register_module()
class PairFolderDataset(BasePairDataset):
    """Two folders of images of any two modalities; partners have the same file stem, the extension may differ.

    Args:
        data_prefix: ``dict(first=..., second=...)``, relative to ``data_root``.
        modalities: Names of the two sources.
        suffixes: Endings of the stems that tell the sources apart and are not part of the sample's name, e.g.
            ``('_vi', '_ir')`` for ``0001_vi.png`` and ``0001_ir.png``. Both prefixes may then name the same folder.
        kwargs: See :class:`BasePairDataset`.

    Raises:
        FileNotFoundError: A folder is missing.
        PairDataError: See :class:`BasePairDataset`.
    """

    LAYOUT = """    <data_root>/<data_prefix.first>/NAME<suffix>.png ...    (png, jpg, bmp or tif)
    <data_root>/<data_prefix.second>/NAME<suffix>.png ..."""

    def __init__(
        self,
        *args,
        data_prefix: dict,
        modalities: Sequence[str] = ('visible', 'infrared'),
        suffixes: Sequence[str] = ('', ''),
        **kwargs,
    ) -> None:
        missing = {'first', 'second'} - set(data_prefix)
        if missing:
            raise ValueError(
                f"data_prefix must name the folders 'first' and 'second'; {sorted(missing)} absent in "
                f'{dict(data_prefix)}'
            )
        if len(modalities) != 2 or len(suffixes) != 2:
            raise ValueError(f'modalities and suffixes need two entries each, got {modalities!r} and {suffixes!r}')
        self.suffixes = tuple(suffixes)
        metainfo = dict(kwargs.pop('metainfo', None) or {})
        super().__init__(
            *args, data_prefix=data_prefix, metainfo=dict(modalities=tuple(modalities), **metainfo), **kwargs
        )

    def list_pairs(self) -> List[PairFiles]:
        """List the images of both folders, or those of the id list."""
        paths = [os.path.abspath(self.data_prefix[key]) for key in ('first', 'second')]
        folders = [require_folder(type(self).__name__, os.curdir, (path,), self.LAYOUT) for path in paths]
        first, second = (index_images(folder, suffix) for folder, suffix in zip(folders, self.suffixes))
        return match_pairs(first, second, read_id_list(self.ann_file) if self.ann_file else None)
