"""Lytro: Multi-focus image fusion using dictionary-based sparse representation (M. Nejati, S. Samavi and S. Shirani,
Information Fusion 2015).
"""

from mmfusion.registry import DATASETS

from .two_folders import TwoFolderDataset


@DATASETS.register_module()
class LytroDataset(TwoFolderDataset):
    """Multi-focus pairs in color, 520x520, from a light field camera, all in one folder; for test.

    The image with the far plane in focus (``-B``) is the first source.

    Args:
        kwargs: See :class:`TwoFolderDataset`.
    """

    METAINFO = dict(classes=(), palette=[], modalities=('far', 'near'))
    FOLDERS = dict(first=('sourceB', '.'), second=('sourceA', '.'))
    SUFFIXES = ('-B', '-A')
    LAYOUT = """    Lytro/
      lytro-01-A.jpg ...      near plane in focus; or in a folder sourceA
      lytro-01-B.jpg ...      far plane in focus; or in a folder sourceB"""
