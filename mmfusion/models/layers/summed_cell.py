"""Cell of searched operations, whose states are sums of what operations make of earlier states."""

from functools import reduce
from typing import Callable, List, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .conv_act import fuses, sum_of_convs

#: What makes one state: names of operations, each with the number of the state that it takes.
Step = Sequence[Tuple[str, int]]


class SummedCell(nn.Module):
    """States one after the other, each a sum of operations on earlier ones; the new ones are the output.

    The first states are the inputs after ReLU and a pointwise convolution without bias.

    Args:
        channels_in: Channels of each input.
        channels: Channels C of a state.
        steps: The new states in their order.
        build: Makes an operation of a name and a width; it keeps channels, height and width.
    """

    def __init__(
        self, channels_in: Sequence[int], channels: int, steps: Sequence[Step], build: Callable[[str, int], nn.Module]
    ) -> None:
        super().__init__()
        self.sources = [[number for _, number in step] for step in steps]
        self.enter = nn.ModuleList(nn.Conv2d(number, channels, 1, bias=False) for number in channels_in)
        self.operations = nn.ModuleList(build(name, channels) for step in steps for name, _ in step)

    def forward(self, *inputs: Sequence[Tensor]) -> List[Tensor]:
        """Inputs, each of parts (N, c, H, W) that have channels_in[i] channels together, to the new states, (N, C,
        H, W) each.
        """
        states = [_enter(layer, parts) for layer, parts in zip(self.enter, inputs)]
        operations = iter(self.operations)
        for sources in self.sources:
            states.append(total([next(operations)(states[number]) for number in sources]))
        return states[len(inputs) :]


def _enter(layer: nn.Conv2d, parts: Sequence[Tensor]) -> Tensor:
    """Pointwise convolution of the parts side by side, which are not copied for it."""
    if fuses(parts[0]) and parts[0].is_contiguous(memory_format=torch.channels_last):
        return sum_of_convs([F.relu(part) for part in parts], layer.weight, None)
    weights = layer.weight.split([part.shape[1] for part in parts], dim=1)
    return total([F.conv2d(F.relu(part), weight) for part, weight in zip(parts, weights)])


def total(parts: Sequence[Tensor]) -> Tensor:
    """Sum of tensors of one shape, in the place of the first one where nothing learns."""
    in_place = not torch.is_grad_enabled() and len({part.dtype for part in parts}) == 1  # autocast mixes types
    return reduce(Tensor.add_ if in_place else torch.add, parts)
