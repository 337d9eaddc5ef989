"""Contract of a fuser: two source images in, a fused image and its own auxiliary losses out."""

import math
from abc import abstractmethod
from typing import Dict, NamedTuple, Optional, Sequence, Tuple, Union

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mmfusion.models.layers.open_sizes import repeat_to_multiple
from mmfusion.models.layers.postprocess import check_postprocess
from mmfusion.registry import MODELS
from mmfusion.utils.compat import exporting
from mmfusion.utils.errors import InputError, InputTypeError
from mmfusion.utils.renamed import FORMER_TASK, name_fusion_task

from .reach import UNSTATED, HeldReach, count_sums, probe_reach
from .tiling import TileLike, Tiling, check_tile, fuse_tiles, measure_need, plan_cut

MIN_SIZE = 16


class FuserOutput(NamedTuple):
    """What a fuser returns.

    Attributes:
        fused: (N, C, H, W), nominal range [0, 1] (not clamped, so that gradients survive at the borders).
        losses: Scalar auxiliary terms of the network itself, already weighted; empty in eval mode.
    """

    fused: Tensor
    losses: Dict[str, Tensor]


def build_fuser(cfg: dict) -> 'BaseFuser':
    """Build the fuser of a config, whose key ``tile`` may be None, ``'auto'`` or (height, width) for any fuser: see
    :meth:`BaseFuser.set_tile`.

    Raises:
        InputError: ``tile`` is none of these, nor an argument of the fuser itself.
    """
    tile = cfg.get('tile')
    if isinstance(tile, int):  # an argument of the fuser itself, as TC-MoA has
        return MODELS.build(cfg)
    fuser = MODELS.build({key: value for key, value in cfg.items() if key != 'tile'})
    if tile is not None:
        fuser.set_tile(tile)
    return fuser


