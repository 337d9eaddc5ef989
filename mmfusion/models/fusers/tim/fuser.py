"""Stage 1 of TIM, a fuser by itself."""

from typing import Optional, Union

import torch
from torch import Tensor, nn

from mmfusion.models.fusers.base import BaseFuser, FuserOutput
from mmfusion.registry import MODELS
from mmfusion.utils.errors import InputError

from .cells import HEAD_REACH, STEM_REACH, Head, Stem, build_cell, cells_reach
from .genotype import GenotypeLike, load_genotype
from .operations import BatchNorm


@MODELS.register_module()
class TIM(BaseFuser):
    """Searched cells between two convolutions that make features of both sources and two that make an image of the
    features.

    The output is linear: training brings it to [0, 1], nothing clamps it. Channel attention and the merging of scales
    look at the whole image, so the features of a crop differ slightly from those of the image.

    Args:
        genotype: Name of a genotype of the package, path of a ``.json`` file, or its content: ``'fusion'`` (published,
            994 917 parameters), ``'fusion_light'`` (published for its latency, 127 358), or what a search found.
        width: Width of the features.
        bn_batch_stats: In eval mode, let batch norm use the statistics of each image, as the published program for
            SPECT does.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: The genotype cannot be read, or ``width`` is odd or below 2.

    Examples:
        >>> fuser = TIM('fusion_light', width=8).eval()
        >>> fuser(torch.rand(1, 1, 17, 30), torch.rand(1, 1, 17, 30)).fused.shape
        torch.Size([1, 1, 17, 30])
    """

    color_space = 'luminance'

    def __init__(
        self,
        genotype: GenotypeLike = 'fusion',
        width: int = 48,
        bn_batch_stats: bool = False,
        init_cfg: Optional[Union[dict, list]] = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_width(width)
        self.width = width
        self.genotype = load_genotype(genotype)
        self.stem = Stem(width)
        self.cells = nn.Sequential(*(build_cell(cell, width) for cell in self.genotype.cells))
        self.head = Head(width, width)
        if any(cell.kind == 'multiscale' for cell in self.genotype.cells):
            self.size_multiple = 4
        reach = None if bn_batch_stats else cells_reach(self.genotype.cells)
        self.reach = None if reach is None else STEM_REACH + reach + HEAD_REACH
        if bn_batch_stats:
            use_image_statistics(self)

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Fuse two luminance batches; see :meth:`BaseFuser.forward`."""
        return FuserOutput(self.head(self.cells(self.stem(torch.cat([first, second], dim=1)))).contiguous(), {})


def check_width(width: int) -> None:
    """Raise a ValueError unless the width is an even number from 2 on."""
    if not isinstance(width, int) or width < 2 or width % 2:
        raise InputError(f'width must be an even number from 2 on, got {width!r}')


def use_image_statistics(module: nn.Module) -> None:
    """Let every batch norm below a module use the statistics of each image in evaluation mode."""
    for part in module.modules():
        if isinstance(part, BatchNorm):
            part.image_statistics = True
