"""Parts of MoE-Fusion: the dense encoder of one source, the two kinds of experts, and running only the chosen ones."""

from itertools import combinations
from typing import Dict, List, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmfusion.models.layers import GateOutput, log_combine
from mmfusion.utils.compat import exporting


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

    def forward(self, image: Tensor) -> Tuple[List[Tensor], Tensor]:
        """Encode (N, 1, H, W).

        Returns:
            tuple: All features before the last layer, (N, 2c, H, W) and (N, c, H, W), and the encoded feature (N, c, H,
            W).
        """
        x = F.relu_(self.stem(image))
        if x.device.type == 'cpu' and not exporting():
            # oneDNN computes these few-channel layers two to three times faster this way; the layers behind inherit the
            # layout.
            x = x.contiguous(memory_format=torch.channels_last)
        x = torch.cat([x, self.dense1(x)], dim=1)  # 2c
        parts = [x, self.dense2(x)]
        return parts, self._last(parts)

    def _last(self, parts: List[Tensor]) -> Tensor:
        """The last layer on the parts side by side, which are not copied for it.

        Its gradient for 3c = 12 channels takes oneDNN twice as long as those for 8 and for 4.
        """
        both, latest = parts
        of_both, of_latest = self.dense3.weight.split([both.shape[1], latest.shape[1]], dim=1)
        return F.conv2d(both, of_both, self.dense3.bias, padding=1) + F.conv2d(latest, of_latest, padding=1)


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


#: Channels of a 512-bit register: up to so many, oneDNN computes the outputs of several narrow convolutions in the time
#: of one.
_REGISTER = 16
#: Up to so many experts, a graph has a branch for each pair of them.
_PAIRED = 4


