"""Blocks that two fusers or more use: gating, color, gradients, similarity, Restormer block."""

from .channels_last import channels_last
from .color import ColorState, blend_chroma, restore_color, rgb_to_ycbcr, split_color, ycbcr_to_rgb
from .combine import log_combine
from .conv_act import ConvAct, conv_norm_act
from .conv_norm import ConvNorm
from .depthwise import depthwise_conv3x3
from .gating import GateOutput, NoisyTopKGate, balance_loss, cv_squared
from .gradients import sobel_magnitude, sobel_xy, stronger
from .grid_points import images_and_grid
from .local import map_local
from .postprocess import check_postprocess, postprocess
from .prelu import PReLU
from .pyramid import from_laplacian_pyramid, laplacian_pyramid
from .restormer import ChannelAttention, GatedFeedForward, PixelNorm, RestormerBlock, restormer_blocks
from .ssim import gaussian_means, ms_ssim, ssim_map, ssim_maps
from .strided_pointwise import avoid_strided_pointwise
from .strips import whole_images
from .summed_cell import SummedCell, total

__all__ = [
    'ChannelAttention',
    'ColorState',
    'ConvAct',
    'ConvNorm',
    'GateOutput',
    'GatedFeedForward',
    'NoisyTopKGate',
    'PReLU',
    'PixelNorm',
    'RestormerBlock',
    'SummedCell',
    'avoid_strided_pointwise',
    'balance_loss',
    'blend_chroma',
    'channels_last',
    'check_postprocess',
    'conv_norm_act',
    'cv_squared',
    'depthwise_conv3x3',
    'from_laplacian_pyramid',
    'images_and_grid',
    'gaussian_means',
    'laplacian_pyramid',
    'log_combine',
    'map_local',
    'ms_ssim',
    'postprocess',
    'restore_color',
    'restormer_blocks',
    'rgb_to_ycbcr',
    'sobel_magnitude',
    'sobel_xy',
    'split_color',
    'ssim_map',
    'ssim_maps',
    'stronger',
    'total',
    'whole_images',
    'ycbcr_to_rgb',
]
