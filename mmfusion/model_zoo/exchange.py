"""A fuser whose network takes its two sources the other way round."""

from torch import Tensor

from mmfusion.models.fusers import BaseFuser, FuserOutput
from mmfusion.models.fusers.tiling import TileLike


class ExchangedSources(BaseFuser):
    """Call a network that was trained with infrared first, say, as all others are called: visible first.

    Args:
        fuser: The network.
    """

    def __init__(self, fuser: BaseFuser) -> None:
        super().__init__(postprocess=fuser.postprocess)
        self.network = fuser
        self.color_space, self.channels = fuser.color_space, fuser.channels
        self.graph_min_size = fuser.graph_min_size
        self.guidance_keys, self.option_keys = fuser.guidance_keys, fuser.option_keys
        self.reach, self.stride, self.size_multiple = fuser.reach, fuser.stride, fuser.size_multiple
        self.reach_without_sums = fuser.reach_without_sums

    def set_tile(self, tile: TileLike) -> None:
        """Of the network, which cuts."""
        self.network.set_tile(tile)

    def forward(self, first: Tensor, second: Tensor, **extra) -> FuserOutput:
        """Fuse; arguments and errors as in :meth:`BaseFuser.forward`."""
        return self.network(second, first, **extra)

    def fuse(self, first: Tensor, second: Tensor, **extra) -> FuserOutput:
        """Fuse two checked batches."""
        return self.network.fuse(second, first, **extra)
