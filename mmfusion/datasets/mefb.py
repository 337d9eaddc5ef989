"""MEFB: Benchmarking and comparing multi-exposure image fusion algorithms (X. Zhang, Information Fusion 2021),
https://github.com/xingchenzhang/MEFB.
"""

from mmfusion.registry import DATASETS

from .scene_folders import SceneFolderDataset


@DATASETS.register_module()
class MEFBDataset(SceneFolderDataset):
    """Multi-exposure pairs in color, of many sizes, for test in the benchmark. The overexposed image (``_B``) is the
    first source.

    Args:
        kwargs: See :class:`SceneFolderDataset`.
    """

    METAINFO = dict(classes=(), palette=[], modalities=('over', 'under'))
    LAYOUT = """    MEFB/
      input/<scene>/<scene>_A.jpg      underexposed
      input/<scene>/<scene>_B.jpg      overexposed"""
