"""Square windows of a token map: cut out, put back, and the learned bias between the places inside."""
import torch
from torch import Tensor, nn


def partition(x: Tensor, window: int, shift: int = 0) -> Tensor:
    """Cut a token map into windows, row by row.

    Args:
        x: (N, H, W, C), H and W multiples of ``window``.
        window: Side of a window.
        shift: Roll the map by this many tokens towards the top left first; what leaves there comes in at the other side.

    Returns:
        (N * windows, window * window, C).

    Examples:
        >>> partition(torch.arange(16.).view(1, 4, 4, 1), 2)[0].flatten().tolist()
        [0.0, 1.0, 4.0, 5.0]
        >>> partition(torch.arange(16.).view(1, 4, 4, 1), 2, shift=1)[0].flatten().tolist()
        [5.0, 6.0, 9.0, 10.0]
    """
    n, height, width, channels = x.shape
    if shift:
        x = x.roll((-shift, -shift), (1, 2))
    x = x.view(n, height // window, window, width // window, window, channels).transpose(2, 3)
    return x.reshape(-1, window * window, channels)


def reverse(x: Tensor, window: int, shift: int, height: int, width: int) -> Tensor:
    """Put windows (N * windows, window * window, C) back into a map (N, H, W, C); the inverse of :func:`partition`.

    Examples:
        >>> x = torch.rand(2, 6, 9, 4)
        >>> torch.equal(reverse(partition(x, 3, 1), 3, 1, 6, 9), x)
        True
    """
    x = x.view(-1, height // window, width // window, window, window, x.shape[-1]).transpose(2, 3).reshape(-1, height, width, x.shape[-1])
    return x.roll((shift, shift), (1, 2)) if shift else x


def shift_mask(height: int, width: int, window: int, shift: int, device: torch.device) -> Tensor:
    """Which pairs of tokens in the windows of a rolled map were neighbours before it was rolled: (windows, 1, L, L) of 0 and minus infinity.

    Without it tokens of opposite borders of the image see each other in the last row and column of windows.
    """

    def side(size: int) -> Tensor:  # which part of the map a row or column comes from
        place = torch.arange(size, device=device)
        return (place >= size - window).int() + (place >= size - shift).int()

    region = side(height).view(1, -1, 1, 1) * 3 + side(width).view(1, 1, -1, 1)  # (1, H, W, 1)
    region = partition(region, window).squeeze(-1)  # (windows, L)
    apart = region.unsqueeze(1) != region.unsqueeze(2)
    return torch.zeros(apart.shape, device=device).masked_fill_(apart, -torch.inf).unsqueeze(1)


class RelativeBias(nn.Module):
    """A learned bias of attention for every offset between two places of a window, one per head.

    Args:
        window: Side of a window, w.
        heads: Number of heads.
    """

    def __init__(self, window: int, heads: int) -> None:
        super().__init__()
        self.window = window
        self.table = nn.Parameter(torch.empty((2 * window - 1)**2, heads))
        nn.init.trunc_normal_(self.table, std=0.02)
        place = torch.arange(window)
        row, column = (grid.flatten() for grid in torch.meshgrid(place, place, indexing='ij'))
        offset = (row[:, None] - row + window - 1) * (2 * window - 1) + column[:, None] - column + window - 1  # (L, L)
        self.register_buffer('offset', offset.flatten(), persistent=False)

    def forward(self) -> Tensor:
        """The bias (heads, L, L) with L = w * w."""
        return self.table.t().index_select(1, self.offset).unflatten(1, (self.window**2, self.window**2))
