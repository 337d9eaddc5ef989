"""LLVIP: A Visible-infrared Paired Dataset for Low-light Vision (Jia et al., ICCVW 2021),
https://github.com/bupt-ai-cz/LLVIP.
"""

from mmfusion.registry import DATASETS

from .voc_pair_dataset import VOCPairDataset


@DATASETS.register_module()
class LLVIPDataset(VOCPairDataset):
    """LLVIP with its official layout and split: pedestrians at night, 12025 pairs for training and 3463 for test,
    1280x1024.

    Args:
        split: ``'train'`` or ``'test'``.
        kwargs: See :class:`BasePairDataset`. ``data_prefix`` keys: ``first``, ``second``, ``ann``.
    """

    METAINFO = dict(classes=('person',), palette=[(220, 20, 60)], modalities=('visible', 'infrared'))
    FOLDERS = dict(first=('visible/{split}',), second=('infrared/{split}',), ann=('Annotations', 'Annotation'))
    LAYOUT = """    LLVIP/
      visible/{train,test}/010001.jpg ...
      infrared/{train,test}/010001.jpg ...
      Annotations/010001.xml ..."""
