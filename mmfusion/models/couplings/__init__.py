"""Couplings: how a fuser, its fusion loss and the task networks train together. One rule, one class, one file."""
from .base import BaseCoupling, Fusion
from .fusion_only import FusionOnly
from .joint import JointCoupling
from .meta import MetaCoupling
from .task_network import TaskNetwork

__all__ = ['BaseCoupling', 'Fusion', 'FusionOnly', 'JointCoupling', 'MetaCoupling', 'TaskNetwork']
