"""An epoch of two phases: first the loss learns, then the networks learn from it."""

import time
from itertools import islice
from typing import Dict, Iterator, Tuple

from mmengine.hooks import IterTimerHook

from mmfusion.registry import LOOPS
from mmfusion.utils import UserError
from mmfusion.utils.compat import count_elapsed

from .coupling_train_loop import CouplingTrainLoop


@LOOPS.register_module()
class MetaTrainLoop(CouplingTrainLoop):
    """Epochs for ``MetaCoupling``: meta steps on part of a shuffled pass over the training set, then the whole set
    once.

    Phase 1 takes the batches of a shuffled pass two by two, one for the inner and one for the outer problem, so that
    the two sets share no sample. Its order is another than that of phase 2. Phase 2 is an epoch as mmengine's
    ``EpochBasedTrainLoop`` runs it, and the only one that counts iterations: learning rates that change by iteration,
    hooks and logs see the same epoch as in any other training. Values of the meta steps are logged as ``meta.*``: every
    ``log_interval`` steps on the console and in the visualizer's backends, and as means beside the losses of phase 2.

    Hooks may have ``before_meta_epoch(runner, meta_steps)``, ``after_meta_iter(runner, batch_idx, outputs)`` and
    ``after_meta_epoch(runner)``. All random numbers come from the epoch (``EpochSeedHook``), so a run resumed after an
    epoch repeats an uninterrupted one.

    Args:
        runner: The runner.
        dataloader: Dataloader or its config.
        meta_steps: Steps of phase 1, each of two batches; fewer when the training set has fewer batches.
        cycle: Begin another shuffled pass instead when the batches are used up.
        meta_begin: First epoch with a phase 1, counted from 1.
        meta_interval: Epochs from one phase 1 to the next.
        log_interval: Meta steps between two lines of the log.
        kwargs: ``max_epochs``, ``val_begin``, ``val_interval``, ``dynamic_intervals`` of ``EpochBasedTrainLoop``.

    Raises:
        ValueError: A number is out of range.
        UserError: The model has no meta step, or the training set does not even make two batches.
    """

    def __init__(
        self,
        runner,
        dataloader,
        meta_steps: int = 200,
        cycle: bool = False,
        meta_begin: int = 1,
        meta_interval: int = 1,
        log_interval: int = 50,
        **kwargs,
    ) -> None:
        for name, value in dict(
            meta_steps=meta_steps, meta_begin=meta_begin, meta_interval=meta_interval, log_interval=log_interval
        ).items():
            if value < 1:
                raise ValueError(f'MetaTrainLoop: {name} must be at least 1, got {value}')
        super().__init__(runner, dataloader, **kwargs)
        self.meta_steps, self.cycle = int(meta_steps), cycle
        self.meta_begin, self.meta_interval, self.log_interval = meta_begin, meta_interval, log_interval

    def run(self):
        """Launch training."""
        if not hasattr(self.model, 'meta_step'):
            raise UserError(
                f'MetaTrainLoop trains a MetaCoupling; {type(self.model).__name__} has no meta step: '
                f"use type='{self.fitting_loop}'"
            )
        if len(self.dataloader) < 2:
            raise UserError(
                f'MetaTrainLoop needs at least two batches, one to learn from and one to judge by; '
                f'train_dataloader has {len(self.dataloader)}: lower batch_size or take more pairs'
            )
        available = len(self.dataloader) // 2
        if available < self.meta_steps:
            self.runner.logger.info(
                f'meta_steps={self.meta_steps} needs {2 * self.meta_steps} batches of a pass, '
                f'and the training set makes {len(self.dataloader)}: '
                + (
                    'phase 1 goes over it several times (cycle=True)'
                    if self.cycle
                    else f'phase 1 takes {available} steps per epoch (cycle=True would repeat batches)'
                )
            )
        return super().run()

    def steps_of_epoch(self, epoch: int) -> int:
        """Meta steps of an epoch, counted from 0."""
        if epoch + 1 < self.meta_begin or (epoch + 1 - self.meta_begin) % self.meta_interval:
            return 0
        return self.meta_steps if self.cycle else min(self.meta_steps, len(self.dataloader) // 2)

    def run_epoch(self) -> None:
        """Phase 1, then phase 2."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        self._meta_epoch(self.steps_of_epoch(self._epoch))
        for idx, data_batch in enumerate(self.dataloader):
            self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _meta_epoch(self, steps: int) -> None:
        if not steps:
            return
        start = time.time()
        self.runner.call_hook('before_meta_epoch', meta_steps=steps)
        for index, (inner, outer) in enumerate(islice(self._pairs_of_batches(), steps)):
            self.model.loss_check.phase = f'meta step {index + 1}'
            outputs = self.model.meta_step(inner, outer, self.runner.optim_wrapper)
            self.runner.message_hub.update_scalars({f'train/{name}': value for name, value in outputs.items()})
            self.runner.call_hook('after_meta_iter', batch_idx=index, outputs=outputs)
            if (index + 1) % self.log_interval == 0 or index + 1 == steps:
                self._log(index + 1, steps, list(outputs))
        self.model.loss_check.phase = None
        self._set_sampler_epoch(self._epoch)
        self.runner.call_hook('after_meta_epoch')
        for hook in self.runner.hooks:
            if isinstance(hook, IterTimerHook):  # part of the time to go, but of no iteration
                count_elapsed(hook, time.time() - start)

    def _pairs_of_batches(self) -> Iterator[Tuple[dict, dict]]:
        """Batches of shuffled passes, two by two; every pass has an order that no epoch of phase 2 has."""
        for turn in range(self.meta_steps):
            self._set_sampler_epoch(self._max_epochs * (1 + turn) + self._epoch)
            batches = iter(self.dataloader)
            yield from zip(batches, batches)

    def _set_sampler_epoch(self, epoch: int) -> None:
        for owner in (self.dataloader, getattr(self.dataloader, 'batch_sampler', None)):
            sampler = getattr(owner, 'sampler', None)
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(epoch)

    def _log(self, done: int, steps: int, names: list) -> None:
        """Means since the line before, on the console and in the backends."""
        window = (done - 1) % self.log_interval + 1
        hub = self.runner.message_hub
        values: Dict[str, float] = {name: hub.get_scalar(f'train/{name}').mean(window) for name in names}
        eta = self.runner.optim_wrapper['fuser'].get_lr()['lr'][0]
        text = '  '.join(
            f'{name}: {value:.3e}' if 0 < abs(value) < 1e-3 else f'{name}: {value:.4f}'
            for name, value in values.items()
        )
        self.runner.logger.info(f'Epoch(meta) [{self._epoch + 1}][{done}/{steps}]  lr: {eta:.3e}  {text}')
        scalars = {**values, 'meta.lr': eta, 'meta.step': self._epoch * self.meta_steps + done}
        self.runner.visualizer.add_scalars(scalars, step=scalars['meta.step'])
