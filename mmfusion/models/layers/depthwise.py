"""Depthwise 3x3 convolution whose derivatives of every order are as fast as itself."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


def depthwise_conv3x3(x: Tensor, weight: Tensor, pad_rows: int = 1, dilation: int = 1) -> Tensor:
    r"""Convolve each channel with its own 3x3 kernel; stride 1, zero padding of ``dilation`` columns at each side, no
    bias.

    .. math:: y_c(p) = \sum_d w_c(d)\, x_c(p + r d), \quad d \in \{-1, 0, 1\}^2

    with the dilation r. The same function as ``conv2d(x, weight, padding=(r pad_rows, r), dilation=r, groups=C)``. Its
    derivatives are convolutions of the same kind and correlations of two images, and both are written as such here, so
    that a gradient of a gradient takes the same kernels. PyTorch's own second derivative of a grouped convolution goes
    through the channels one by one, and on a CPU its first one of a dilated convolution takes ten times that of a dense
    one.

    Args:
        x: (N, C, H, W) floating; ``channels_last`` is the fast layout on a CPU.
        weight: (C, 1, 3, 3).
        pad_rows: Rows of zeros above and below the images, 0 to 2; 1 with a dilation.
        dilation: r.

    Returns:
        Tensor: (N, C, H + 2 pad_rows - 2, W).

    Raises:
        ValueError: Shapes that do not fit.

    Examples:
        >>> depthwise_conv3x3(torch.ones(1, 2, 5, 5), torch.ones(2, 1, 3, 3))[0, 0, 0].tolist()
        [4.0, 6.0, 6.0, 6.0, 4.0]
    """
    if x.dim() != 4 or weight.shape != (x.shape[1], 1, 3, 3):
        raise ValueError(
            f'depthwise_conv3x3 needs x (N, C, H, W) and weight (C, 1, 3, 3), got {tuple(x.shape)} and '
            f'{tuple(weight.shape)}'
        )
    if dilation < 1 or (dilation > 1 and pad_rows != 1):
        raise ValueError(
            f'depthwise_conv3x3 takes a dilation from 1 on, above 1 with pad_rows=1 only, got dilation={dilation}, '
            f'pad_rows={pad_rows}'
        )
    if torch.is_autocast_enabled(x.device.type):  # one dtype forward and backward
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _Convolve.apply(x, weight, pad_rows, dilation)
    return _convolve(x, weight, pad_rows, dilation)


def _convolve(x: Tensor, weight: Tensor, pad_rows: int, dilation: int) -> Tensor:
    return F.conv2d(x, weight, padding=(dilation * pad_rows, dilation), dilation=dilation, groups=x.shape[1])


def _phases(x: Tensor, step: int) -> Tensor:
    """Every ``step``-th row and column of (N, C, H, W) as images of their own, (N step^2, C, H / step, W / step),
    filled up with zeros.

    A convolution dilated by ``step`` is a dense one of each. Channels stay innermost in memory.
    """
    if step == 1:
        return x
    height, width = x.shape[-2:]
    x = F.pad(x, (0, -width % step, 0, -height % step)).permute(0, 2, 3, 1)  # (N, H, W, C)
    x = (
        x.unflatten(2, (-1, step)).unflatten(1, (-1, step)).permute(0, 2, 4, 1, 3, 5)
    )  # (N, step, step, H / step, W / step, C)
    return x.reshape(-1, *x.shape[3:]).permute(0, 3, 1, 2)


class _Convolve(Function):
    """y = w * x; both gradients are of the kinds in this file."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, pad_rows: int, dilation: int) -> Tensor:
        return _convolve(x, weight, pad_rows, dilation)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.pad_rows, ctx.dilation = inputs[2:]

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        return (
            depthwise_conv3x3(grad, weight.flip(2, 3), 2 - ctx.pad_rows, ctx.dilation)
            if ctx.needs_input_grad[0]
            else None,
            _Correlate.apply(x, grad, ctx.pad_rows, ctx.dilation) if ctx.needs_input_grad[1] else None,
            None,
            None,
        )


class _Correlate(Function):
    """w_c(d) = sum of x_c(p + r d) g_c(p) over all images and pixels p: the gradient of the kernel, linear in both
    images.
    """

    @staticmethod
    def forward(x: Tensor, grad: Tensor, pad_rows: int, dilation: int) -> Tensor:
        x, grad = _phases(x, dilation), _phases(grad, dilation)
        channels = x.shape[1]
        shape_of_kernel = x.new_empty(1).expand(channels, 1, 3, 3)
        return torch.ops.aten.convolution_backward(
            grad, x, shape_of_kernel, None, [1, 1], [pad_rows, 1], [1, 1], False, [0, 0], channels, [False, True, False]
        )[1]

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.pad_rows, ctx.dilation = inputs[2:]

    @staticmethod
    def backward(ctx, kernel: Tensor) -> tuple:
        x, grad = ctx.saved_tensors
        return (
            depthwise_conv3x3(grad, kernel.flip(2, 3), 2 - ctx.pad_rows, ctx.dilation)
            if ctx.needs_input_grad[0]
            else None,
            depthwise_conv3x3(x, kernel, ctx.pad_rows, ctx.dilation) if ctx.needs_input_grad[1] else None,
            None,
            None,
        )
