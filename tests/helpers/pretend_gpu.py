"""The branch of the metrics that runs on a GPU, on a machine without one."""

import torch
from torch import Tensor


class PretendGpu(Tensor):
    """A CPU tensor that says it is on a GPU, and so do the results of its operations."""

    is_cuda = True


def pretend_gpu(image: Tensor) -> Tensor:
    """The same values; code that asks for ``is_cuda`` takes its GPU branch."""
    return torch.clone(image).as_subclass(PretendGpu)
