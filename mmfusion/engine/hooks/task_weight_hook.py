"""A schedule for the weight of a task's losses."""

from typing import Optional

from mmengine.hooks import Hook

from mmfusion.registry import HOOKS
from mmfusion.utils.errors import InputError
from mmfusion.utils.unwrap import unwrap

from .runtime_info_hook import by_iterations, iterations_per_epoch


def linear_factor(progress: float, start: float, end: float, begin: float, finish: float) -> float:
    """``start`` up to ``begin``, ``end`` from ``finish`` on, linear between.

    Examples:
        >>> [linear_factor(p, 0., 1., begin=2, finish=6) for p in (0, 2, 4, 6, 9)]
        [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    if progress >= finish:
        return end
    if progress <= begin:
        return start
    return start + (end - start) * (progress - begin) / (finish - begin)


@HOOKS.register_module()
class TaskWeightHook(Hook):
    """Multiplies a coupling's ``task_weights[task]`` by a factor that changes linearly during training.

    The weight is a pure function of the epoch (or iteration) and the config, so that a resumed run has it right without
    any saved state.

    Args:
        task: Name of the task in the coupling.
        start_factor: Factor up to ``begin``.
        end_factor: Factor from ``end`` on.
        begin: Epoch (iteration), counted from 0, at which the change begins.
        end: Epoch (iteration) from which on ``end_factor`` holds; None for the end of the training.
        by_epoch: Count in epochs; otherwise in iterations. In a loop by iterations, epochs are those of
            ``iterations_per_epoch``.

    Raises:
        ValueError: ``end`` is not after ``begin``, a factor is negative, or the model has no such task.
    """

    def __init__(
        self,
        task: str,
        start_factor: float = 0.0,
        end_factor: float = 1.0,
        begin: int = 0,
        end: Optional[int] = None,
        by_epoch: bool = True,
    ):
        if end is not None and end <= begin:
            raise ValueError(f'TaskWeightHook: end ({end}) must be after begin ({begin})')
        if min(start_factor, end_factor) < 0:
            raise ValueError(f'TaskWeightHook: factors must not be negative, got {start_factor} and {end_factor}')
        self.task, self.begin, self.end, self.by_epoch = task, begin, end, by_epoch
        self.start_factor, self.end_factor = start_factor, end_factor
        self.base: Optional[float] = None

    def before_train(self, runner) -> None:
        """Remember the configured weight."""
        weights = self._weights(runner)
        if self.base is None:  # the configured weight, before any change
            self.base = float(weights[self.task])

    def before_train_epoch(self, runner) -> None:
        """Set the weight of the epoch."""
        if self.by_epoch:
            self._apply(runner, runner.epoch, runner.max_epochs)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Set the weight of the iteration, and that of the epoch where iterations make epochs."""
        if not self.by_epoch:
            self._apply(runner, runner.iter, runner.max_iters)
        elif by_iterations(runner) and (length := iterations_per_epoch(runner.train_dataloader)):
            self._apply(runner, runner.iter // length, -(-runner.max_iters // length))

    def _apply(self, runner, progress: int, total: int) -> None:
        finish = total if self.end is None else self.end
        factor = linear_factor(progress, self.start_factor, self.end_factor, self.begin, finish)
        self._weights(runner)[self.task] = self.base * factor

    def _weights(self, runner) -> dict:
        model = unwrap(runner.model)
        weights = getattr(model, 'task_weights', None)
        if weights is None or self.task not in weights:
            found = f'its tasks are {sorted(weights)}' if weights is not None else 'it has no task_weights'
            raise InputError(f'TaskWeightHook: {type(model).__name__} has no task {self.task!r}; {found}')
        return weights
