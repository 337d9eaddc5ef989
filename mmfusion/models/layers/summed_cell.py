"""Cell of searched operations, whose states are sums of what operations make of earlier states."""
from functools import reduce
from typing import Callable, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: What makes one state: names of operations, each with the number of the state that it takes.
Step = Sequence[Tuple[str, int]]


class SummedCell(nn.Module):
    """States one after the other, each a sum of operations on earlier ones; the new ones side by side are the output.

    The first states are the inputs after ReLU and a pointwise convolution without bias.

    Args:
        channels_in: Channels of each input.
        channels: Channels C of a state.
        steps: The new states in their order.
        build: Makes an operation of a name and a width; it keeps channels, height and width.
    """

    def __init__(self, channels_in: Sequence[int], channels: int, steps: Sequence[Step], build: Callable[[str, int], nn.Module]) -> None:
        super().__init__()
        self.sources = [[number for _, number in step] for step in steps]
        self.enter = nn.ModuleList(nn.Conv2d(number, channels, 1, bias=False) for number in channels_in)
        self.operations = nn.ModuleList(build(name, channels) for step in steps for name, _ in step)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Inputs (N, channels_in[i], H, W) to (N, C steps, H, W)."""
        states = [layer(F.relu(x)) for layer, x in zip(self.enter, inputs)]
        operations = iter(self.operations)
        for sources in self.sources:
            parts = [next(operations)(states[number]) for number in sources]
            states.append(reduce(torch.add, parts))
        return torch.cat(states[len(inputs):], dim=1)
