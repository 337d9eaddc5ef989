"""Mixed precision without loss scaling, on any device."""

from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import nn

from mmfusion.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Runs the forward pass under bfloat16 autocast.

    bfloat16 has float32's range, so gradients need no scaling. mmengine's ``AmpOptimWrapper`` demands a GPU; this one
    is what ``--amp`` uses on a CPU. Arguments are those of :class:`mmengine.optim.OptimWrapper`.

    Attributes:
        autocast_dtype: Type of the autocast.
    """

    autocast_dtype = torch.bfloat16

    @contextmanager
    def optim_context(self, model: nn.Module):
        """The forward pass of ``model`` under autocast."""
        with super().optim_context(model), torch.autocast(device_type=get_device(), dtype=self.autocast_dtype):
            yield
