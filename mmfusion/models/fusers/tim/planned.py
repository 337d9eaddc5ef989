"""Cache of inference steps: the choice between layers and steps, and the lifetime of steps for given weights."""
from itertools import chain
from typing import Callable, Optional

import torch
from torch import Tensor, nn

from mmfusion.models.layers.strips import must_stay_whole

from .operations import BatchNorm


class Planned:
    """Keeps what a network made of its weights for inference.

    It is thrown away when the network is trained, set to either mode, or moved, and when a parameter or a buffer changes in place or is replaced.
    """

    _plan = None
    _plan_key = None

    def plan(self, x: Tensor, build: Callable[[], object]) -> Optional[object]:
        """What ``build()`` returned for the present weights; None where the network has to run layer by layer.

        That is with gradients, on a GPU, in training mode, under autocast, while a graph is traced, with batch norms that use statistics of images,
        where somebody listens to a layer by a hook, and for an empty batch.
        """
        layers = torch.is_grad_enabled() or self.training or x.device.type != 'cpu' or not x.numel() or must_stay_whole()
        if layers or any(map(_needs_layers, self.modules())):
            self._plan = None
            return None
        tensors = list(chain(self.parameters(), self.buffers()))
        key = None
        if not any(value.is_inference() for value in tensors):  # those do not count their changes
            key = tuple((value.data_ptr(), value._version) for value in tensors)
        if self._plan is None or key is None or key != self._plan_key:
            with torch.inference_mode(False), torch.no_grad():
                self._plan, self._plan_key = build(), key
        return self._plan

    def train(self, mode: bool = True):
        """Set training or evaluation mode. Weights may have changed unseen since the last time, so what was made of them is forgotten."""
        self._plan = None
        return super().train(mode)

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_plan': None}


def _needs_layers(module: nn.Module) -> bool:
    statistics = isinstance(module, BatchNorm) and (module.image_statistics or module.training)
    return statistics or bool(module._forward_hooks or module._forward_pre_hooks)
