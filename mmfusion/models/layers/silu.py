"""SiLU of networks of other packages, in as few passes as PyTorch has for it."""

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.swish import Swish
from torch import Tensor, nn


class InferenceInPlaceSiLU(nn.SiLU):
    """``nn.SiLU``, in place where nothing learns.

    Its gradient needs its input, of which PyTorch keeps a copy when the input is overwritten: no memory is saved, and a
    pass over it is lost.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, floating."""
        return F.silu(x, inplace=not torch.is_grad_enabled())


def in_one_pass(network: nn.Module) -> nn.Module:
    r"""Let the activations :math:`x \sigma(x)` of a network be one operation.

    mmcv's ``Swish`` is two, forward, and four backward. It becomes ``nn.SiLU``, and ``nn.SiLU(inplace=True)`` becomes
    one that works in place in inference only. Neither has weights, and results are the same to rounding.

    Args:
        network: Any module; its activations are replaced in place. Subclasses of them are left alone.

    Returns:
        The same module.

    Examples:
        >>> in_one_pass(nn.Sequential(nn.BatchNorm2d(2), Swish()))[1]
        SiLU()
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is Swish:
                setattr(module, name, nn.SiLU())
            elif type(child) is nn.SiLU and child.inplace:
                setattr(module, name, InferenceInPlaceSiLU(inplace=True))
    return network