class BaseFuser(BaseModule):
    """Base of all fusers: checks the sources, pads to a multiple, fuses, crops back.

    A fuser knows nothing of data sets, tasks or training. Subclasses implement :meth:`fuse` and set the class
    attributes.

    Args:
        postprocess: What a coupling does to the fused picture, with its color, in eval mode; see
            :func:`~mmfusion.models.layers.postprocess`. Published programs do such things before they store a picture;
            it moves metrics, so nothing is done by default.
        init_cfg: mmengine initialization config.

    Attributes:
        color_space: ``'luminance'`` (the network fuses one channel; the coupling restores chroma) or ``'rgb'``
            (sources arrive with 3 channels, or 1 when both are gray and ``channels`` allows it).
        channels: Numbers of channels that each source may have.
        guidance_keys: Names of the tensors of a guide that :meth:`fuse` accepts.
        option_keys: Names of the options that :meth:`fuse` accepts, which are no tensors: ``fusion_task``, and what a
            user may set.
        size_multiple: H and W are padded to a multiple of this number by replication, and the result is cropped back.
        graph_min_size: Smallest H and W of an exported graph, where the network itself does something else below that.
        reach: Pixels to each side that a pixel of the result depends on in eval mode, the radius of the receptive
            field: tiles that overlap by it give what the whole image gives. None where it is the whole image. Where
            that is for sums over the image (means, norms, gates, products of channels) that the fuser asks
            :mod:`~mmfusion.models.layers.whole_picture` for, tiles get those of the whole image, and results are the
            same too; otherwise (attention between all pixels) tiles are blended, and results differ. A fuser that does
            not state it is probed; see :func:`~mmfusion.models.fusers.reach.probe_reach`.
        reach_without_sums: The same when those sums are given; probed where the fuser does not state it.
        stride: Results are the same only after shifts by multiples of this, as behind layers of half or a quarter of
            the size.
        tiling: How images are cut in eval mode, None for not at all; see :meth:`set_tile`.
    """

    color_space: str = 'luminance'
    channels: tuple = (1,)
    guidance_keys: tuple = ()
    option_keys: tuple = ()
    size_multiple: int = 1
    graph_min_size: int = MIN_SIZE
    reach: Union[int, str, None] = UNSTATED
    reach_without_sums: Union[int, str, None] = UNSTATED
    stride: int = 1
    tiling: Optional[Tiling] = None

    def __init__(self, postprocess: Sequence[str] = (), init_cfg: Optional[Union[dict, list]] = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.postprocess = check_postprocess(postprocess)

    @abstractmethod
    def fuse(self, first: Tensor, second: Tensor, **extra) -> FuserOutput:
        """Fuse two checked source batches.

        Args:
            first: (N, C, H, W) float in [0, 1].
            second: (N, C, H, W) float in [0, 1].
            extra: Tensors named in ``guidance_keys`` and options named in ``option_keys``, each optional.
        """

    def set_tile(self, tile: TileLike) -> None:
        """Fuse images larger than ``tile`` piece by piece in eval mode, for bounded memory.

        Pieces overlap by the receptive field where that is finite (:attr:`reach`), and the result is that of the whole
        image up to rounding. So it is where sums over the whole image are all that makes it infinite: they are taken
        from all pieces first, which costs a few more passes over them. Otherwise pieces are blended, and what the
        network makes of a piece differs from what it makes of the image.

        Args:
            tile: None for whole images; (height, width) of the pieces; or ``'auto'`` for what half of the free memory
                holds, at most 768 MiB.

        Raises:
            InputError: ``tile`` is none of these.
        """
        tile = check_tile(tile)
        self.tiling = None if tile is None else Tiling(tile)

    def reach_at(self, height: int, width: int) -> Optional[int]:
        """:attr:`reach` for an image of a size; probed once where the fuser does not state it."""
        if self.reach == UNSTATED:
            self.reach = probe_reach(self)
        return self.reach

    def held_reach(self) -> HeldReach:
        """The sums over the picture that the fuser asks for, and :attr:`reach_without_sums`; for fusers whose
        :attr:`reach` is None.
        """
        if '_sums' not in self.__dict__:
            self.__dict__['_sums'] = count_sums(self)
        if self.reach_without_sums == UNSTATED:
            self.reach_without_sums = probe_reach(self, held=True) if self.__dict__['_sums'] else None
        return HeldReach(self.__dict__['_sums'], self.reach_without_sums)

    def tile_multiple(self) -> int:
        """Tiles start at multiples of this."""
        return math.lcm(self.size_multiple, self.stride)

    def memory_need(self, first: Tensor) -> Tuple[float, float]:
        """Bytes of tensors for any image and for each pixel, measured once for each kind of input; see
        :func:`measure_need`.
        """
        known = self.__dict__.setdefault('_memory_need', {})
        key = (first.shape[1], first.dtype, first.device)
        if key not in known:
            known[key] = measure_need(self, first)
        return known[key]

    def prepare(self, first: Tensor, second: Tensor) -> Tuple[Tensor, Tensor]:
        """What happens to whole sources before :meth:`fuse`, which may see tiles: steps that look at all of an image,
        such as a stretch.
        """
        return first, second

    def finish(self, fused: Tensor) -> Tensor:
        """What happens to the whole result (N, C, H, W) after :meth:`fuse`."""
        return fused

    def guidance_maps(self, extra: Dict[str, object], height: int, width: int) -> Dict[str, object]:
        """Guidance with maps (N, C, height, width) in the size of the sources, so that they can be cut as these are."""
        return extra

    def options(self) -> tuple:
        """Names of the options; those of a fuser that still has them among ``guidance_keys``, as version 0.1.0 asked
        for, too.
        """
        return (*self.option_keys, *(self.guidance_keys if FORMER_TASK in self.guidance_keys else ()))

    def forward(self, first: Tensor, second: Tensor, **extra) -> FuserOutput:
        """Check the sources and fuse them.

        Args:
            first: First source, (N, C, H, W) float in [0, 1], H and W at least 16.
            second: Second source, same N, H and W.
            extra: Tensors named in ``guidance_keys`` and options named in ``option_keys``.

        Raises:
            TypeError: A source is not a floating tensor, or an unknown guidance or option is given.
            ValueError: Shapes differ, the channel count does not suit the fuser, or an image is smaller than 16 pixels.
        """
        self.check_sources(first, second)
        known = (*self.guidance_keys, *self.option_keys)
        extra = name_fusion_task(extra, known, type(self).__name__)
        unknown = set(extra) - set(known)
        if unknown:
            raise InputTypeError(
                f'{type(self).__name__} takes no guidance named {sorted(unknown)}; it accepts {list(known)}'
            )
        height, width = first.shape[-2:]
        pad_h, pad_w = -height % self.size_multiple, -width % self.size_multiple
        exported = exporting() and self.size_multiple > 1  # a graph for all sizes has no branch for some
        if exported:
            first, second = (repeat_to_multiple(x, self.size_multiple) for x in (first, second))
        elif pad_h or pad_w:
            first, second = (F.pad(x, (0, pad_w, 0, pad_h), mode='replicate') for x in (first, second))
        first, second = self.prepare(first, second)
        cutting = None if exporting() else plan_cut(self, first)
        if cutting is None:
            output = self.fuse(first, second, **extra)
        else:
            extra = self.guidance_maps(extra, *first.shape[-2:])
            output = FuserOutput(fuse_tiles(self, cutting, first, second, extra), {})
        if exported or pad_h or pad_w:
            output = output._replace(fused=output.fused[..., :height, :width])
        return output._replace(fused=self.finish(output.fused))

    def check_sources(self, first: Tensor, second: Tensor) -> None:
        """Raise a clear error when the sources break the contract; see :meth:`forward`."""
        name = type(self).__name__
        for label, image in (('first', first), ('second', second)):
            if not isinstance(image, Tensor) or not image.is_floating_point():
                found = image.dtype if isinstance(image, Tensor) else type(image).__name__
                raise InputTypeError(f'{name}: {label} source must be a float tensor in [0, 1], got {found}')
            if image.dim() != 4:
                raise InputError(f'{name}: {label} source must have shape (N, C, H, W), got {tuple(image.shape)}')
            if image.shape[1] not in self.channels:
                raise InputError(
                    f'{name}: {label} source has {image.shape[1]} channels, the fuser takes {self.channels}; '
                    'run it through a coupling or the FusionInferencer, which convert color'
                )
            if min(image.shape[-2:]) < MIN_SIZE:
                raise InputError(
                    f'{name}: images must be at least {MIN_SIZE}x{MIN_SIZE} pixels, {label} is '
                    f'{tuple(image.shape[-2:])}'
                )
        if first.shape[0] != second.shape[0] or first.shape[-2:] != second.shape[-2:]:
            raise InputError(
                f'{name}: the sources must be registered and equal in N, H and W, got {tuple(first.shape)} and '
                f'{tuple(second.shape)}'
            )
