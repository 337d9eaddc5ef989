"""DenseFuse: a densely connected encoder of both sources, the mean of their features, a plain decoder.

H. Li, X.-J. Wu, "DenseFuse: a fusion approach to infrared and visible images", IEEE Trans. Image Process. 28(5), 2614
(2019), arXiv 1804.08361. Written from a description of the method, without official code. Code and weights of the
authors (github.com/hli1221/densefuse-pytorch) have no license, so none are shipped; ``mmfusion convert densefuse``
brings the official weights over.
"""

from typing import List, Optional, Sequence, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.layers import ConvAct, channels_last
from mmfusion.models.layers.open_sizes import of_both
from mmfusion.registry import MODELS

from .base import BaseFuser, FuserOutput


@MODELS.register_module()
class DenseFuse(BaseFuser):
    """Encoder with dense connections, shared by both sources; mean of the features; decoder.

    Every layer is a 3x3 convolution with reflected borders and a ReLU, the last one too, so the output is not negative.
    The published network works on values of 0..255; without normalization that is the same as values of 0..1 and
    smaller biases, which the converter takes care of. The published fusion is the mean; both sources may be exchanged.

    Args:
        in_channels: 1 fuses luminances, 3 fuses RGB images; there are published weights for either.
        width: Channels of each layer of the encoder, 16 as published; the decoder follows.
        postprocess: See :func:`~mmfusion.models.layers.postprocess`. The published program does
            ``('gray', 'truncate')`` with one channel and ``('truncate', )`` with three.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: ``in_channels`` is neither 1 nor 3, or ``width`` is below 1.

    Examples:
        >>> DenseFuse()(torch.rand(1, 1, 17, 30), torch.rand(1, 1, 17, 30)).fused.shape
        torch.Size([1, 1, 17, 30])
    """

    def __init__(
        self,
        in_channels: int = 1,
        width: int = 16,
        postprocess: Sequence[str] = (),
        init_cfg: Optional[Union[dict, list]] = None,
    ) -> None:
        super().__init__(postprocess=postprocess, init_cfg=init_cfg)
        if in_channels not in (1, 3):
            raise ValueError(f'DenseFuse: in_channels must be 1 (luminance) or 3 (RGB), got {in_channels}')
        if width < 1:
            raise ValueError(f'DenseFuse: width must be at least 1, got {width}')
        self.color_space, self.channels = 'luminance' if in_channels == 1 else 'rgb', (in_channels,)
        self.reach = 8  # 3x3 convolutions one after the other
        self.stem = _layer(in_channels, width)
        self.dense = nn.ModuleList(_layer(width * (i + 1), width) for i in range(3))
        self.decoder = nn.Sequential(
            _layer(4 * width, 4 * width),
            _layer(4 * width, 2 * width, padding=1),
            _layer(2 * width, width, padding=1),
            _layer(width, in_channels, padding=1),
        )
        last = self.decoder[-1][0]
        nn.init.normal_(
            last.weight, std=0.01
        )  # begins around gray: a negative value before the last ReLU would learn nothing
        nn.init.constant_(last.bias, 0.5)

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Fuse two (N, ``in_channels``, H, W) batches in [0, 1]."""
        x = torch.cat([torch.lerp(*pair, 0.5) for pair in of_both(self.encode, first, second)], dim=1)
        return FuserOutput(self.decoder(x), {})

    def encode(self, image: Tensor) -> List[Tensor]:
        """Features of images (N, ``in_channels``, H, W) with reflected borders: four times (N, ``width``, H + 2, W +
        2).

        New features get their border once, and keep it for all layers that read them and for the mean.
        """
        features = [_pad(self.stem(_pad(image)))]
        for layer in self.dense:
            features.append(_pad(layer.of_parts(features)))
        return features


def _layer(channels_in: int, channels_out: int, padding: int = 0) -> ConvAct:
    mode = 'reflect' if padding else 'zeros'
    return ConvAct(nn.Conv2d(channels_in, channels_out, 3, padding=padding, padding_mode=mode), nn.ReLU(inplace=True))


def _pad(x: Tensor) -> Tensor:
    return F.pad(channels_last(x), (1, 1, 1, 1), mode='reflect')
