"""Loss of the first batch of a training, by which it can be told later whether the same start is still the same."""

import math
from typing import Optional

import torch
from mmengine.hooks import Hook

from mmfusion.registry import HOOKS

FIRST_LOSS = 'first_loss'


@HOOKS.register_module()
class FirstLossHook(Hook):
    """Keep the loss of the first iteration in the message hub, as ``first_loss``; a run that is resumed keeps the one
    it had.

    Couplings whose step returns several losses keep their sum.
    """

    priority = 'VERY_LOW'

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: Optional[dict] = None) -> None:
        """Look at the first one only."""
        if runner.iter == 0 and outputs:
            losses = [
                float(value.detach() if isinstance(value, torch.Tensor) else value)
                for key, value in outputs.items()
                if _is_total(key, value)
            ]
            if losses and all(map(math.isfinite, losses)):
                runner.message_hub.update_info(FIRST_LOSS, sum(losses))


def _is_total(key: str, value) -> bool:
    number = isinstance(value, (int, float)) or isinstance(value, torch.Tensor) and value.numel() == 1
    return number and key.split('/')[-1] in ('loss', 'total')
