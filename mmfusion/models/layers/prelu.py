"""PReLU with one slope for all channels, whose backward pass is as fast as other activations on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from mmfusion.utils.compat import traced


class PReLU(nn.PReLU):
    r"""``nn.PReLU`` with one slope: :math:`y = \max(x, 0) + a \min(x, 0)`.

    PyTorch's gradient on a CPU writes the part of every pixel in the gradient of the slope before it adds them up, and
    reads the slope anew for each: on features in ``channels_last`` it takes about ten times the forward pass. This one,
    of any order, has the same numbers to rounding. Where it does not apply (other devices, mixed precision,
    ``torch.compile``, ``torch.func``), PyTorch's runs.

    Args:
        init: Slope at first.

    Examples:
        >>> PReLU()(torch.tensor([-2., 3.])).tolist()
        [-0.5, 3.0]
    """

    def __init__(self, init: float = 0.25) -> None:
        super().__init__(1, init)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, floating."""
        fast = x.device.type == 'cpu' and x.dtype == self.weight.dtype and torch.is_grad_enabled()
        if not fast or traced():
            return super().forward(x)
        return _Rectify.apply(x, self.weight)


class _Rectify(Function):
    """Forward as it is; backward with the slope as a number."""

    @staticmethod
    def forward(x: Tensor, slope: Tensor) -> Tensor:
        return F.prelu(x, slope)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        x, slope = ctx.saved_tensors
        of_x = of_slope = None
        if torch.is_grad_enabled():  # will be differentiated itself
            return torch.where(x > 0, grad, slope * grad), (grad * x.clamp(max=0)).sum().view(1)
        if ctx.needs_input_grad[0]:
            of_x = torch.ops.aten.leaky_relu_backward(grad, x, slope.item(), False)
        if ctx.needs_input_grad[1]:
            of_slope = x.clamp(max=0).mul_(grad).sum().view(1)
        return of_x, of_slope
