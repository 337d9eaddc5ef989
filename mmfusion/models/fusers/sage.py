"""SAGE: the student network of a fusion that learned from a segmentation model, a small U-Net.

G. Wu, H. Liu, H. Fu, Y. Peng, J. Liu, X. Fan, R. Liu, "Every SAM drop counts: embracing semantic priors for
multi-modality image fusion and beyond", CVPR 2025. Written from a description of the method, without official code. The
code of the authors (github.com/RollingPlain/SAGE_IVIF), which comes with the weights, is under the MIT license (2025
Guanyao Wu); ``mmfusion convert sage`` brings the official weights over.
"""

from typing import Optional, Sequence, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.layers import ConvAct, ConvNorm, channels_last
from mmfusion.registry import MODELS

from .base import BaseFuser, FuserOutput


@MODELS.register_module()
class SAGE(BaseFuser):
    """A U-Net of three levels and constant width over the stacked sources, which ends in a hyperbolic tangent: the
    output lies in (-1, 1).

    The student alone; what its teacher saw of a segmentation model is not needed to fuse.

    Args:
        width: Channels of every layer, 32 as published.
        postprocess: See :func:`~mmfusion.models.layers.postprocess`. The published program does nothing of the kind.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: ``width`` is below 1.

    Examples:
        >>> SAGE(width=4).eval()(torch.rand(1, 1, 17, 30), torch.rand(1, 1, 17, 30)).fused.shape
        torch.Size([1, 1, 17, 30])
    """

    def __init__(
        self, width: int = 32, postprocess: Sequence[str] = (), init_cfg: Optional[Union[dict, list]] = None
    ) -> None:
        super().__init__(postprocess=postprocess, init_cfg=init_cfg)
        if width < 1:
            raise ValueError(f'SAGE: width must be at least 1, got {width}')
        self.reach, self.stride = (
            37,
            4,
        )  # nine convolutions at full, six at half, three at quarter size, and between them
        self.down = nn.ModuleList(_level(channels, width) for channels in (2, width, width))
        self.join = nn.ModuleList(_layer(2 * width, width, kernel=1) for _ in range(2))
        self.up = nn.ModuleList(_level(width, width) for _ in range(2))
        self.picture = nn.Conv2d(width, 1, 3, padding=1)

    def reach_at(self, height: int, width: int) -> Optional[int]:
        """Sides that are no multiple of 4 are enlarged by a ratio that depends on the whole of them."""
        return None if height % 4 or width % 4 else self.reach

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Fuse a visible and an infrared batch, (N, 1, H, W) each in [0, 1]."""
        skips = [self.down[0](channels_last(torch.cat([first, second], dim=1)))]
        for level in self.down[1:]:
            skips.append(level(F.max_pool2d(skips[-1], 2)))
        x = skips.pop()
        for join, level in zip(self.join, self.up):
            skip = skips.pop()
            x = F.interpolate(x, size=skip.shape[-2:], mode='bilinear', align_corners=False)
            x = level(join(torch.cat([x, skip], dim=1)))
        return FuserOutput(self.picture(x).tanh(), {})


def _layer(channels_in: int, channels_out: int, kernel: int = 3) -> nn.Sequential:
    return ConvAct(ConvNorm(channels_in, channels_out, kernel), nn.LeakyReLU(0.01, inplace=True))


def _level(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        _layer(channels_in, channels_out), _layer(channels_out, channels_out), _layer(channels_out, channels_out)
    )
