"""SeAFusion: convolutions beside learned edge detectors for each source, a plain decoder.

L. Tang, J. Yuan, J. Ma, "Image fusion in the loop of high-level vision tasks: a semantic-aware real-time infrared and
visible image fusion network", Inf. Fusion 82, 28 (2022), doi 10.1016/j.inffus.2021.12.004. Written from a description
of the method, without official code. The code of the authors (github.com/Linfeng-Tang/SeAFusion) has no license; the
weights are distributed with a collection of the first author under the MIT license. None are shipped;
``mmfusion convert seafusion`` brings the official weights over.
"""

from typing import Optional, Sequence, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.layers import ConvAct, channels_last, depthwise_conv3x3
from mmfusion.models.layers.conv_act import fused_conv2d, fuses
from mmfusion.registry import MODELS

from .base import BaseFuser, FuserOutput


@MODELS.register_module()
class SeAFusion(BaseFuser):
    """Two gradient residual dense blocks for each source, without shared weights; five convolutions make the picture of
    both.

    The output lies in (0, 1). The edge detectors begin as Sobel operators and learn like all else. The published
    network was trained with a segmentation network in the loop, which :class:`JointCoupling` does.

    Args:
        width: Channels c of the first features, 16 as published; 3c of each source are fused.
        postprocess: See :func:`~mmfusion.models.layers.postprocess`. The published program does
            ``('stretch', 'truncate')``.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: ``width`` is below 1.

    Examples:
        >>> SeAFusion(width=4)(torch.rand(1, 1, 17, 30), torch.rand(1, 1, 17, 30)).fused.shape
        torch.Size([1, 1, 17, 30])
    """

    def __init__(
        self, width: int = 16, postprocess: Sequence[str] = (), init_cfg: Optional[Union[dict, list]] = None
    ) -> None:
        super().__init__(postprocess=postprocess, init_cfg=init_cfg)
        if width < 1:
            raise ValueError(f'SeAFusion: width must be at least 1, got {width}')
        self.reach = 9  # 3x3 convolutions one after the other
        self.visible, self.infrared = (
            nn.Sequential(
                _layer(1, width), GradientDenseBlock(width, 2 * width), GradientDenseBlock(2 * width, 3 * width)
            )
            for _ in range(2)
        )
        self.decoder = nn.Sequential(
            _layer(6 * width, 4 * width),
            _layer(4 * width, 2 * width),
            _layer(2 * width, width),
            nn.Conv2d(width, 1, 3, padding=1),
        )

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Fuse a visible and an infrared batch, (N, 1, H, W) each in [0, 1]."""
        x = torch.cat(
            [self.visible(channels_last(first)), self.infrared(channels_last(second))], dim=1
        )  # (N, 6 width, H, W)
        return FuserOutput(self.decoder(x).tanh() / 2 + 0.5, {})


class GradientDenseBlock(nn.Module):
    """Two densely connected convolutions, and the magnitude of learned gradients; both are projected and added.

    Args:
        channels_in: Channels C of the features.
        channels_out: Channels of the result.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.dense1, self.dense2 = _layer(channels_in, channels_in), _layer(2 * channels_in, channels_in)
        self.project = nn.Conv2d(3 * channels_in, channels_out, 1)
        sobel = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
        self.across, self.down = (nn.Parameter(kernel.repeat(channels_in, 1, 1, 1)) for kernel in (sobel, sobel.T))
        self.project_gradient = nn.Conv2d(channels_in, channels_out, 1)
        self.activation = nn.LeakyReLU(0.1, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, channels_out, H, W)."""
        dense = self.dense1(x)
        dense = [x, dense, self.dense2(torch.cat([x, dense], dim=1))]
        gradient = depthwise_conv3x3(x, self.across).abs() + depthwise_conv3x3(x, self.down).abs()
        # one convolution in the place of two and a sum
        weight = torch.cat([self.project.weight, self.project_gradient.weight], dim=1)
        bias = self.project.bias + self.project_gradient.bias
        x = torch.cat([*dense, gradient], dim=1)
        if fuses(x):
            return fused_conv2d(x, weight, bias, self.activation)
        return self.activation(F.conv2d(x, weight, bias))


def _layer(channels_in: int, channels_out: int) -> ConvAct:
    return ConvAct(nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.LeakyReLU(0.2, inplace=True))
