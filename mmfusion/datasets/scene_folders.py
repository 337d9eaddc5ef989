"""Base of data sets with a folder per scene."""

import os
from typing import List

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_reading import IMAGE_SUFFIXES
from mmfusion.fileio.pairing import PairFiles, match_pairs, read_id_list

from .base_pair_dataset import BasePairDataset


class SceneFolderDataset(BasePairDataset):
    """Pairs in ``input/<scene>/``, where two images end in ``_A`` and ``_B``; no labels, no split. The name of the
    scene is that of the sample.

    The case of letters does not matter, neither in endings nor in extensions: published copies have ``Night_A.jpg``
    beside ``Night_B.JPG``.

    Attributes:
        ENDINGS: Endings of the first and the second source.

    Args:
        kwargs: See :class:`BasePairDataset`. ``data_prefix`` key: ``input``, the folder that holds the scenes.
            ``ann_file`` lists scenes.

    Raises:
        FileNotFoundError: There is no folder of scenes.
        PairDataError: A scene has two images for one source or none, or see :class:`BasePairDataset`.
    """

    FOLDERS = dict(input=('input', 'source', 'images'))
    ENDINGS = ('_b', '_a')

    def list_pairs(self) -> List[PairFiles]:
        """List the scenes, or those of the id list."""
        root = self.folder('input')
        found = ({}, {})
        for scene in sorted(
            entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith('.')
        ):
            for entry in sorted(os.scandir(os.path.join(root, scene)), key=lambda item: item.name):
                stem, extension = os.path.splitext(entry.name.lower())
                if entry.name.startswith('.') or extension not in IMAGE_SUFFIXES:
                    continue
                for paths, ending in zip(found, self.ENDINGS):
                    if stem.endswith(ending):
                        if scene in paths:
                            raise PairDataError(
                                'ambiguous partner',
                                f'{type(self).__name__}: {paths[scene]} and {entry.path} are both the image '
                                f'{ending.upper()} of scene {scene!r}; keep one of them',
                            )
                        paths[scene] = entry.path
        return match_pairs(*found, read_id_list(self.ann_file) if self.ann_file else None)
