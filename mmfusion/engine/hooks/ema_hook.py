"""Averaged weights that outlive the training they were made in."""

from mmengine.hooks import EMAHook as MMEngineEMAHook
from mmengine.registry import HOOKS as MMENGINE_HOOKS

from mmfusion.registry import HOOKS
from mmfusion.utils.unwrap import unwrap


@MMENGINE_HOOKS.register_module(name='EMAHook', force=True)  # also for configs in another scope, and mmengine.EMAHook
@HOOKS.register_module()
class EMAHook(MMEngineEMAHook):
    """mmengine's ``EMAHook``, with which ``runner.test()`` after ``runner.train()`` tests the averaged weights.

    mmengine begins the average anew in ``before_run``, which a runner calls before each training, validation and test:
    a test by the runner that has just trained then sees the weights as they are at the end, while the checkpoint holds
    the averaged ones. Here the average of a model is begun once. Arguments are those of mmengine's hook.
    """

    src_model = None

    def before_run(self, runner) -> None:
        """Begin the average, unless there is one of this model."""
        if self.src_model is not unwrap(runner.model):
            super().before_run(runner)
