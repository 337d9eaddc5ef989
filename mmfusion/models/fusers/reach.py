"""Radius of the receptive field of a fuser, found by following NaN through it."""

import copy
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple, Optional

import torch

from mmfusion.models.layers.whole_picture import Part, PictureStatistics

if TYPE_CHECKING:
    from .base import BaseFuser

#: Of a fuser that does not state its receptive field.
UNSTATED = 'unstated'
#: Sides of the images that are tried, one after the other, until the receptive field lies inside.
SIDES = (128, 256, 512)


@torch.no_grad()
def probe_reach(fuser: 'BaseFuser', held: bool = False) -> Optional[int]:
    """Pixels to each side that a pixel of the result depends on; None where that is more than a few hundred, as behind
    attention.

    One pixel of a source is NaN, and the pixels of the result that become NaN are those that depend on it: unlike a
    gradient this does not vanish behind a ReLU, a maximum or a weight of zero, and so says what the structure of a
    network allows, not what its weights do with one image. In float64, whose convolutions are the plain ones: those of
    float32 may touch neighbors that they give no weight to. Every shift within
    :meth:`~mmfusion.models.fusers.BaseFuser.tile_multiple` is tried along the diagonal. A network that drops NaN (a
    comparison, rounding to integers) has to state its receptive field instead.

    Args:
        fuser: Any fuser; a copy of it is probed, in eval mode.
        held: Give it the sums over the picture that it asks for, so that they pass nothing on.
    """
    probed = copy.deepcopy(fuser).double().eval()
    for side in SIDES:
        reach = _probe(probed, side, held)
        if reach is not None:
            return reach
    return None


class HeldReach(NamedTuple):
    """Receptive field of a fuser that is given sums over the whole picture.

    Attributes:
        sums: How many it asks for (:mod:`~mmfusion.models.layers.whole_picture`).
        reach: Pixels to each side; None where it still is the whole picture.
    """

    sums: int
    reach: Optional[int]


@torch.no_grad()
def count_sums(fuser: 'BaseFuser') -> int:
    """How many sums over the whole picture a fuser asks for in eval mode."""
    fuser, statistics = copy.deepcopy(fuser).eval() if fuser.training else fuser, PictureStatistics()
    side = _round_up(32, fuser)
    with statistics.begin(side, side):
        fuser.fuse(*_sources(fuser, side, torch.float32))
    return len(statistics.known)


def _round_up(side: int, fuser: 'BaseFuser') -> int:
    return -(-side // fuser.size_multiple) * fuser.size_multiple


def _sources(fuser: 'BaseFuser', side: int, dtype: torch.dtype) -> list:
    device = next(iter([*fuser.parameters(), *fuser.buffers()]), torch.empty(0)).device
    return [torch.rand(1, fuser.channels[-1], side, side, dtype=dtype, device=device) for _ in range(2)]


def _probe(fuser: 'BaseFuser', side: int, held: bool) -> Optional[int]:
    """The radius, None where the receptive field leaves an image of this side."""
    side = _round_up(side, fuser)
    sources = _sources(fuser, side, torch.float64)
    statistics = PictureStatistics()
    if held:
        with statistics.begin(side, side):
            fuser.fuse(*sources)
    reach = 0
    for source in range(2):
        for shift in range(fuser.tile_multiple()):
            place = side // 2 + shift
            given = [image.clone() for image in sources]
            given[source][:, :, place, place] = torch.nan
            with statistics.hold(Part.whole(side, side)) if held else nullcontext():
                found = fuser.fuse(*given).fused.isnan().any(dim=1)[0].nonzero()
            if not len(found):
                continue
            if found.min() == 0 or found.max() == side - 1:
                return None
            reach = max(reach, int((found - place).abs().max()))
    return reach
