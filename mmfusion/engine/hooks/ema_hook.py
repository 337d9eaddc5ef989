"""Averaged weights that outlive the training they were made in."""

from types import MethodType

import torch
from mmengine.hooks import EMAHook as MMEngineEMAHook
from mmengine.model import BaseAveragedModel, ExponentialMovingAverage
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from torch import nn

from mmfusion.registry import HOOKS
from mmfusion.utils.unwrap import unwrap


@MMENGINE_HOOKS.register_module(name='EMAHook', force=True)  # also for configs in another scope, and mmengine.EMAHook
@HOOKS.register_module()
class EMAHook(MMEngineEMAHook):
    """mmengine's ``EMAHook``, with which ``runner.test()`` after ``runner.train()`` tests the averaged weights.

    mmengine begins the average anew in ``before_run``, which a runner calls before each training, validation and test:
    a test by the runner that has just trained then sees the weights as they are at the end, while the checkpoint holds
    the averaged ones. Here the average of a model is begun once. Moving averages are updated in one call for all
    weights. Arguments are those of mmengine's hook.
    """

    src_model = None

    def before_run(self, runner) -> None:
        """Begin the average, unless there is one of this model."""
        if self.src_model is not unwrap(runner.model):
            super().before_run(runner)
            update_at_once(self.ema_model)


def update_at_once(average: BaseAveragedModel) -> None:
    """Let a moving average update all its weights in one call, with the same numbers.

    mmengine goes through them one by one, and its step count, on the device, is read for each. Only kinds are changed
    whose update is known to be ``average.lerp_(weight, momentum)``: mmengine's ``ExponentialMovingAverage`` and mmdet's
    ``ExpMomentumEMA``, which subclasses may extend otherwise.

    Args:
        average: The averaged model, changed in place.
    """
    from mmdet.models.layers import ExpMomentumEMA

    if type(average) in (ExponentialMovingAverage, ExpMomentumEMA):
        average.update_parameters = MethodType(_update_parameters, average)


@torch.no_grad()
def _update_parameters(average: BaseAveragedModel, model: nn.Module) -> None:
    steps = average.steps.item()
    if steps == 0 or steps % average.interval != 0:
        type(average).update_parameters(average, model)
        return
    averages = average.avg_parameters
    weights = model.state_dict() if average.update_buffers else dict(model.named_parameters())
    names = [name for name, value in averages.items() if value.dtype.is_floating_point]
    # The library's own formula says how far: from 0 toward 1.
    momentum = torch.zeros((), dtype=torch.float64)
    average.avg_func(momentum, torch.ones_like(momentum), steps)
    torch._foreach_lerp_(
        [averages[name].data for name in names],
        [weights[name].data.to(averages[name].device) for name in names],
        momentum.item(),
    )
    if not average.update_buffers:
        for own, value in zip(average.module.buffers(), model.buffers()):
            own.data.copy_(value.data.to(own.device))
    average.steps += 1
