"""Data sets of registered image pairs; one file per set."""
from . import transforms
from .base_pair_dataset import BasePairDataset, hash_ids
from .demo_pairs import DemoPairs
from .errors import PairDataError
from .llvip import LLVIPDataset
from .m3fd import M3FDDataset
from .msrs import MSRSDetDataset
from .pair_folder import PairFolderDataset
from .voc_pair_dataset import VOCPairDataset

__all__ = [
    'BasePairDataset', 'DemoPairs', 'LLVIPDataset', 'M3FDDataset', 'MSRSDetDataset', 'PairDataError', 'PairFolderDataset', 'VOCPairDataset',
    'hash_ids', 'transforms'
]
