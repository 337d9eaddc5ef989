"""SICE: Learning a Deep Single Image Contrast Enhancer from Multi-Exposure Images (J. Cai, S. Gu and L. Zhang, IEEE TIP
2018),
https://github.com/csjcai/SICE; in the arrangement of two exposures per scene that fusion methods train on and call
SCIE.
"""

from mmfusion.registry import DATASETS

from .two_folders import TwoFolderDataset


@DATASETS.register_module()
class SCIEDataset(TwoFolderDataset):
    """Multi-exposure pairs in color, of many sizes. The overexposed image (``oe``) is the first source.

    Args:
        kwargs: See :class:`TwoFolderDataset`.
    """

    METAINFO = dict(classes=(), palette=[], modalities=('over', 'under'))
    FOLDERS = dict(first=('oe', 'over'), second=('ue', 'under'))
    LAYOUT = """    SCIE/
      oe/NAME.jpg ...      overexposed
      ue/NAME.jpg ...      underexposed"""
