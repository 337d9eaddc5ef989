"""DIDFuse: background and detail of both sources, added and decoded.

Z. Zhao, S. Xu, C. Zhang, J. Liu, P. Li, J. Zhang, "DIDFuse: deep image decomposition for infrared and visible image
fusion", IJCAI 2020, 970-976, arXiv 2003.09210. Written from a description of the method, without official code;
github.com/Zhaozixiang1228/IVIF-DIDFuse states no license for code and weights, so none are shipped.
``mmfusion convert didfuse`` brings the official weights over.
"""

from typing import List, Optional, Sequence, Union

import torch
from torch import Tensor, nn

from mmfusion.models.layers import ConvAct, ConvNorm, channels_last, map_local
from mmfusion.models.layers.single_channel import conv_to_one_channel
from mmfusion.registry import MODELS

from .base import BaseFuser, FuserOutput

REACH = 6  # rows: six 3x3 convolutions one after the other


@MODELS.register_module()
class DIDFuse(BaseFuser):
    """One encoder for both sources makes features, a background and a detail; each kind is added over the sources, and
    decoded to a picture.

    The output goes through a sigmoid. Both sources may be exchanged. In training, batch norm takes the statistics of
    each source by itself.

    Args:
        width: Channels.
        postprocess: See :func:`~mmfusion.models.layers.postprocess`. The published program stores gray pictures:
            ``('gray', )``.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: ``width`` is below 1.

    Examples:
        >>> fuser = DIDFuse(width=8).eval()
        >>> fuser(torch.rand(1, 1, 17, 30), torch.rand(1, 1, 17, 30)).fused.shape
        torch.Size([1, 1, 17, 30])
    """

    color_space = 'luminance'
    reach = REACH

    def __init__(
        self, width: int = 64, postprocess: Sequence[str] = (), init_cfg: Optional[Union[dict, list]] = None
    ) -> None:
        super().__init__(postprocess=postprocess, init_cfg=init_cfg)
        if width < 1:
            raise ValueError(f'DIDFuse: width must be at least 1, got {width}')
        self.width = width
        self.stem, self.features = _layer(1, width, 'reflect'), _layer(width, width)
        self.parts = ConvNorm(width, 2 * width)  # background and detail
        self.join_parts, self.join_features = _layer(2 * width, width), _layer(2 * width, width)
        self.picture = ConvNorm(2 * width, 1, padding_mode='reflect')

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Fuse two luminance batches; see :meth:`BaseFuser.forward`."""
        if self.training:
            return FuserOutput(self._fuse(first, second), {})
        return FuserOutput(map_local(self._fuse, first, second, reach=REACH, width=2 * self.width), {})

    def encode(self, image: Tensor) -> List[Tensor]:
        """Two levels of features (N, width, H, W), and background and detail, (N, 2 width, H, W)."""
        shallow = self.stem(channels_last(image))
        deep = self.features(shallow)
        return [shallow, deep, self.parts(deep).tanh()]

    def _fuse(self, first: Tensor, second: Tensor) -> Tensor:
        shallow, deep, parts = (a + b for a, b in zip(self.encode(first), self.encode(second)))
        x = self.join_features(torch.cat([self.join_parts(parts), deep], dim=1))
        if self.picture.is_affine:
            return conv_to_one_channel([x, shallow], *self.picture.folded()).sigmoid()
        return self.picture(torch.cat([x, shallow], dim=1)).sigmoid()


def _layer(channels_in: int, channels_out: int, padding_mode: str = 'zeros') -> ConvAct:
    return ConvAct(ConvNorm(channels_in, channels_out, padding_mode=padding_mode), nn.PReLU())
