"""IFCNN: convolutions of each source, fused by the maximum, mean or sum, and two convolutions more.

Y. Zhang, Y. Liu, P. Sun, H. Yan, X. Zhao, L. Zhang, "IFCNN: a general image fusion framework based on convolutional
neural network", Inf. Fusion 54, 99 (2020). Written from a description of the method, without official code. Code and
weights of the authors (github.com/uzeful/IFCNN) have no license, so none are shipped; ``mmfusion convert ifcnn`` brings
the official weights over. Their first layer is that of torchvision's ResNet-101.
"""

from typing import List, Optional, Sequence, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.layers import ConvAct, ConvNorm, channels_last
from mmfusion.models.layers.color import COLOR_SPACES, LUMA
from mmfusion.models.layers.conv_act import fused_conv2d, fuses
from mmfusion.models.layers.open_sizes import of_both
from mmfusion.registry import MODELS

from .base import BaseFuser, FuserOutput

BORDER = 6  # pixels of the image that a feature at its border depends on, and one more
FUSIONS = ('max', 'mean', 'sum')


@MODELS.register_module()
class IFCNN(BaseFuser):
    """A shared encoder of RGB images, element-wise fusion of its features, a short decoder. Both sources may be
    exchanged.

    The output is not bounded. Infrared and visible images are fused as published: their luminances as three equal
    channels, and the luminance of the result. For sources that both have color there is ``color_space='rgb'``. The
    published program normalizes multi-focus images by ImageNet's mean and deviation before and back after; that is not
    done here.

    Args:
        width: Channels of all features, 64 as published.
        fusion: ``'max'``, ``'mean'`` or ``'sum'``; there are published weights for each, and those of ``'max'`` are for
            infrared and visible images.
        color_space: ``'luminance'`` or ``'rgb'``.
        postprocess: See :func:`~mmfusion.models.layers.postprocess`. The published program does
            ``('truncate', 'gray')``.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: ``width`` is below 1, or ``fusion`` or ``color_space`` is unknown.

    Examples:
        >>> IFCNN(width=4)(torch.rand(1, 1, 17, 30), torch.rand(1, 1, 17, 30)).fused.shape
        torch.Size([1, 1, 17, 30])
    """

    def __init__(
        self,
        width: int = 64,
        fusion: str = 'max',
        color_space: str = 'luminance',
        postprocess: Sequence[str] = (),
        init_cfg: Optional[Union[dict, list]] = None,
    ) -> None:
        super().__init__(postprocess=postprocess, init_cfg=init_cfg)
        if width < 1:
            raise ValueError(f'IFCNN: width must be at least 1, got {width}')
        if fusion not in FUSIONS:
            raise ValueError(f'IFCNN: fusion must be one of {FUSIONS}, got {fusion!r}')
        if color_space not in COLOR_SPACES:
            raise ValueError(f'IFCNN: color_space must be one of {COLOR_SPACES}, got {color_space!r}')
        self.fusion, self.color_space, self.channels = fusion, color_space, (1 if color_space == 'luminance' else 3,)
        self.reach = 5  # 7x7 and two of 3x3
        self.stem = nn.Conv2d(3, width, 7, padding=3, padding_mode='replicate', bias=False)
        self.encoder, self.decoder = (
            ConvAct(ConvNorm(width, width, padding_mode='replicate', bias=False), nn.ReLU(inplace=True))
            for _ in range(2)
        )
        self.picture = nn.Conv2d(width, 3, 1)

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Fuse two (N, 1 or 3, H, W) batches in [0, 1]."""
        ((x, y),) = of_both(self._features, first, second)
        return FuserOutput(self._picture(self.decoder(self._fuse(x, y))), {})

    def _features(self, image: Tensor) -> List[Tensor]:
        image = channels_last(image)
        return [self._encode_at_once(image) if fuses(image) and not self.training else self._encode(image)]

    def _fuse(self, first: Tensor, second: Tensor) -> Tensor:
        if self.fusion == 'max':
            return torch.maximum(first, second)
        return first + second if self.fusion == 'sum' else (first + second) / 2

    def _encode(self, image: Tensor) -> Tensor:
        x = F.pad(image, (3, 3, 3, 3), mode='replicate')
        return self.encoder(F.conv2d(channels_last(x), self._stem_weight()))

    def _stem_weight(self) -> Tensor:
        return (
            self.stem.weight if self.color_space == 'rgb' else self.stem.weight.sum(1, keepdim=True)
        )  # three equal channels

    def _encode_at_once(self, image: Tensor) -> Tensor:
        """The same in inference: nothing lies between the two convolutions, so they are one of 9x9, with an eighth of
        the multiplications.

        Only at the border they are not, since there the second one repeats what the first one made, not the image.
        """
        layer, activation = self.encoder
        weight, bias = layer.folded()
        # kernels are convolved with each other, where conv2d correlates
        weight = (
            F.conv2d(self._stem_weight().double().transpose(0, 1), weight.double().flip(2, 3), padding=2)
            .transpose(0, 1)
            .float()
        )
        x = fused_conv2d(channels_last(F.pad(image, (4, 4, 4, 4), mode='replicate')), weight, bias, activation)
        for axis in (2, 3):
            size = image.shape[axis]
            for place, start in ((0, 0), (size - 1, size - BORDER)):
                border = self._encode(image.narrow(axis, start, BORDER))
                x.select(axis, place).copy_(border.select(axis, place - start))
        return x

    def _picture(self, x: Tensor) -> Tensor:
        if self.color_space == 'rgb':
            return self.picture(x)
        luma = self.picture.weight.new_tensor(LUMA)
        weight, bias = (
            torch.einsum('c,cijk->ijk', luma, self.picture.weight)[None],
            (luma * self.picture.bias).sum().view(1),
        )
        return self.picture._conv_forward(x, weight, bias)
