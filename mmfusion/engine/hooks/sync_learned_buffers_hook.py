"""Batch norm statistics averaged over processes, those of frozen networks left alone."""

from typing import List

from mmengine.dist import all_reduce_params
from mmengine.hooks import SyncBuffersHook
from mmengine.runner import Runner
from torch import Tensor

from mmfusion.registry import HOOKS


def learned_buffers(runner: Runner) -> List[Tensor]:
    """Buffers of all modules that are in training mode."""
    buffers = (
        buffer for module in runner.model.modules() if module.training for buffer in module.buffers(recurse=False)
    )
    return list({id(buffer): buffer for buffer in buffers}.values())


@HOOKS.register_module()
class SyncLearnedBuffersHook(SyncBuffersHook):
    """mmengine's hook for the modules that are in training mode; what is frozen is in evaluation mode, and its buffers
    stay bit by bit.

    The mean of equal numbers is not always that number: over three processes it is off by one in the last place for
    some, so that a network meant to stay as loaded would drift.
    """

    def before_val_epoch(self, runner: Runner) -> None:
        """Average before a validation, unless the end of an epoch has done so."""
        if self.distributed:
            if not self.called_in_train:
                all_reduce_params(learned_buffers(runner), op='mean')
            self.called_in_train = False

    def after_train_epoch(self, runner: Runner) -> None:
        """Average at the end of an epoch."""
        if self.distributed:
            all_reduce_params(learned_buffers(runner), op='mean')
            self.called_in_train = True
