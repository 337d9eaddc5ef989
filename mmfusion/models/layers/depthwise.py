"""Depthwise 3x3 convolution whose derivatives of every order are as fast as itself."""
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


def depthwise_conv3x3(x: Tensor, weight: Tensor, pad_rows: int = 1) -> Tensor:
    r"""Convolve each channel with its own 3x3 kernel; stride 1, zero padding of 1 column at each side, no bias.

    .. math:: y_c(p) = \sum_d w_c(d)\, x_c(p + d), \quad d \in \{-1, 0, 1\}^2

    The same function as ``conv2d(x, weight, padding=(pad_rows, 1), groups=C)``. Its derivatives are convolutions of the same kind and
    correlations of two images, and both are written as such here, so that a gradient of a gradient takes the same kernels; PyTorch's own
    second derivative of a grouped convolution goes through the channels one by one.

    Args:
        x: (N, C, H, W) floating; ``channels_last`` is the fast layout on a CPU.
        weight: (C, 1, 3, 3).
        pad_rows: Rows of zeros above and below the images, 0 to 2.

    Returns:
        Tensor: (N, C, H + 2 pad_rows - 2, W).

    Raises:
        ValueError: Shapes that do not fit.

    Examples:
        >>> depthwise_conv3x3(torch.ones(1, 2, 5, 5), torch.ones(2, 1, 3, 3))[0, 0, 0].tolist()
        [4.0, 6.0, 6.0, 6.0, 4.0]
    """
    if x.dim() != 4 or weight.shape != (x.shape[1], 1, 3, 3):
        raise ValueError(f'depthwise_conv3x3 needs x (N, C, H, W) and weight (C, 1, 3, 3), got {tuple(x.shape)} and {tuple(weight.shape)}')
    if torch.is_autocast_enabled(x.device.type):  # one dtype forward and backward
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _Convolve.apply(x, weight, pad_rows)
    return F.conv2d(x, weight, padding=(pad_rows, 1), groups=x.shape[1])


class _Convolve(Function):
    """y = w * x; both gradients are of the kinds in this file."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, pad_rows: int) -> Tensor:
        return F.conv2d(x, weight, padding=(pad_rows, 1), groups=x.shape[1])

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.pad_rows = inputs[2]

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        return (depthwise_conv3x3(grad, weight.flip(2, 3), 2 - ctx.pad_rows) if ctx.needs_input_grad[0] else None,
                _Correlate.apply(x, grad, ctx.pad_rows) if ctx.needs_input_grad[1] else None, None)


class _Correlate(Function):
    """w_c(d) = sum of x_c(p + d) g_c(p) over all images and pixels p: the gradient of the kernel, linear in both images."""

    @staticmethod
    def forward(x: Tensor, grad: Tensor, pad_rows: int) -> Tensor:
        channels = x.shape[1]
        shape_of_kernel = x.new_empty(1).expand(channels, 1, 3, 3)
        return torch.ops.aten.convolution_backward(grad, x, shape_of_kernel, None, [1, 1], [pad_rows, 1], [1, 1], False, [0, 0], channels,
                                                   [False, True, False])[1]

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.pad_rows = inputs[2]

    @staticmethod
    def backward(ctx, kernel: Tensor) -> tuple:
        x, grad = ctx.saved_tensors
        return (depthwise_conv3x3(grad, kernel.flip(2, 3), 2 - ctx.pad_rows) if ctx.needs_input_grad[0] else None,
                depthwise_conv3x3(x, kernel, ctx.pad_rows) if ctx.needs_input_grad[1] else None, None)
