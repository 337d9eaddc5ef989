"""Choosing the device, with a clear error when the one asked for is not there."""

from typing import Optional

import torch

from .errors import UserError


def select_device(requested: Optional[str] = None) -> torch.device:
    """The device to work on.

    Args:
        requested: ``'cpu'``, ``'cuda'``, ``'cuda:1'``, or None for a GPU when there is one and the CPU otherwise.

    Raises:
        UserError: The name is no device, or the GPU asked for is not there.

    Examples:
        >>> select_device('cpu')
        device(type='cpu')
    """
    if requested is None or requested == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(requested)
    except RuntimeError as error:
        raise UserError(f"device {requested!r} is not known: write 'cpu', 'cuda' or 'cuda:0'") from error
    if device.type == 'cpu':
        return device
    if device.type != 'cuda':
        raise UserError(f"device {requested!r} is not supported: write 'cpu', 'cuda' or 'cuda:0'")
    if not torch.cuda.is_available():
        why = (
            'this torch is a CPU build'
            if not torch.version.cuda
            else 'torch sees no GPU (driver, CUDA_VISIBLE_DEVICES)'
        )
        raise UserError(
            f'device {requested!r} was asked for, but there is no usable GPU: {why}. Use --device cpu, or leave it out'
        )
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise UserError(
            f'device {requested!r} was asked for, but there are only {torch.cuda.device_count()} GPU(s), '
            f'counted from cuda:0'
        )
    return device
