"""TIM with its second stage."""

from typing import Dict, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from mmfusion.models.fusers.base import BaseFuser, FuserOutput
from mmfusion.models.layers.conv_act import fuses
from mmfusion.registry import MODELS

from .cells import HEAD_REACH, STEM_REACH, Head, Stem, build_cell, cells_reach
from .fuser import TIM, check_width, use_image_statistics
from .genotype import GenotypeLike, load_genotype
from .operations import conv


class Branch(nn.Module):
    """One source of stage 2 beside the image of stage 1.

    Args:
        genotype: Its cells.
        width: Width of the features.
    """

    def __init__(self, genotype: GenotypeLike, width: int) -> None:
        super().__init__()
        self.genotype = load_genotype(genotype)
        if any(cell.kind != 'chain' for cell in self.genotype.cells):
            raise ValueError(f'genotype {self.genotype.name}: the cells of a branch must be chains')
        self.stem = Stem(width, norm=True)
        self.cells = nn.Sequential(*(build_cell(cell, width) for cell in self.genotype.cells))
        self.auxiliary = Head(width, width)

    def forward(self, source: Tensor, initial: Tensor) -> Tensor:
        """Source and image of stage 1, each (N, 1, H, W), to features (N, C, H, W)."""
        return self.cells(self.stem(torch.cat([source, initial], dim=1)))

    def image(self, features: Tensor) -> Tensor:
        """Auxiliary image (N, 1, H, W) in (-1, 1) of the features."""
        return self.auxiliary(features).tanh()


class MaskMerge(nn.Module):
    """Weigh the features of two branches against each other, pixel by pixel, and make an image of them.

    The mask comes from the first branch and weighs it. Its convolution sees the maximum over the channels twice, as
    published.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = conv(3, 1)
        self.head = Head(width, width, linear=True)

    def mix(self, first: Tensor, second: Tensor) -> Tensor:
        """Features of both branches (N, C, H, W) to weighted ones."""
        peak = first.amax(1, keepdim=True)
        mask = self.score(torch.cat([peak, peak, first.mean(1, keepdim=True)], dim=1)).sigmoid()
        if fuses(first):
            return second.lerp(first, mask)
        return mask * first + (1 - mask) * second

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Features of both branches (N, C, H, W) to an image (N, 1, H, W), unbounded."""
        return self.head(self.mix(first, second))


class ConcatMerge(nn.Module):
    """Put the features of two branches side by side and make an image of them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = Head(2 * width, width, linear=True)

    def mix(self, first: Tensor, second: Tensor) -> Tensor:
        """Features of both branches (N, C, H, W) to (N, 2C, H, W)."""
        return torch.cat([first, second], dim=1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Features of both branches (N, C, H, W) to an image (N, 1, H, W) in (-1, 1)."""
        return self.head(self.mix(first, second)).tanh()


MERGES = dict(mask=MaskMerge, concat=ConcatMerge)


