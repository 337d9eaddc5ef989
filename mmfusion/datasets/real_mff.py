"""Real-MFF: A large realistic multi-focus image dataset with ground truth (J. Zhang et al., Pattern Recognition Letters
2020, arXiv 2003.12779),
https://github.com/Zancelot/Real-MFF.
"""

from mmfusion.registry import DATASETS

from .two_folders import TwoFolderDataset


@DATASETS.register_module()
class RealMFFDataset(TwoFolderDataset):
    """Multi-focus pairs in color, from a light field camera. The image with the far plane in focus (``imageB``) is the
    first source.

    Args:
        kwargs: See :class:`TwoFolderDataset`.
    """

    METAINFO = dict(classes=(), palette=[], modalities=('far', 'near'))
    FOLDERS = dict(first=('imageB',), second=('imageA',))
    SUFFIXES = ('_B', '_A')
    LAYOUT = """    RealMFF/
      imageA/001_A.png ...      near plane in focus
      imageB/001_B.png ...      far plane in focus"""
