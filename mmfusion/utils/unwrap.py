"""The model inside a wrapper for distributed training."""

from mmengine.model import is_model_wrapper
from torch import nn


def unwrap(model: nn.Module) -> nn.Module:
    """The model itself, where DistributedDataParallel or another wrapper that mmengine knows is around it.

    Examples:
        >>> model = nn.Linear(1, 1)
        >>> unwrap(model) is model and unwrap(nn.DataParallel(model)) is model
        True
    """
    return model.module if is_model_wrapper(model) else model
