"""Radius of the receptive field of a fuser, found by following NaN through it."""

import copy
from typing import TYPE_CHECKING, Optional

import torch

if TYPE_CHECKING:
    from .base import BaseFuser

#: Of a fuser that does not state its receptive field.
UNSTATED = 'unstated'
#: Sides of the images that are tried, one after the other, until the receptive field lies inside.
SIDES = (128, 256, 512)


@torch.no_grad()
def probe_reach(fuser: 'BaseFuser') -> Optional[int]:
    """Pixels to each side that a pixel of the result depends on; None where that is more than a few hundred, as behind attention.

    One pixel of a source is NaN, and the pixels of the result that become NaN are those that depend on it: unlike a gradient this does not vanish
    behind a ReLU, a maximum or a weight of zero, and so says what the structure of a network allows, not what its weights do with one image. In
    float64, whose convolutions are the plain ones: those of float32 may touch neighbors that they give no weight to. Every shift within
    :meth:`~mmfusion.models.fusers.BaseFuser.tile_multiple` is tried along the diagonal. A network that drops NaN (a comparison, rounding to
    integers) has to state its receptive field instead.

    Args:
        fuser: Any fuser; a copy of it is probed, in eval mode.
    """
    probed = copy.deepcopy(fuser).double().eval()
    for side in SIDES:
        reach = _probe(probed, side)
        if reach is not None:
            return reach
    return None


def _probe(fuser: 'BaseFuser', side: int) -> Optional[int]:
    """The radius, None where the receptive field leaves an image of this side."""
    device = next(iter([*fuser.parameters(), *fuser.buffers()]), torch.empty(0)).device
    side = -(-side // fuser.size_multiple) * fuser.size_multiple
    sources = [torch.rand(1, fuser.channels[-1], side, side, dtype=torch.float64, device=device) for _ in range(2)]
    reach = 0
    for source in range(2):
        for shift in range(fuser.tile_multiple()):
            place = side // 2 + shift
            given = [image.clone() for image in sources]
            given[source][:, :, place, place] = torch.nan
            found = fuser.fuse(*given).fused.isnan().any(dim=1)[0].nonzero()
            if not len(found):
                continue
            if found.min() == 0 or found.max() == side - 1:
                return None
            reach = max(reach, int((found - place).abs().max()))
    return reach
