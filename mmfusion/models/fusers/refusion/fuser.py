"""The ReFusion network."""

from typing import Optional, Union

import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.fusers.base import BaseFuser, FuserOutput
from mmfusion.models.layers import restormer_blocks
from mmfusion.models.layers.postprocess import stretch
from mmfusion.registry import MODELS

from .fusion import AttentionFusion


@MODELS.register_module()
class ReFusion(BaseFuser):
    """Channel-attention encoders of both sources, fusion by exchanged queries, channel-attention decoder.

    Convolutions have no bias; the output goes through a sigmoid and lies in (0, 1). Attention looks at the whole image,
    so the features of a crop differ slightly from those of the image.

    Args:
        channels: Width c of the encoders; the decoder has 2c.
        heads: Heads of all attentions; divides ``channels``.
        blocks: Blocks in each encoder and in the decoder.
        factor: Hidden width of the feed-forward networks over their width.
        stretch: In eval mode, stretch every fused image to the whole range [0, 1], as the published test code does. It
            hides how bright the network made the image, so it is off by default.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: ``heads`` does not divide ``channels``, or a number is too small.

    Examples:
        >>> import torch
        >>> fuser = ReFusion(channels=8, blocks=1).eval()
        >>> fuser(torch.rand(1, 1, 17, 30), torch.rand(1, 1, 17, 30)).fused.shape
        torch.Size([1, 1, 17, 30])
    """

    color_space = 'luminance'
    reach = None  # attention between channels, whose weights are sums over the image

    def __init__(
        self,
        channels: int = 16,
        heads: int = 8,
        blocks: int = 2,
        factor: float = 2.0,
        stretch: bool = False,
        init_cfg: Optional[Union[dict, list]] = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if blocks < 1:
            raise ValueError(f'blocks must be at least 1, got {blocks}')
        self.stretch = stretch
        self.reach_without_sums = (
            5 + 4 * blocks
        )  # two 3x3 convolutions in each block and in the fusion, three beside them
        self.stem_first = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.stem_second = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        options = dict(heads=heads, factor=factor)
        self.encoder_first = restormer_blocks(channels, blocks, **options)
        self.encoder_second = restormer_blocks(channels, blocks, **options)
        self.fusion = AttentionFusion(channels, heads)
        self.decoder = restormer_blocks(2 * channels, blocks, **options)
        self.reduce = nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False)
        self.output = nn.Conv2d(channels, 1, 3, padding=1, bias=False)

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Fuse two luminance batches; see :meth:`BaseFuser.forward`."""
        x = self.fusion(
            self.encoder_first(self.stem_first(first)), self.encoder_second(self.stem_second(second))
        )  # (N, 2c, H, W)
        x = F.leaky_relu(self.reduce(self.decoder(x)), 0.01)
        return FuserOutput(self.output(x).sigmoid().contiguous(), {})

    def finish(self, fused: Tensor) -> Tensor:
        """Stretch whole images, where that is asked for."""
        return stretch(fused) if self.stretch and not self.training else fused