@MODELS.register_module()
class TwoStageTIM(BaseFuser):
    """TIM with both stages: a first fused image, then one branch per source that sees this source and that image.

    Each branch has an auxiliary head that makes an image of its features alone. Nothing of it reaches the fused image,
    so it is computed only in training, where ``loss_auxiliary_<modality>`` asks it for the source of its branch. This
    term is ours: the published training is not known.

    Args:
        branches: Genotype of each branch by the name of its modality, the first source's first. Genotypes as in
            :class:`TIM`; chains only.
        stage1: Genotype of stage 1.
        merge: ``'mask'`` (published for infrared-visible: a mask weighs the branches, linear output) or ``'concat'``
            (published for medical images: output in (-1, 1)).
        width: Width of all features.
        auxiliary_weight: Weight of the auxiliary terms; with 0 the auxiliary heads do not learn.
        bn_batch_stats: Stages, out of 1 and 2, whose batch norms use the statistics of each image in eval mode. The
            published programs do so with ``(2, )`` for infrared-visible and ``(1, 2)`` for SPECT.
        freeze_stage1: Keep stage 1 in eval mode and without gradient, to train stage 2 on a trained stage 1.
        stage1_init_cfg: mmengine initialization config of stage 1, such as
            ``dict(type='Pretrained', checkpoint='stage1.pth', prefix='fuser.')``.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: There are not two branches, a genotype cannot be read or does not suit, an option is unknown, or the
            weight is negative.

    Examples:
        >>> fuser = TwoStageTIM(stage1='fusion_light', width=8).eval()
        >>> fuser(torch.rand(1, 1, 17, 30), torch.rand(1, 1, 17, 30)).fused.shape
        torch.Size([1, 1, 17, 30])
    """

    color_space = 'luminance'

    def __init__(
        self,
        branches: Optional[Dict[str, GenotypeLike]] = None,
        stage1: GenotypeLike = 'fusion',
        merge: str = 'mask',
        width: int = 48,
        auxiliary_weight: float = 0.1,
        bn_batch_stats: Sequence[int] = (),
        freeze_stage1: bool = False,
        stage1_init_cfg: Optional[dict] = None,
        init_cfg: Optional[Union[dict, list]] = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        branches = dict(visible='ivif_visible', infrared='ivif_infrared') if branches is None else branches
        if len(branches) != 2:
            raise ValueError(f'TwoStageTIM needs a genotype for each of two modalities, got {list(branches)}')
        if merge not in MERGES:
            raise ValueError(f'merge must be one of {", ".join(MERGES)}, got {merge!r}')
        if isinstance(bn_batch_stats, int) or set(bn_batch_stats) - {1, 2}:
            raise ValueError(f'bn_batch_stats lists stages out of 1 and 2, such as (2, ), got {bn_batch_stats!r}')
        if auxiliary_weight < 0:
            raise ValueError(f'auxiliary_weight must be at least 0, got {auxiliary_weight}')
        check_width(width)
        self.auxiliary_weight, self.freeze_stage1 = auxiliary_weight, freeze_stage1
        self.stage1 = TIM(stage1, width, bn_batch_stats=1 in bn_batch_stats, init_cfg=stage1_init_cfg)
        self.size_multiple = self.stage1.size_multiple
        reaches = [self.stage1.reach, *(cells_reach(load_genotype(genotype).cells) for genotype in branches.values())]
        if None in reaches or 2 in bn_batch_stats:
            self.reach = None
        else:
            self.reach = reaches[0] + STEM_REACH + max(reaches[1:]) + HEAD_REACH
        self.branches = nn.ModuleDict({name: Branch(genotype, width) for name, genotype in branches.items()})
        self.merge = MERGES[merge](width)
        if 2 in bn_batch_stats:
            use_image_statistics(self.branches)
        if freeze_stage1:
            self.stage1.requires_grad_(False)

    @property
    def modalities(self) -> Tuple[str, ...]:
        """Names of the branches, the first source's first."""
        return tuple(self.branches)

    def train(self, mode: bool = True) -> 'TwoStageTIM':
        """Set training mode, of stage 2 alone when stage 1 is frozen."""
        super().train(mode)
        if self.freeze_stage1:
            self.stage1.eval()
        return self

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Fuse two luminance batches; see :meth:`BaseFuser.forward`."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_stage1):
            initial = self.stage1.fuse(first, second).fused
        features = [branch(source, initial) for branch, source in zip(self.branches.values(), (first, second))]
        losses = {}
        if self.training and self.auxiliary_weight:
            for (name, branch), feature, source in zip(self.branches.items(), features, (first, second)):
                losses[f'loss_auxiliary_{name}'] = self.auxiliary_weight * (branch.image(feature) - source).abs().mean()
        return FuserOutput(self.merge(*features).contiguous(), losses)

    def images(self, first: Tensor, second: Tensor) -> Dict[str, Tensor]:
        """Everything that the networks make of two checked luminance batches of suitable size, for a look inside.

        Returns:
            dict: (N, 1, H, W) each: ``stage1``, the auxiliary image of every branch under the name of its modality, and
            ``fused``.
        """
        initial = self.stage1.fuse(first, second).fused
        features = [branch(source, initial) for branch, source in zip(self.branches.values(), (first, second))]
        auxiliary = {name: branch.image(feature) for (name, branch), feature in zip(self.branches.items(), features)}
        return dict(stage1=initial, **auxiliary, fused=self.merge(*features))
