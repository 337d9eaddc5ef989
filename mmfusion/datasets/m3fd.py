"""M3FD: Target-aware Dual Adversarial Learning ... for Object Detection (Liu et al., CVPR 2022),
https://github.com/JinyuanLiu-CV/TarDAL.
"""

from typing import List

from mmfusion.fileio.pairing import PairFiles
from mmfusion.registry import DATASETS

from .scene_split import DEFAULT_OPTIONS, SceneSplit, SplitOptions, make_scene_split
from .voc_pair_dataset import VOCPairDataset


@DATASETS.register_module()
class M3FDDataset(VOCPairDataset):
    """M3FD detection pairs with their official layout: 4200 pairs, 1024x768, six classes.

    There is no official split. Make a scene-disjoint one with ``mmfusion split-m3fd`` and give its id list as
    ``ann_file``; an ``ann_file`` outside ``data_root`` needs an absolute path. Without ``ann_file`` all pairs are used.
    Objects marked ``difficult`` are ignored in training and evaluation.

    Args:
        kwargs: See :class:`BasePairDataset`. ``data_prefix`` keys: ``first``, ``second``, ``ann``.
    """

    METAINFO = dict(
        classes=('People', 'Car', 'Bus', 'Motorcycle', 'Lamp', 'Truck'),
        palette=[(220, 20, 60), (0, 0, 142), (0, 60, 100), (0, 0, 230), (250, 170, 30), (0, 0, 70)],
        modalities=('visible', 'infrared'),
    )
    FOLDERS = dict(
        first=('Vis', 'visible', 'vi', 'M3FD_Detection/Vis'),
        second=('Ir', 'infrared', 'M3FD_Detection/Ir'),
        ann=('Annotation', 'Annotations', 'M3FD_Detection/Annotation'),
    )
    LAYOUT = """    M3FD/
      Vis/00000.png ...
      Ir/00000.png ...
      Annotation/00000.xml ..."""


def split_m3fd(data_root: str, options: SplitOptions = DEFAULT_OPTIONS, workers: int = 0) -> SceneSplit:
    """Split all pairs below an M3FD folder by scenes; annotations are not read.

    Raises:
        FileNotFoundError: The folder has not the layout of M3FD.
        PairDataError: A partner is missing or an image cannot be read.
    """
    pairs: List[PairFiles] = M3FDDataset(data_root=data_root, lazy_init=True).list_complete_pairs()
    return make_scene_split(pairs, options, workers)
