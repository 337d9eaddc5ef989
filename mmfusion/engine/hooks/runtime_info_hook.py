"""The hook that every runner has, with what the training of couplings depends on."""

from typing import List, Optional

import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import all_reduce_params, get_world_size
from mmengine.hooks import CheckpointHook, Hook, SyncBuffersHook
from mmengine.hooks import RuntimeInfoHook as MMEngineRuntimeInfoHook

from mmfusion.engine.loops.check_loop import check_loop
from mmfusion.engine.optim_wrappers import clip_by_part
from mmfusion.registry import HOOKS
from mmfusion.utils.unwrap import unwrap

from .checkpoint_hook import use_whole_checkpoints
from .epoch_seed_hook import EpochSeedHook
from .sync_learned_buffers_hook import learned_buffers


def iterations_per_epoch(dataloader) -> Optional[int]:
    """Iterations in which all processes together see as many samples as the data set has; None where it has no length.

    That is the length of the dataloader, except with mmengine's ``InfiniteSampler``, which in each process says the
    length of the whole data set.
    """
    try:
        length = len(dataloader)
    except TypeError:
        return None
    if isinstance(getattr(dataloader, 'sampler', None), InfiniteSampler) and dataloader.batch_size:
        length = -(-len(dataloader.dataset) // (dataloader.batch_size * get_world_size()))
    return max(length, 1)


@HOOKS.register_module()
class RuntimeInfoHook(MMEngineRuntimeInfoHook):
    """mmengine's ``RuntimeInfoHook``, which besides does what must not be forgotten when a coupling is trained.

    Every runner of mmengine has a ``RuntimeInfoHook`` among its default hooks and looks it up in the default scope
    first, so with ``default_scope='mmfusion'`` it is this one, whatever list of ``custom_hooks`` a config has and
    whoever builds the runner. (In another scope: ``default_hooks =
    dict(runtime_info=dict(type='mmfusion.RuntimeInfoHook'))``.) It

    - tells the model the epoch, counted from 0, where it has ``set_epoch``. In training by iterations that is the
      number of the iteration over :func:`iterations_per_epoch`, so schedules of networks and losses (the warm-up of
      TC-MoA) advance there as well;
    - seeds each epoch as ``EpochSeedHook``;
    - averages the buffers of what learns over processes as ``SyncLearnedBuffersHook``: after each epoch, and in
      training by iterations before a validation or a checkpoint, so that all processes validate and save one network;
    - lets optimizers clip gradients by part of the coupling (``clip_by_part``);
    - lets a ``CheckpointHook`` that the config names by mmengine's class be ours (``use_whole_checkpoints``);
    - refuses a loop, optimizers or a wrapper that would train a coupling otherwise than its rule says (``check_loop``).

    ``EpochSeedHook``, ``SyncBuffersHook`` and ``mmdet.SetEpochInfoHook`` may still be in ``custom_hooks``; nothing is
    done twice.

    Args:
        seed_epochs: False leaves random numbers alone.
        sync_buffers: False leaves the buffers of the processes apart.
    """

    def __init__(self, seed_epochs: bool = True, sync_buffers: bool = True) -> None:
        self.seed_epochs, self.sync_buffers = seed_epochs, sync_buffers
        self._seed: List[Hook] = []
        self._training, self._length, self._synced = False, None, None

    def before_train(self, runner) -> None:
        """Check and prepare the training."""
        super().before_train(runner)
        use_whole_checkpoints(runner)
        check_loop(runner.model, runner.train_loop, runner.optim_wrapper)
        if hasattr(unwrap(runner.model), 'averages_gradients'):
            clip_by_part(runner.model, runner.optim_wrapper)
        self._seed = [EpochSeedHook()] if self.seed_epochs and not _has(runner, EpochSeedHook) else []
        self._training, self._length = True, iterations_per_epoch(runner.train_dataloader)
        for hook in self._seed:
            hook.before_train(runner)

    def after_train(self, runner) -> None:
        """Validation from here on is none of a training."""
        super().after_train(runner)
        self._training = False

    def before_train_epoch(self, runner) -> None:
        """Seed, and tell the epoch."""
        super().before_train_epoch(runner)
        for hook in self._seed:
            hook.before_train_epoch(runner)
        self._set_epoch(runner)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Tell the epoch again where iterations make epochs."""
        super().before_train_iter(runner, batch_idx, data_batch)
        if by_iterations(runner):
            self._set_epoch(runner)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: Optional[dict] = None) -> None:
        """Average buffers before a checkpoint that is written after this iteration."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if any(
            self.every_n_train_iters(runner, hook.interval) or self.is_last_train_iter(runner)
            for hook in runner.hooks
            if isinstance(hook, CheckpointHook) and not hook.by_epoch
        ):
            self._sync(runner, runner.iter + 1)

    def after_train_epoch(self, runner) -> None:
        """Average buffers."""
        if not _has(runner, SyncBuffersHook):
            self._sync(runner, runner.iter)

    def before_val_epoch(self, runner) -> None:
        """Average buffers, unless nothing was trained since the last time."""
        if self._training and not _has(runner, SyncBuffersHook):
            self._sync(runner, runner.iter)

    def _set_epoch(self, runner) -> None:
        model = unwrap(runner.model)
        if hasattr(model, 'set_epoch'):
            made_of_iterations = by_iterations(runner) and self._length
            model.set_epoch(runner.iter // self._length if made_of_iterations else runner.epoch)

    @torch.no_grad()
    def _sync(self, runner, iteration: int) -> None:
        if self.sync_buffers and get_world_size() > 1 and self._synced != iteration:
            all_reduce_params(learned_buffers(runner), op='mean')
            self._synced = iteration


def _has(runner, kind: type) -> bool:
    return any(isinstance(hook, kind) for hook in runner.hooks)


def by_iterations(runner) -> bool:
    """Whether the loop is one for iterations, which to mmengine is a single epoch."""
    return not hasattr(runner.train_loop, 'run_epoch')
