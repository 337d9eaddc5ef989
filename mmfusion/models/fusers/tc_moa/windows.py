"""Tokens in the order of their windows, and the learned bias between the places of a window."""

from typing import Any, NamedTuple, Tuple

import torch
from torch import Tensor, nn
from torch.autograd import Function


class Order(NamedTuple):
    """A reordering of tokens and its inverse.

    Attributes:
        forth: (T,) for every new place, the old one.
        back: (T,) for every old place, the new one.
    """

    forth: Tensor
    back: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """Reorder tokens (N, T, C)."""
        return reorder(x, self.forth, self.back)

    def undo(self, x: Tensor) -> Tensor:
        """The inverse of :meth:`apply`."""
        return reorder(x, self.back, self.forth)


def reorder(x: Tensor, forth: Tensor, back: Tensor) -> Tensor:
    """Tokens (N, T, C) in another order; see :class:`Order`."""
    return _Reorder.apply(x, forth, back) if torch.is_grad_enabled() and x.requires_grad else x.index_select(1, forth)


class _Reorder(Function):
    """Gather in both directions; the gradient of an index_select would be a scatter, which is slower."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, forth: Tensor, back: Tensor) -> Tensor:
        return x.index_select(1, forth)

    @staticmethod
    def setup_context(ctx: Any, inputs: Tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor, None, None]:
        forth, back = ctx.saved_tensors
        return reorder(grad, back, forth), None, None


class WindowLayout:
    """How the tokens of a map lie in windows.

    Tokens are kept window by window, so that every other block finds its windows ready. The blocks in between see the
    map rolled by half a window towards the top left; what leaves there comes in at the other side.

    Args:
        height: Height H of the token map, a multiple of ``window``.
        width: Width W, likewise.
        window: Side of a window.
        device: Where the indices live.

    Attributes:
        size: (H, W).
        windows: Order of the tokens of a map, row by row, that puts them into windows.
        rolled: Order of tokens in windows that puts them into the windows of the rolled map.

    Examples:
        >>> layout = WindowLayout(4, 4, 2)
        >>> tokens = layout.windows.apply(torch.arange(16.).view(1, 16, 1))
        >>> tokens.view(4, 4)[0].tolist(), layout.rolled.apply(tokens).view(4, 4)[0].tolist()
        ([0.0, 1.0, 4.0, 5.0], [5.0, 6.0, 9.0, 10.0])
    """

    def __init__(self, height: int, width: int, window: int, device: 'torch.device | str' = 'cpu') -> None:
        self.size, self.window = (height, width), window
        place = torch.arange(height * width, device=device).view(height, width)
        forth = self._cut(place)
        self.windows = Order(forth, forth.argsort())
        rolled = self.windows.back[self._cut(place.roll((-self.half, -self.half), (0, 1)))]
        self.rolled = Order(rolled, rolled.argsort())

    @property
    def half(self) -> int:
        """Tokens by which the map is rolled."""
        return self.window // 2

    def _cut(self, place: Tensor) -> Tensor:
        height, width = self.size
        return (
            place.view(height // self.window, self.window, width // self.window, self.window).transpose(1, 2).flatten()
        )

    def to_windows(self, x: Tensor) -> Tensor:
        """Token map (N, H, W, C) to tokens (N, H * W, C) in windows."""
        return self.windows.apply(x.flatten(1, 2))

    def to_map(self, x: Tensor) -> Tensor:
        """The inverse of :meth:`to_windows`."""
        return self.windows.undo(x).unflatten(1, self.size)

    def mask(self) -> Tensor:
        """Which tokens of a rolled window were neighbors before: (windows, 1, L, L) of 0 and minus infinity.

        Without it tokens of opposite borders of the image see each other in the last row and column of windows.
        """
        height, width = self.size
        device = self.rolled.forth.device
        below, right = (torch.arange(side, device=device) >= side - self.half for side in (height, width))
        part = self._cut(below.int()[:, None] * 2 + right.int()).view(-1, self.window**2)  # (windows, L)
        apart = part.unsqueeze(1) != part.unsqueeze(2)
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
        self.table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.table, std=0.02)
        place = torch.arange(window)
        row, column = (grid.flatten() for grid in torch.meshgrid(place, place, indexing='ij'))
        offset = (row[:, None] - row + window - 1) * (2 * window - 1) + column[:, None] - column + window - 1  # (L, L)
        self.register_buffer('offset', offset.flatten(), persistent=False)

    def forward(self) -> Tensor:
        """The bias (1, heads, L, L) with L = w * w."""
        return self.table.t().index_select(1, self.offset).view(1, -1, self.window**2, self.window**2)
