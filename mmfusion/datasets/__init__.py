"""Data sets of registered image pairs; one file per set."""

from mmfusion.fileio.errors import PairDataError

from . import samplers, transforms
from .base_pair_dataset import BasePairDataset, hash_ids
from .coco_pair_dataset import CocoPairDataset
from .demo.pairs import DemoPairs
from .demo.sequence import DemoSequence
from .demo.task_pairs import DemoExposurePairs, DemoFocusPairs
from .fmb import FMBDataset
from .fusion_tasks import FusionTasksDataset
from .harvard import HarvardDataset
from .llvip import LLVIPDataset
from .lytro import LytroDataset
from .m3fd import M3FDDataset
from .mefb import MEFBDataset
from .mfi_whu import MFIWHUDataset
from .mfifb import MFIFBDataset
from .mfnet import MFNetDataset
from .msrs import MSRSDetDataset, MSRSSegDataset
from .pair_folder import PairFolderDataset
from .real_mff import RealMFFDataset
from .scie import SCIEDataset
from .seg_pair_dataset import SegPairDataset
from .voc_pair_dataset import VOCPairDataset

__all__ = [
    'BasePairDataset',
    'CocoPairDataset',
    'DemoExposurePairs',
    'DemoFocusPairs',
    'DemoPairs',
    'DemoSequence',
    'FMBDataset',
    'FusionTasksDataset',
    'HarvardDataset',
    'LLVIPDataset',
    'LytroDataset',
    'M3FDDataset',
    'MEFBDataset',
    'MFIFBDataset',
    'MFIWHUDataset',
    'MFNetDataset',
    'MSRSDetDataset',
    'MSRSSegDataset',
    'PairDataError',
    'PairFolderDataset',
    'RealMFFDataset',
    'SCIEDataset',
    'SegPairDataset',
    'VOCPairDataset',
    'hash_ids',
    'samplers',
    'transforms',
]
