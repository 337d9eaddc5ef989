"""Fusers: networks from two source images to one fused image."""

from .base import BaseFuser, FuserOutput
from .baselines import AverageFuser, FalseColorFuser, LaplacianPyramidFuser, MaximumFuser, SourceFuser
from .densefuse import DenseFuse
from .didfuse import DIDFuse
from .gifnet import GIFNet
from .ifcnn import IFCNN
from .lesefuse import LeSeFuse
from .lrrnet import LRRNet
from .moe_fusion import MoEFusion
from .plain_conv import PlainConvFuser
from .refusion import ReFusion
from .sage import SAGE
from .seafusion import SeAFusion
from .smoa import SMoA
from .tardal import TarDAL
from .tc_moa import TCMoA
from .tim import TIM, SearchableTIM, TwoStageTIM

__all__ = [
    'AverageFuser',
    'BaseFuser',
    'DIDFuse',
    'DenseFuse',
    'FalseColorFuser',
    'FuserOutput',
    'GIFNet',
    'LRRNet',
    'IFCNN',
    'LaplacianPyramidFuser',
    'LeSeFuse',
    'MaximumFuser',
    'MoEFusion',
    'PlainConvFuser',
    'ReFusion',
    'SAGE',
    'SeAFusion',
    'SMoA',
    'SearchableTIM',
    'SourceFuser',
    'TarDAL',
    'TCMoA',
    'TIM',
    'TwoStageTIM',
]
