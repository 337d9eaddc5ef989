"""MFI-WHU: MFF-GAN: An unsupervised generative adversarial network ... for multi-focus image fusion (H. Zhang et al.,
Information Fusion 2021),
https://github.com/HaoZhang1018/MFI-WHU.
"""

from mmfusion.registry import DATASETS

from .two_folders import TwoFolderDataset


@DATASETS.register_module()
class MFIWHUDataset(TwoFolderDataset):
    """Multi-focus pairs in color, with synthetic blur, of many sizes. The image with the far plane in focus
    (``source_2``) is the first source.

    Args:
        kwargs: See :class:`TwoFolderDataset`.
    """

    METAINFO = dict(classes=(), palette=[], modalities=('far', 'near'))
    FOLDERS = dict(first=('source_2',), second=('source_1',))
    LAYOUT = """    MFI-WHU/
      source_1/1.jpg ...      near plane in focus
      source_2/1.jpg ...      far plane in focus"""
