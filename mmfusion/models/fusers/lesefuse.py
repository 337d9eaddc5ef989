"""LeSeFuse: a small network of searched operations, one cell for each source and one for both.

J. Liu, Y. Wu, G. Wu, R. Liu, X. Fan, "Learn to search a lightweight architecture for target-aware infrared and visible
image fusion", IEEE Signal Processing Letters, 2022, doi 10.1109/LSP.2022.3180672. Written from a description of the
method, without official code; github.com/JinyuanLiu-CV/LeSeFuse states no license for code and weights, so none are
shipped. ``mmfusion convert lesefuse`` brings the official weights over.
"""

import re
from typing import Dict, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from mmfusion.models.layers import ConvAct, ConvNorm, SummedCell, channels_last, map_local
from mmfusion.models.layers.conv_act import conv_norm_act
from mmfusion.models.layers.summed_cell import Step, total
from mmfusion.registry import MODELS

from .base import BaseFuser, FuserOutput

#: What the published program computes; its stored genotype names the inputs one place too early.
CELLS: Dict[str, Tuple[Step, ...]] = dict(
    infrared=(
        (('conv_1', 0),),
        (('conv_3', 0), ('conv_1', 1)),
        (('resdil_5', 0), ('res_3', 1)),
        (('conv_1', 2), ('conv_1', 1)),
    ),
    visible=(
        (('conv_5', 0),),
        (('res_1', 0), ('res_3', 0)),
        (('conv_1', 1), ('res_1', 2)),
        (('res_1', 0), ('dil_5', 1)),
    ),
    fusion=(
        (('conv_3', 0),),
        (('conv_1', 0), ('res_1', 0)),
        (('res_5', 1), ('res_1', 2)),
        (('conv_3', 0), ('resdil_3', 2)),
    ),
)
REACH = 9  # rows: 6 in the visible cell, 3 in the last one


@MODELS.register_module()
class LeSeFuse(BaseFuser):
    """A cell of searched convolutions for each source, one for both, and a pointwise convolution.

    The output is linear: training brings it to [0, 1], nothing clamps it.

    Args:
        width: Channels of a state in the cells of the sources; half as many in the last cell.
        postprocess: See :func:`~mmfusion.models.layers.postprocess`. The published program does
            ``('gray', 'truncate')`` and stores JPEG.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: ``width`` is odd or below 2.

    Examples:
        >>> fuser = LeSeFuse().eval()
        >>> fuser(torch.rand(1, 1, 17, 30), torch.rand(1, 1, 17, 30)).fused.shape
        torch.Size([1, 1, 17, 30])
    """

    color_space = 'luminance'
    reach = REACH

    def __init__(
        self, width: int = 16, postprocess: Sequence[str] = (), init_cfg: Optional[Union[dict, list]] = None
    ) -> None:
        super().__init__(postprocess=postprocess, init_cfg=init_cfg)
        if width < 2 or width % 2:
            raise ValueError(f'LeSeFuse: width must be an even number from 2 on, got {width}')
        self.width = width
        self.infrared, self.visible = (
            SummedCell((1,), width, CELLS[name], build_operation) for name in ('infrared', 'visible')
        )
        self.fusion = SummedCell((8 * width,), width // 2, CELLS['fusion'], build_operation)
        self.picture = nn.Conv2d(2 * width, 1, 1)

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Fuse a visible and an infrared batch; see :meth:`BaseFuser.forward`."""
        if self.training:
            return FuserOutput(self._fuse(first, second), {})
        return FuserOutput(map_local(self._fuse, first, second, reach=REACH, width=8 * self.width), {})

    def _fuse(self, visible: Tensor, infrared: Tensor) -> Tensor:
        features = [*self.infrared([channels_last(infrared)]), *self.visible([channels_last(visible)])]
        return self.picture(torch.cat(self.fusion(features), dim=1))


class Plain(ConvAct):
    """Convolution with reflected borders, batch norm, ReLU."""

    def __init__(self, channels: int, kernel: int, dilation: int = 1) -> None:
        super().__init__(ConvNorm(channels, channels, kernel, dilation, 'reflect'), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Pointwise convolution, and what :class:`Plain` adds to it."""

    def __init__(self, channels: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.plain = Plain(channels, kernel, dilation)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        x = conv_norm_act(x, self.pointwise)
        return total([self.plain(x), x])


def build_operation(name: str, channels: int) -> nn.Module:
    """Operation of a name such as ``'resdil_5'``: ``conv``, ``res``, or with dilation 2 ``dil`` and ``resdil``, and the
    size of the kernel.
    """
    kind, kernel = re.fullmatch(r'(conv|dil|res|resdil)_(\d)', name).groups()
    return (Residual if kind.startswith('res') else Plain)(channels, int(kernel), 2 if kind.endswith('dil') else 1)
