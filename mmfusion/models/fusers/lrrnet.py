"""LRRNet: unrolled sparse coding of both sources, whose low-rank and sparse parts are fused by convolutions.

H. Li, T. Xu, X.-J. Wu, J. Lu, J. Kittler, "LRRNet: a novel representation learning guided fusion framework for infrared
and visible images", IEEE TPAMI 45(9), 11040-11052, 2023, doi 10.1109/TPAMI.2023.3268209, arXiv 2304.05172. Written from
a description of the method, without official code; github.com/hli1221/imagefusion-LRRNet states no license for code and
weights, so none are shipped. ``mmfusion convert lrrnet`` brings the official weights over.
"""

from typing import List, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmfusion.models.layers.postprocess import stretch
from mmfusion.models.layers.single_channel import add_shifted
from mmfusion.models.layers.strips import must_stay_whole
from mmfusion.registry import MODELS
from mmfusion.utils.compat import exporting, scan

from .base import BaseFuser, FuserOutput

PIXELS = 512  # of a block, whose features then stay in the cache of a core: measured


@MODELS.register_module()
class LRRNet(BaseFuser):
    """Low-rank and sparse features of each source by learned sparse coding; both kinds are fused by one convolution
    each, and added.

    The output is linear and nothing bounds it. With the official weights it is nearly black (about 0.01 to 0.3) unless
    it is stretched.

    Args:
        width: Channels of the low-rank part, and of the sparse part.
        blocks: Steps of the sparse coding after the first one.
        stretch_sources: Stretch each source from its minimum and maximum to [0, 1] first, as the published test code
            does.
        stretch: In eval mode, stretch every fused luminance to the whole range [0, 1], as the published test code does.
            The step of that name in ``postprocess`` comes too late for color pictures: with their chroma, luminances
            near zero leave [0, 1] and are cut.
        postprocess: See :func:`~mmfusion.models.layers.postprocess`. The published program does
            ``('gray', 'truncate')`` after its stretch.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: ``width`` or ``blocks`` is below 1.

    Examples:
        >>> fuser = LRRNet(width=8).eval()
        >>> fuser(torch.rand(1, 1, 17, 30), torch.rand(1, 1, 17, 30)).fused.shape
        torch.Size([1, 1, 17, 30])
    """

    color_space = 'luminance'

    def __init__(
        self,
        width: int = 128,
        blocks: int = 4,
        stretch_sources: bool = False,
        stretch: bool = False,
        postprocess: Sequence[str] = (),
        init_cfg: Optional[Union[dict, list]] = None,
    ) -> None:
        super().__init__(postprocess=postprocess, init_cfg=init_cfg)
        if width < 1 or blocks < 1:
            raise ValueError(f'LRRNet: width and blocks must be at least 1, got {width} and {blocks}')
        self.stretch_sources, self.stretch = stretch_sources, stretch
        self.reach = 2 * blocks + 3  # a step writes features and reads a picture, 3x3 each; one convolution fuses
        self.visible, self.infrared = SparseCoding(width, blocks), SparseCoding(width, blocks)
        self.low_rank, self.sparse = _conv(2, 1), _conv(2, 1)

    def prepare(self, first: Tensor, second: Tensor) -> Tuple[Tensor, Tensor]:
        """Stretch whole sources, where that is asked for."""
        return (stretch(first), stretch(second)) if self.stretch_sources else (first, second)

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Fuse a visible and an infrared batch; see :meth:`BaseFuser.forward`."""
        parts = zip(self.infrared(second), self.visible(first))  # low-rank ones, then sparse ones, each (N, 1, H, W)
        low_rank, sparse = (torch.cat(pair, dim=1) for pair in parts)
        return FuserOutput(self.low_rank(low_rank) + self.sparse(sparse), {})

    def finish(self, fused: Tensor) -> Tensor:
        """Stretch whole images, where that is asked for."""
        return stretch(fused) if self.stretch and not self.training else fused


class SparseCoding(BaseModule):
    r"""Sparse coding of an image by a fixed number of learned steps, and pictures of its two halves.

    .. math:: Z_0 = S(W_0 * I), \quad Z_{k+1} = S(\ell Z_k + A_k * (I - B_k * Z_k)), \quad S(r) = \mathrm{sign}(r)
        \max(|r| - \lambda, 0)

    Some published thresholds are negative; there S adds their magnitude. Convolutions reflect the image at its borders.
    A 3x3 convolution from one channel is a matrix product with the neighborhoods of the pixels; one to a single channel
    is nine sums over the channels of a pixel, shifted and added afterwards. So all that is wide is local to a pixel,
    and can be computed in blocks that stay in the cache.

    Args:
        width: Channels of each half.
        blocks: Steps k.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.full((2 * width,), 0.01))
        self.scale = nn.Parameter(torch.ones(1))
        self.start = _conv(1, 2 * width)
        self.reconstruct = nn.ModuleList(_conv(2 * width, 1) for _ in range(blocks))
        self.correct = nn.ModuleList(_conv(1, 2 * width) for _ in range(blocks))
        self.picture_low_rank, self.picture_sparse = _conv(width, 1), _conv(width, 1)

    def forward(self, image: Tensor) -> Tuple[Tensor, Tensor]:
        """(N, 1, H, W) to pictures of the low-rank and of the sparse part, each (N, 1, H, W)."""
        step = self._step_in_blocks if self._in_blocks(image) else self._step_in_scan if exporting() else self._step
        readers = [[layer] for layer in self.reconstruct] + [[self.picture_low_rank, self.picture_sparse]]
        codes, maps = None, None  # (N, HW, 2 width), (N, HW, 9 pictures)
        residual = image
        for writer, reader in zip([self.start, *self.correct], readers):
            codes, maps = step(codes, _neighborhoods(residual), _writing_matrix(writer), _reading_matrix(reader))
            parts = maps.transpose(1, 2).unflatten(2, image.shape[-2:]).split(9, dim=1)  # (N, 9, H, W) each
            pictures = [add_shifted(part) + layer.bias for part, layer in zip(parts, reader)]
            residual = image - pictures[0]
        return tuple(pictures)

    def _step(self, codes: Optional[Tensor], around: Tensor, write: Tensor, read: Tensor) -> Tuple[Tensor, Tensor]:
        """New codes and their sums for the pictures, of codes (N, HW, C), neighborhoods (N, HW, 10) and matrices
        (10, C) and (C, 9 pictures).
        """
        codes = self._new_codes(codes, around, write)
        return codes, codes @ read

    def _new_codes(self, codes: Optional[Tensor], around: Tensor, write: Tensor) -> Tensor:
        raw = around @ write if codes is None else self.scale * codes + around @ write
        return raw.sign() * F.relu(raw.abs() - self.threshold)

    def _step_in_scan(
        self, codes: Optional[Tensor], around: Tensor, write: Tensor, read: Tensor
    ) -> Tuple[Tensor, Tensor]:
        """The same in a form that a graph can record, as a loop over blocks of the pixels of all images; codes are
        (blocks, PIXELS, C).
        """
        number, pixels, _ = around.shape
        flat = around.flatten(0, 1)
        missing = -flat.shape[0] % PIXELS
        flat = torch.cat([flat, flat.new_zeros(missing, flat.shape[1])])
        inputs = [flat.unflatten(0, (-1, PIXELS))] if codes is None else [flat.unflatten(0, (-1, PIXELS)), codes]

        def block(carry: Tensor, parts: List[Tensor]) -> Tuple[Tensor, Tuple[Tensor, Tensor]]:
            new = self._new_codes(parts[1] if len(parts) > 1 else None, parts[0], write)
            return carry.clone(), (new, new @ read)

        _, (codes, maps) = scan(block, flat.new_zeros(1), inputs)
        return codes, maps.flatten(0, 1)[: number * pixels].unflatten(0, (number, pixels))

    def _step_in_blocks(
        self, codes: Optional[Tensor], around: Tensor, write: Tensor, read: Tensor
    ) -> Tuple[Tensor, Tensor]:
        """The same, block by block, in place of the old codes."""
        first, scale = codes is None, self.scale.item()
        if first:
            codes = around.new_empty(*around.shape[:2], write.shape[1])
        maps = around.new_empty(*around.shape[:2], read.shape[1])
        signs = around.new_empty(PIXELS, write.shape[1])
        for n in range(len(codes)):
            for block, near, out in zip(codes[n].split(PIXELS), around[n].split(PIXELS), maps[n].split(PIXELS)):
                if first:
                    torch.mm(near, write, out=block)
                else:
                    block.addmm_(near, write, beta=scale)
                sign = torch.sign(block, out=signs[: len(block)])
                block.abs_().sub_(self.threshold).clamp_min_(0).mul_(sign)
                torch.mm(block, read, out=out)
        return codes, maps

    @staticmethod
    def _in_blocks(image: Tensor) -> bool:
        return image.device.type == 'cpu' and not torch.is_grad_enabled() and not must_stay_whole()


def _conv(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, padding_mode='reflect')


def _neighborhoods(image: Tensor) -> Tensor:
    """The 3x3 neighborhood of each pixel and a 1, (N, HW, 10), of an image (N, 1, H, W)."""
    around = F.unfold(F.pad(image, (1, 1, 1, 1), mode='reflect'), 3)
    return torch.cat([around, torch.ones_like(around[:, :1])], dim=1).transpose(1, 2)


def _writing_matrix(layer: nn.Conv2d) -> Tensor:
    """Weights and bias of a convolution from one channel, (10, C), for :func:`_neighborhoods`."""
    return torch.cat([layer.weight.flatten(1), layer.bias[:, None]], dim=1).t()


def _reading_matrix(layers: Sequence[nn.Conv2d]) -> Tensor:
    """Weights of convolutions to one channel, each of its own share of the channels, (C, 9 layers), for
    :func:`add_shifted`.
    """
    return torch.block_diag(*(layer.weight[0].flatten(1) for layer in layers))
