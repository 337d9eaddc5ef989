"""Strided 1x1 convolutions of narrow networks, kept away from a kernel that writes out of bounds."""

import math

from torch import Tensor, nn

_CHANNELS_PER_VECTOR = 16  # of a 512-bit register


def avoid_strided_pointwise(network: nn.Module) -> nn.Module:
    r"""Let strided 1x1 convolutions with few input channels read a subsampled input instead.

    The CPU kernel for the gradient of such a weight (oneDNN's ``jit_1x1`` in torch 2.13, float32 and bfloat16) writes
    past the end of its workspace when the input is in ``channels_last`` and a group has fewer channels than a vector:
    16 with AVX-512, 8 with AVX2. The process dies, or other tensors change silently: outputs and gradients were seen
    wrong by their own size. Any stride is hit, from about 40x40 pixels of output; a kernel larger than 1x1, padding,
    stride 1 and transposed convolutions are not. Without padding,

    .. math:: \text{conv}_{1 \times 1, s}(x) = \text{conv}_{1 \times 1, 1}(x[::s, ::s])

    holds exactly, and the right side never reaches the kernel. Convolutions whose groups are no multiple of 16
    channels, to be on the safe side, are changed in place: ``stride`` becomes 1 and a hook subsamples. Weights and
    their names, outputs and gradients stay what they were.

    Args:
        network: Any module.

    Returns:
        The same module.

    Examples:
        >>> import torch
        >>> conv = avoid_strided_pointwise(nn.Conv2d(8, 16, 1, stride=2))
        >>> conv(torch.rand(1, 8, 9, 12)).shape, conv.stride
        (torch.Size([1, 16, 5, 6]), (1, 1))
    """
    for module in network.modules():
        if is_narrow_strided_pointwise(module):
            module.register_forward_pre_hook(_Subsample(module.stride))
            module.stride = (1, 1)
    return network


def is_narrow_strided_pointwise(module: nn.Module) -> bool:
    """Whether a module is a convolution that :func:`avoid_strided_pointwise` changes."""
    return (
        isinstance(module, nn.Conv2d)
        and math.prod(module.kernel_size) == 1
        and math.prod(module.stride) > 1
        and module.padding in ((0, 0), 'valid')
        and module.in_channels // module.groups % _CHANNELS_PER_VECTOR > 0
    )


class _Subsample:
    """Forward pre-hook that keeps every s-th row and column."""

    def __init__(self, stride: tuple) -> None:
        self.stride = tuple(stride)

    def __call__(self, module: nn.Module, inputs: tuple) -> tuple:
        x: Tensor = inputs[0]
        return (x[..., :: self.stride[0], :: self.stride[1]], *inputs[1:])
