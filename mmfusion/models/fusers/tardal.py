"""TarDAL: the generator of a target-aware adversarial fusion, a densely connected network over the stacked sources.

J. Liu, X. Fan, Z. Huang, G. Wu, R. Liu, W. Zhong, Z. Luo, "Target-aware dual adversarial learning and a multi-scenario
multi-modality benchmark to fuse infrared and visible for object detection", CVPR 2022, 5802. Written from a description
of the method, without official code. The code of the authors (github.com/JinyuanLiu-CV/TarDAL) is under GPL-3.0; its
first version and the weights have no license, so none are shipped. ``mmfusion convert tardal`` brings the official
weights over.
"""

from typing import Optional, Sequence, Union

import torch
from torch import Tensor, nn

from mmfusion.models.layers import ConvAct, ConvNorm, channels_last
from mmfusion.registry import MODELS

from .base import BaseFuser, FuserOutput


@MODELS.register_module()
class TarDAL(BaseFuser):
    """Dense block over both sources, and four convolutions to the picture, which ends in a hyperbolic tangent: it lies
    in (-1, 1).

    The published weights are three: of TarDAL for people, TarDAL+ for detection, TarDAL++ for both. Those of TarDAL are
    published to run with the batch statistics of the picture that is fused, where TarDAL+ and TarDAL++ run with their
    running statistics; pictures differ visibly.

    Args:
        width: Channels c of the dense block, 32 as published.
        depth: Layers of the dense block, 3 as published; (depth + 1) c channels come out of it.
        batch_statistics: In eval mode, normalize every picture by its own mean and deviation, as the published program
            does with the weights of TarDAL.
        postprocess: See :func:`~mmfusion.models.layers.postprocess`. The published program does ``('truncate', )``,
            before the color is put back.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: ``width`` or ``depth`` is below 1.

    Examples:
        >>> TarDAL(width=4).eval()(torch.rand(1, 1, 17, 30), torch.rand(1, 1, 17, 30)).fused.shape
        torch.Size([1, 1, 17, 30])
    """

    def __init__(
        self,
        width: int = 32,
        depth: int = 3,
        batch_statistics: bool = False,
        postprocess: Sequence[str] = (),
        init_cfg: Optional[Union[dict, list]] = None,
    ) -> None:
        super().__init__(postprocess=postprocess, init_cfg=init_cfg)
        if width < 1 or depth < 1:
            raise ValueError(f'TarDAL: width and depth must be at least 1, got {width} and {depth}')

        self.reach = None if batch_statistics else 5 + depth  # 3x3 convolutions one after the other

        def layer(channels_in: int, channels_out: int) -> nn.Sequential:
            return ConvAct(ConvNorm(channels_in, channels_out, per_image=batch_statistics), nn.ReLU(inplace=True))

        self.stem = layer(2, width)
        self.dense = nn.ModuleList(layer(width * (i + 1), width) for i in range(depth))
        wide = width * (depth + 1)
        self.decoder = nn.Sequential(
            ConvAct(nn.Conv2d(wide, wide, 3, padding=1), nn.ReLU(inplace=True)),
            layer(wide, 2 * width),
            layer(2 * width, width),
            nn.Conv2d(width, 1, 3, padding=1),
        )

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Fuse a visible and an infrared batch, (N, 1, H, W) each in [0, 1]."""
        x = self.stem(channels_last(torch.cat([second, first], dim=1)))
        for layer in self.dense:
            x = torch.cat([x, layer(x)], dim=1)
        return FuserOutput(self.decoder(x).tanh(), {})
