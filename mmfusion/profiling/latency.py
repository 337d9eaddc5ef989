"""Measure what every candidate of a supernet costs on the device at hand."""

from typing import Dict, List, Sequence, Tuple

import torch
from torch import nn

from mmfusion.models.couplings.steps.latency_table import LatencyTable
from mmfusion.profiling.timing import describe_machine, measure
from mmfusion.utils.errors import InputError


def measure_latency(
    fuser: nn.Module, size: Sequence[int] = (64, 64), device: str = 'cpu', repeats: int = 10
) -> LatencyTable:
    """Time every candidate on the features that reach it, one image at a time, in evaluation mode; the least of the
    repeats counts.

    Args:
        fuser: The supernet, whose mixtures have a ``position`` and ``candidates`` by name (:class:`SearchableTIM`); it
            comes back in its mode and on its device.
        size: (height, width) of the images.
        device: Where to measure.
        repeats: Rounds; in each, all candidates of a position take turns.

    Raises:
        ValueError: ``size`` or ``repeats`` is out of range, or the fuser has no mixtures.
    """
    home, training = next(fuser.parameters()).device, fuser.training
    shapes: List[Tuple[nn.Module, Tuple[int, ...]]] = []
    mixtures = [module for module in fuser.modules() if hasattr(module, 'candidates') and hasattr(module, 'position')]
    if not mixtures:
        raise InputError(
            f'{type(fuser).__name__} has no mixtures of candidates to measure; take the config of a search'
        )
    hooks = [
        module.register_forward_hook(lambda module, inputs, _: shapes.append((module, tuple(inputs[0].shape))))
        for module in mixtures
    ]
    fuser.to(device).eval()
    table: Dict[str, Dict[str, float]] = {}
    try:
        with torch.no_grad():
            image = torch.rand(1, 1, *size, device=device)
            fuser(image, image)
            for mixture, shape in shapes:
                x = torch.randn(shape, device=device)
                timings = measure(
                    {name: (lambda op=op, x=x: op(x)) for name, op in mixture.candidates.items()},
                    repeats,
                    device=device,
                )
                row = table.setdefault(mixture.position, dict.fromkeys(timings, 0.0))
                for name, timing in timings.items():
                    row[name] += 1000 * min(timing.gpu or timing.wall)
    finally:
        for hook in hooks:
            hook.remove()
        fuser.to(home).train(training)
    return LatencyTable(table, describe_machine(device), (int(size[0]), int(size[1])))


def format_latency(table: LatencyTable) -> str:
    """The table as text, candidates of a position from fast to slow.

    Examples:
        >>> print(format_latency(LatencyTable({'cells.0.0': dict(eca_3=0.5, residual_3_1=0.25)}, dict(device='cpu', torch_threads=2), (64, 64))))
        milliseconds on cpu (2 threads), one image of 64x64
          cells.0.0: residual_3_1 0.250, eca_3 0.500
    """
    threads = '' if table.machine['device'] != 'cpu' else f' ({table.machine["torch_threads"]} threads)'
    lines = [f'milliseconds on {table.machine["device"]}{threads}, one image of {table.size[0]}x{table.size[1]}']
    for position, row in table.milliseconds.items():
        lines.append(
            f'  {position}: '
            + ', '.join(f'{name} {value:.3f}' for name, value in sorted(row.items(), key=lambda item: item[1]))
        )
    return '\n'.join(lines)
