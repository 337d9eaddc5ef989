"""Parts of MoE-Fusion: the dense encoder of one source, the two kinds of experts, and running only the chosen ones."""
from typing import List, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmfusion.models.layers import GateOutput, log_combine


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """3x3 convolution with bias and zero padding, the only kind in this method."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


class DenseEncoder(BaseModule):
    """Densely connected encoder of one source; only the first convolution is followed by a ReLU.

    Args:
        channels: Width c of every layer.
    """

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.stem = conv3x3(1, channels)
        self.dense1 = conv3x3(channels, channels)
        self.dense2 = conv3x3(2 * channels, channels)
        self.dense3 = conv3x3(3 * channels, channels)

    def forward(self, image: Tensor) -> Tuple[Tensor, Tensor]:
        """Encode (N, 1, H, W).

        Returns:
            tuple: All features before the last layer (N, 3c, H, W), and the encoded feature (N, c, H, W).
        """
        x = F.relu_(self.stem(image))
        if x.device.type == 'cpu':
            # oneDNN computes these few-channel layers two to three times faster this way; the layers behind inherit the layout.
            x = x.contiguous(memory_format=torch.channels_last)
        x = torch.cat([x, self.dense1(x)], dim=1)  # 2c
        x = torch.cat([x, self.dense2(x)], dim=1)  # 3c
        return x, self.dense3(x)


class ConvExpert(nn.Sequential):
    """A chain of 3x3 convolutions with ReLU between them.

    Args:
        channels: Channels at the input, after each hidden layer, and at the output.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        layers: List[nn.Module] = []
        for in_channels, out_channels in zip(channels[:-1], channels[1:]):
            # In place: a convolution does not need its own output for its gradient.
            layers += [conv3x3(in_channels, out_channels), nn.ReLU(inplace=True)]
        super().__init__(*layers[:-1])


def run_chosen(experts: ModuleList, inputs: Sequence[Tensor], gate: GateOutput, mode: str) -> Tensor:
    """Run each expert on the images that chose it, and combine.

    In training an expert that nobody chose runs on an empty batch: its parameters then get a gradient of exactly zero instead of none, so
    that the optimizer treats all experts alike and DistributedDataParallel finds every parameter used.

    Args:
        experts: E networks.
        inputs: For each expert what it sees of the batch, (N, C, H, W).
        gate: One decision per image: gates (N, E), chosen (N, k).
        mode: See :func:`~mmfusion.models.layers.log_combine`.

    Returns:
        Tensor: (N, C', H, W), float32 or wider.
    """
    chosen = gate.chosen.tolist()
    batch, slots = len(chosen), len(chosen[0])
    pieces: List[Tensor] = []
    source: List[int] = []  # image of every row of the pieces
    weights: List[Tensor] = []  # gate of every row
    idle = gate.gates.new_zeros(())
    for index, (expert, x) in enumerate(zip(experts, inputs)):
        rows = [row for row in range(batch) if index in chosen[row]]
        if not rows:
            if torch.is_grad_enabled() and expert.training:
                idle = idle + expert(x[:0]).float().sum()
            continue
        pieces.append(expert(x if len(rows) == batch else x[rows]))
        weights.append(gate.gates[rows, index])
        source += rows
    if all(len(piece) == batch for piece in pieces):  # the whole batch chose the same experts: nothing to sort
        gates = [weight.view(-1, 1, 1, 1) for weight in weights]
    else:
        order = torch.tensor([[place for place, row in enumerate(source) if row == image] for image in range(batch)]).T  # (k, N)
        rows_out, rows_gate = torch.cat(pieces), torch.cat(weights)
        pieces = [rows_out[slot.to(rows_out.device)] for slot in order]
        gates = [rows_gate[slot.to(rows_gate.device)].view(-1, 1, 1, 1) for slot in order]
    assert len(pieces) == slots
    gates[0] = gates[0] + idle  # adds zero
    return log_combine(pieces, gates, mode)