def run_together(experts: Sequence[ConvExpert], x: Tensor) -> List[Tensor]:
    """What each of some experts makes of the same features; their first convolutions, which read the widest features,
    run as one.

    A narrow expert leaves most of a vector register empty, and in the backward pass the gradient of the features is
    made once instead of added up. Where the outputs of all fit into a register, later layers run as one too, each
    expert with zeros for what belongs to the others: as fast as one by one, and the features are not taken apart.

    Args:
        experts: Experts of equal widths.
        x: (N, C, H, W).

    Returns:
        One tensor (N, C', H, W) for each expert.
    """
    if len(experts) == 1:
        return [experts[0](x)]
    first, depth = [expert[0] for expert in experts], len(experts[0])
    x = _convolve(x, torch.cat([layer.weight for layer in first]), first)
    index = 2
    while index < depth and len(experts) * experts[0][index].out_channels <= _REGISTER:
        layers = [expert[index] for expert in experts]
        x = _convolve(F.relu_(x), _block_diagonal([layer.weight for layer in layers]), layers)
        index += 2
    if index >= depth:
        return list(x.split(x.shape[1] // len(experts), dim=1))
    x = F.relu_(x)
    inner = not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if inner else torch.contiguous_format
    parts = [part.contiguous(memory_format=layout) for part in x.split(x.shape[1] // len(experts), dim=1)]
    for later in range(index, depth):
        parts = [expert[later](part) for expert, part in zip(experts, parts)]
    return parts


def _convolve(x: Tensor, weight: Tensor, layers: Sequence[nn.Conv2d]) -> Tensor:
    return F.conv2d(x, weight, torch.cat([layer.bias for layer in layers]), padding=1)


def _block_diagonal(weights: Sequence[Tensor]) -> Tensor:
    """Kernels (o, i, 3, 3) of E layers as one, (E o, E i, 3, 3), in which no layer sees what belongs to another."""
    number, width = len(weights), weights[0].shape[1]
    gaps = ((index * width, (number - 1 - index) * width) for index in range(number))
    return torch.cat([F.pad(weight, (0, 0, 0, 0, *gap)) for weight, gap in zip(weights, gaps)])


def run_chosen(experts: ModuleList, sources: Sequence[Sequence[Tensor]], gate: GateOutput, mode: str) -> Tensor:
    """Run on each image the experts it chose, and combine them.

    Image by image: gathering the images of an expert into a batch would copy the widest features of the network, and
    its backward fills a batch of zeros for each expert, which costs more than the convolutions of a narrow network.

    In training an expert that nobody chose runs on an empty batch: its parameters then get a gradient of exactly zero
    instead of none, so that the optimizer treats all experts alike and DistributedDataParallel finds every parameter
    used.

    Args:
        experts: E networks, in equal runs that look at the first source, the second...
        sources: For each source its N images, (1, C, H, W); in an export the whole batch at once.
        gate: One decision per image: gates (N, E), chosen (N, k).
        mode: See :func:`~mmfusion.models.layers.log_combine`.

    Returns:
        Tensor: (N, C', H, W), float32 or wider.
    """
    source_of = [index * len(sources) // len(experts) for index in range(len(experts))]
    if exporting():
        (batches,) = zip(*sources)
        return _run_where_chosen(experts, [batches[source] for source in source_of], gate.gates, mode)
    chosen = gate.chosen.tolist()
    combined = []
    for image, picked in enumerate(chosen):
        outputs: Dict[int, Tensor] = {}
        for source in dict.fromkeys(source_of[e] for e in picked):  # experts that see the same features run together
            same = [e for e in picked if source_of[e] == source]
            outputs.update(zip(same, run_together([experts[e] for e in same], sources[source][image])))
        weights = gate.gates[image].unbind()
        combined.append(log_combine([outputs[e] for e in picked], [weights[e] for e in picked], mode))
    result = combined[0] if len(combined) == 1 else torch.cat(combined)
    idle = sorted(set(range(len(experts))) - {e for picked in chosen for e in picked})
    if torch.is_grad_enabled() and experts.training and idle:
        # Adds zero. Detached, or the gradient of the slice would fill and add features of zeros.
        empty = [images[0][:0].detach() for images in sources]
        result = result + sum(experts[e](empty[source_of[e]]).sum(dtype=result.dtype) for e in idle)
    return result


def _run_where_chosen(experts: ModuleList, inputs: Sequence[Tensor], gates: Tensor, mode: str) -> Tensor:
    """:func:`run_chosen` in a form that a graph can record: an expert runs, on the whole batch, where any image of it
    chose that expert.

    Where these are two, as for a single image, they run as one network of twice the width; there is a branch for each
    pair. Otherwise each runs by itself. The sum is that of the formula, without the shifts that keep ``exp`` of half
    precision from an overflow; what runs has a gate of zero for images that did not choose it, which adds nothing to
    them.

    Args:
        experts: E networks.
        inputs: What each looks at, (N, C, H, W).
        gates: (N, E).
        mode: See :func:`~mmfusion.models.layers.log_combine`.
    """
    pairs = list(combinations(range(len(experts)), 2)) if len(experts) <= _PAIRED else []

    def add(outputs: Sequence[Tensor], gates: Sequence[Tensor]) -> Tensor:
        outputs = [output.to(gates[0].dtype) for output in outputs]
        outputs = [output.exp() if mode == 'logsumexp' else output for output in outputs]
        return sum(output * gate.view(-1, 1, 1, 1) for output, gate in zip(outputs, gates))

    def keep(total: Tensor, *_: Tensor) -> Tensor:
        return total.clone()

    present = (gates > 0).any(0)
    two = (present.sum() == 2) & torch.tensor(bool(pairs))
    number, _, height, width = inputs[0].shape
    total = gates.new_zeros(number, experts[0][-1].out_channels, height, width)
    for expert, x, gate, chosen in zip(experts, inputs, gates.unbind(1), present.unbind()):

        def add_one(total: Tensor, gate: Tensor, x: Tensor, expert: ConvExpert = expert) -> Tensor:
            return total + add([expert(x)], [gate])

        total = torch.cond(chosen & ~two, add_one, keep, (total, gate, x))
    for a, b in pairs:
        sources = (inputs[a],) if inputs[a] is inputs[b] else (inputs[a], inputs[b])

        def run_pair(
            _: Tensor, gates: Tensor, *sources: Tensor, pair: Tuple[ConvExpert, ...] = (experts[a], experts[b])
        ) -> Tensor:
            return add(_pair(pair, sources), gates.unbind(1))

        operands = (total, torch.stack([gates[:, a], gates[:, b]], dim=1), *sources)
        total = torch.cond(present[a] & present[b] & two, run_pair, keep, operands)
    if mode == 'logsumexp':
        return total.clamp_min(torch.finfo(total.dtype).tiny).log()
    return total


def _pair(experts: Sequence[ConvExpert], sources: Sequence[Tensor]) -> Sequence[Tensor]:
    """What two experts make of one (N, C, H, W) for both or of one each, in layers for both: a runtime computes few
    channels as slowly as many.
    """
    same = len(sources) == 1
    x = torch.cat(list(sources), dim=1)
    for depth in range(0, len(experts[0]), 2):
        layers = [expert[depth] for expert in experts]
        weights = [layer.weight for layer in layers]
        x = F.relu(x) if depth else x
        blocks = not any(size % _REGISTER for size in weights[0].shape[:2])
        if depth and blocks:
            x = F.conv2d(x, torch.cat(weights), torch.cat([layer.bias for layer in layers]), padding=1, groups=2)
        else:
            x = _convolve(x, torch.cat(weights) if same and not depth else _block_diagonal(weights), layers)
    return x.split(x.shape[1] // 2, dim=1)
