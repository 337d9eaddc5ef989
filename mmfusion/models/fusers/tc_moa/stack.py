"""Trained stack of TC-MoA beside the encoder or the decoder: biases of attention, and adapters."""

from typing import List, NamedTuple, Optional

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from .adapters import Control, TCMoAdapter
from .vit import Block
from .windows import Order, RelativeBias, WindowLayout


class StackOutput(NamedTuple):
    """What a stack returns.

    Attributes:
        streams: (2N, T, C) tokens of both sources, or (N, T, C) those of the first.
        prompts: (adapters, 2, N, H, W) prompts of all adapters, in [0, 1].
        balance: Sum of the load-balance terms of all adapters, not weighted; None in eval mode.
    """

    streams: Tensor
    prompts: Tensor
    balance: Optional[Tensor]


class AdaptedStack(nn.Module):
    """Biases and adapters for a row of frozen blocks, which somebody else owns.

    Two neighboring blocks share a bias; the second of them sees the map rolled by half a window.

    Args:
        dim: Length C of a token.
        depth: Number of blocks.
        heads: Heads of the blocks.
        window: Side of a window.
        places: Blocks that an adapter follows.
        mask_shifted: Keep tokens of opposite borders apart in rolled windows.
        with_cp: Compute blocks again in the backward pass instead of keeping their features.
        adapter: Further arguments of every :class:`TCMoAdapter`.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        window: int,
        places: List[int],
        mask_shifted: bool,
        with_cp: bool,
        **adapter,
    ) -> None:
        super().__init__()
        self.window, self.places, self.mask_shifted, self.with_cp = window, places, mask_shifted, with_cp
        self.biases = nn.ModuleList(RelativeBias(window, heads) for _ in range(-(-depth // 2)))
        self.adapters = nn.ModuleList(TCMoAdapter(dim, **adapter) for _ in places)

    def forward(
        self,
        x: Tensor,
        blocks: nn.ModuleList,
        layout: WindowLayout,
        task: int,
        control: Control,
        first_only: bool = False,
    ) -> StackOutput:
        """Run both streams through the blocks.

        Args:
            x: (2N, T, C) tokens in windows, those of the first source first.
            blocks: The blocks.
            layout: How the tokens lie in windows.
            task: Index of the task.
            control: How far prompts are moved.
            first_only: Drop the second source after the last adapter, which nothing reads any more.
        """
        prompts, balances = [], []
        mask = layout.mask() if self.mask_shifted else None
        for index, block in enumerate(blocks):
            if index % 2 == 0:
                bias = self.biases[index // 2]()
                x = self._block(block, x, bias)
            else:
                x = self._block(block, x, bias if mask is None else bias + mask, layout.rolled)
            if index in self.places:
                adapter = self.adapters[len(prompts)]
                out = adapter(
                    x.unflatten(0, (2, -1)), layout, task, control, first_only=first_only and index == self.places[-1]
                )
                x = out.streams.flatten(0, 1)
                prompts.append(layout.to_map(out.prompts.flatten(0, 1)).squeeze(-1).unflatten(0, (2, -1)))
                balances.append(out.balance)
        return StackOutput(x, torch.stack(prompts), sum(balances) if self.training else None)

    def _block(self, block: Block, x: Tensor, bias: Tensor, order: Optional[Order] = None) -> Tensor:
        if self.with_cp and torch.is_grad_enabled():
            # bias and weights are arguments, so that the second run sees those of the first, whatever the modules hold
            # by then
            return checkpoint(
                functional_call,
                block,
                dict(block.named_parameters()),
                (x, bias, order),
                use_reentrant=False,
                preserve_rng_state=False,
            )
        return block(x, bias, order)


def adapter_places(depth: int, interval: int, offset: int) -> List[int]:
    """Blocks that an adapter follows.

    Examples:
        >>> adapter_places(12, 4, 2)
        [1, 5, 9]
    """
    return [index for index in range(depth) if (index + offset) % interval == interval - 1]
