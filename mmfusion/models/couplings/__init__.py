"""Couplings: how a fuser, its fusion loss and the task networks train together. One rule, one class, one file."""

from .base import BaseCoupling, Fusion
from .bilevel import BilevelCoupling
from .early_fusion import EarlyFusionCoupling
from .fusion_only import FusionOnly
from .joint import JointCoupling
from .meta import MetaCoupling
from .meta_init import MetaInitCoupling
from .search import SearchCoupling
from .task_network import TaskNetwork

__all__ = [
    'BaseCoupling',
    'BilevelCoupling',
    'EarlyFusionCoupling',
    'Fusion',
    'FusionOnly',
    'JointCoupling',
    'MetaCoupling',
    'MetaInitCoupling',
    'SearchCoupling',
    'TaskNetwork',
]
