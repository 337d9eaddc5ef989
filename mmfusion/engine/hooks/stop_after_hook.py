"""Train in pieces: stop at the end of an epoch once a time budget is spent."""

import time
from typing import Optional

from mmengine.dist import broadcast_object_list
from mmengine.hooks import Hook

from mmfusion.registry import HOOKS


@HOOKS.register_module()
class StopAfterHook(Hook):
    """End training after the first epoch that finishes later than ``minutes`` after the start.

    The checkpoint hook has saved by then, so the next run with ``--resume`` goes on where this one stopped; with
    ``EpochSeedHook`` the pieces together give the weights of one long run.

    Args:
        minutes: Wall-clock budget of this piece, counted from the beginning of training.

    Raises:
        ValueError: ``minutes`` is not positive.
    """

    # After the checkpoint hook (VERY_LOW), so that the epoch is saved.
    priority = 'LOWEST'

    def __init__(self, minutes: float) -> None:
        if minutes <= 0:
            raise ValueError(f'minutes must be positive, got {minutes}')
        self.minutes = minutes
        self.started: Optional[float] = None

    def before_train(self, runner) -> None:
        """Start the clock."""
        self.started = time.monotonic()

    def after_train_epoch(self, runner) -> None:
        """Ask the loop to stop once the budget is spent."""
        late = [time.monotonic() - self.started > 60 * self.minutes]
        broadcast_object_list(
            late
        )  # all processes follow the first one's clock: a process that goes on alone would wait for ever
        if late[0] and runner.epoch + 1 < runner.max_epochs:
            runner.train_loop.stop_training = True
            runner.logger.info(
                f'Stopped after {self.minutes} minutes, at epoch {runner.epoch + 1} of {runner.max_epochs}; '
                f'resume to go on.'
            )
