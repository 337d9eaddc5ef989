"""Blocks that two fusers or more use: gating, colour, gradients, similarity."""
from .color import ColorState, blend_chroma, restore_color, rgb_to_ycbcr, split_color, ycbcr_to_rgb
from .combine import log_combine
from .gating import GateOutput, NoisyTopKGate, balance_loss, cv_squared
from .gradients import sobel_magnitude, sobel_xy
from .ssim import ssim_map

__all__ = [
    'ColorState', 'GateOutput', 'NoisyTopKGate', 'balance_loss', 'blend_chroma', 'cv_squared', 'log_combine', 'restore_color', 'rgb_to_ycbcr',
    'sobel_magnitude', 'sobel_xy', 'split_color', 'ssim_map', 'ycbcr_to_rgb'
]
