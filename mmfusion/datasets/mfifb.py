"""MFIFB: Multi-focus image fusion: a benchmark (X. Zhang, 2020, arXiv 2005.01116),
https://github.com/xingchenzhang/MFIFB.
"""

from mmfusion.registry import DATASETS

from .scene_folders import SceneFolderDataset


@DATASETS.register_module()
class MFIFBDataset(SceneFolderDataset):
    """Multi-focus pairs in color, for test in the benchmark. The image with the far plane in focus (``_B``) is the
    first source.

    Args:
        kwargs: See :class:`SceneFolderDataset`.
    """

    METAINFO = dict(classes=(), palette=[], modalities=('far', 'near'))
    LAYOUT = """    MFIFB/
      input/<scene>/<scene>_A.jpg      near plane in focus
      input/<scene>/<scene>_B.jpg      far plane in focus"""
