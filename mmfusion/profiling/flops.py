"""Operations and parameters of every part of a coupling."""

from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from mmfusion.models.couplings import BaseCoupling
from mmfusion.utils.compat import added_convolution, fused_convolution

from .synthetic import synthetic_batch


class PartCost(NamedTuple):
    """What one part costs for one pair.

    Attributes:
        name: ``guide``, ``fuser``, or the name of a task.
        flops: Floating point operations that ran; an addition and a multiplication count 2.
        parameters: Number of parameters.
        trainable: Number of those with gradient.
        by_op: Operations by kind, such as ``convolution``.
    """

    name: str
    flops: int
    parameters: int
    trainable: int
    by_op: Dict[str, int]


def count_flops(
    coupling: BaseCoupling, shape: Tuple[int, int], channels: Tuple[int, int] = (3, 1), batch_size: int = 1
) -> List[PartCost]:
    """Run every part once in eval mode and count what ran, per pair.

    Torch's own counter watches the operators that are executed. A mixture of experts therefore costs what the chosen
    experts cost, on one random picture. Counted are convolutions, matrix products and attention (1 MAC = 2 FLOP), as is
    usual; element-wise operations, normalization, pooling, interpolation and mmcv's own operators (RoIAlign, NMS) are
    not.

    Args:
        coupling: The model.
        shape: (H, W) of the pictures.
        channels: Channels of both sources.
        batch_size: Pairs that run together; the counts are divided by it.

    Returns:
        One entry per part, in the order in which they run.
    """
    device = next(coupling.parameters(), torch.empty(0)).device
    coupling.eval()
    data = coupling.data_preprocessor(synthetic_batch(shape, batch_size, channels), False)
    inputs, samples = data['inputs'], data['data_samples']
    inputs = {name: image.to(device) for name, image in inputs.items()}
    parts: List[PartCost] = []
    with torch.no_grad():
        guidance: Optional[dict] = {}
        if coupling.guide is not None:
            cost, guidance = _count(
                'guide', coupling.guide, lambda: coupling.guide(inputs['first'], inputs['second']), batch_size
            )
            parts.append(cost)
        cost, fusion = _count('fuser', coupling.fuser, lambda: coupling.fuse(inputs, guidance), batch_size)
        parts.append(cost)
        for name, task in coupling.tasks.items():
            parts.append(_count(name, task, lambda task=task: task.predict(fusion.image, samples), batch_size)[0])
    return parts


def flop_counter() -> FlopCounterMode:
    """torch's counter, which also knows products added in place, and convolutions with their activation behind them.

    See :class:`~mmfusion.models.layers.ConvAct` for the latter.
    """
    fused, added = fused_convolution(), added_convolution()

    def count(image: Sequence[int], weight: Sequence[int], *_, out_shape: Sequence[int], **__) -> int:
        return conv_flop_count(image, weight, out_shape)

    def count_added(_, *shapes: Sequence[int], **arguments) -> int:
        return count(*shapes, **arguments)

    def count_product(_, a: Sequence[int], b: Sequence[int], **__) -> int:
        return 2 * a[0] * a[1] * b[1]

    mapping: Dict[object, Callable] = {torch.ops.aten.addmm_: count_product}
    if fused is not None:
        mapping[fused] = count
    if added is not None:
        mapping[added.overloadpacket] = count_added
    return FlopCounterMode(display=False, custom_mapping=mapping)


def _count(name: str, module: nn.Module, run: Callable[[], object], batch_size: int) -> tuple:
    with flop_counter() as counter:
        output = run()
    by_op = {
        str(op).split('.')[-1]: count // batch_size for op, count in counter.get_flop_counts().get('Global', {}).items()
    }
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
    cost = PartCost(
        name,
        counter.get_total_flops() // batch_size,
        sum(n for n, _ in sizes),
        sum(n for n, grad in sizes if grad),
        by_op,
    )
    return cost, output


def format_flops(parts: List[PartCost], shape: Tuple[int, int], channels: Tuple[int, int]) -> str:
    """Table of :func:`count_flops` for the terminal.

    Examples:
        >>> print(format_flops([PartCost('fuser', 2_000_000_000, 1_500_000, 1_500_000, {})], (480, 640), (3, 1)).splitlines()[2])
        fuser              2.000      1.000       1.500         1.500
    """
    lines = [
        f'per pair of {shape[0]}x{shape[1]} pixels, {channels[0]} and {channels[1]} channels, eval mode; '
        f'what ran is counted (1 MAC = 2 FLOP)',
        f'{"part":12} {"GFLOP":>11} {"GMAC":>10} {"M params":>11} {"trainable":>13}',
    ]
    total = PartCost(
        'total', *(sum(getattr(part, key) for part in parts) for key in ('flops', 'parameters', 'trainable')), {}
    )
    for part in [*parts, total] if len(parts) > 1 else parts:
        lines.append(
            f'{part.name:12} {part.flops / 1e9:11.3f} {part.flops / 2e9:10.3f} {part.parameters / 1e6:11.3f} '
            f'{part.trainable / 1e6:13.3f}'
        )
    lines.append(
        'convolutions, matrix products and attention only; no element-wise work, normalization, '
        'interpolation, RoIAlign or NMS'
    )
    return '\n'.join(lines)
