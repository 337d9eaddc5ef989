"""Checkpoints that are whole or absent, and from which training goes on exactly."""

from collections import deque
from pathlib import Path
from typing import Dict, List, Optional

import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank, get_world_size, is_main_process
from mmengine.fileio import get_file_backend
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from mmfusion.fileio import write_text
from mmfusion.fileio.backend import WholeLocalBackend  # noqa: F401 - importing it registers it
from mmfusion.registry import HOOKS
from mmfusion.utils import NonFiniteError, UserError
from mmfusion.utils.compat import accumulative_counts, decide_val_interval
from mmfusion.utils.unwrap import unwrap

GRADIENTS = 'gradients'  # key in a checkpoint
VALIDATED, OUTDATED_BEST = 'validated_step', 'outdated_best_ckpts'  # keys in the message hub


@MMENGINE_HOOKS.register_module(
    name='CheckpointHook', force=True
)  # also for configs in another scope, and for mmengine.CheckpointHook
@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's hook, made safe: a run that dies at any moment, or meets a full disk, has a whole checkpoint to go on
    from.

    It takes the place of mmengine's hook under the same name. Arguments, file names and what a checkpoint holds are the
    same, except that

    - a former checkpoint, the best one too, is removed only when the new one is whole and ``last_checkpoint`` points to
      it; mmengine removes it first. Disk space for one checkpoint more than ``max_keep_ckpts`` is needed for a moment;
    - a checkpoint between two steps of the optimizer (``accumulative_counts`` that does not divide the epoch) holds the
      gradients gathered so far;
    - a run that was cut off before or in the validation that belongs to its last checkpoint does that validation first
      when it is resumed;
    - weights that are not finite are never saved.

    Args:
        kwargs: Arguments of :class:`mmengine.hooks.CheckpointHook`.

    Raises:
        UserError: At the start of training, when checkpoints by iteration would lie inside an epoch, where exact
            resuming is not possible; or when ``save_best`` names no metric of the validation.
        NonFiniteError: A weight is NaN or infinite.
    """

    def before_train(self, runner: Runner) -> None:
        """Look after what an interrupted run left, and do the validation that it did not come to."""
        if not self.by_epoch and hasattr(runner.train_loop, 'run_epoch'):
            raise UserError(
                'CheckpointHook(by_epoch=False) saves inside an epoch, from where training cannot go on exactly: set '
                'default_hooks.checkpoint.by_epoch=True, or train by iterations with '
                "train_cfg.type='IterBasedTrainLoop'"
            )
        super().before_train(runner)
        if self.file_client_args is not None and self.file_client.name == 'HardDiskBackend':
            self.file_client_args, self.file_backend = (
                None,
                get_file_backend(self.out_dir),
            )  # the same, under its former name
        self._gradients: Optional[List[Dict[str, Tensor]]] = None
        if not (runner.epoch or runner.iter):
            return
        self.last_ckpt = runner.message_hub.runtime_info.get('last_ckpt')
        in_use = self._best_paths().values()
        self._remove([path for path in runner.message_hub.runtime_info.get(OUTDATED_BEST, []) if path not in in_use])
        self._restore_gradients(runner)
        if self._validation_is_due(runner):
            runner.logger.info(
                f'resumed before the validation of {"epoch" if self.by_epoch else "iteration"} '
                f'{self._step(runner)} was done: '
                'it comes first'
            )
            # as it was at the end of that step: best checkpoints keep it
            runner.message_hub.update_info_dict(dict(epoch=runner.epoch - int(self.by_epoch), iter=runner.iter - 1))
            runner.val_loop.run()

    # Saving ---------------------------------------------------------------------------------------------------------

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        check_weights(runner)
        outdated: List[int] = []
        if self.max_keep_ckpts > 0:
            ids = list(self.keep_ckpt_ids)
            if not ids or ids[-1] != step:
                ids.append(step)
                # with those that go afterwards: should this run end before that, the resumed one removes them
                runner.message_hub.update_info('keep_ckpt_ids', list(ids))
            outdated, ids = ids[: -self.max_keep_ckpts], ids[-self.max_keep_ckpts :]
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._gradients = gathered_gradients(runner) if self.save_optimizer else None
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        self._gradients = None
        if is_main_process():
            write_text(Path(runner.work_dir) / 'last_checkpoint', self.last_ckpt)
            self._remove(
                [self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old)) for old in outdated]
            )
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids = deque(ids, self.max_keep_ckpts)
            runner.message_hub.update_info('keep_ckpt_ids', ids)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add gradients of steps that are not complete."""
        if getattr(self, '_gradients', None) and 'optimizer' in checkpoint:
            checkpoint[GRADIENTS] = self._gradients

    def after_val_epoch(self, runner: Runner, metrics: Dict[str, float]) -> None:
        """Remember that this validation is done; save the best checkpoint."""
        runner.message_hub.update_info(VALIDATED, self._step(runner))
        super().after_val_epoch(runner, metrics)

    def _save_best_checkpoint(self, runner: Runner, metrics: Dict[str, float]) -> None:
        if not self.save_best:
            return
        unknown = [key for key in self.key_indicators if key != 'auto' and key not in metrics]
        if unknown:
            raise UserError(
                f'CheckpointHook: save_best={unknown[0]!r} is no metric of the validation; there are '
                f'{", ".join(metrics)}'
            )
        check_weights(runner)
        former = self._best_paths()
        runner.message_hub.update_info(OUTDATED_BEST, list(former.values()))
        self._set_best_paths(dict.fromkeys(former))  # mmengine would remove them before it saves
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            now = self._best_paths()
            self._set_best_paths({**former, **now})
        self._remove([path for key, path in former.items() if now.get(key, path) != path])

    def _best_paths(self) -> Dict[str, str]:
        """Best checkpoints by metric; ``''`` where there is one metric alone."""
        paths = getattr(self, 'best_ckpt_path_dict', None)
        paths = {'': getattr(self, 'best_ckpt_path', None)} if paths is None else paths
        return {key: str(path) for key, path in paths.items() if path}

    def _set_best_paths(self, paths: Dict[str, Optional[str]]) -> None:
        if hasattr(self, 'best_ckpt_path_dict'):
            self.best_ckpt_path_dict.update(paths)
        else:
            self.best_ckpt_path = paths.get('')

    def _remove(self, paths: List[str]) -> None:
        for path in paths if is_main_process() else ():
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
            elif self.file_backend.isdir(path):  # checkpoints that DeepSpeed saved
                self.file_backend.rmtree(path)

    # Resuming -------------------------------------------------------------------------------------------------------

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the gradients of a step that was not complete."""
        self._loaded_gradients = checkpoint.get(GRADIENTS)

    def _restore_gradients(self, runner: Runner) -> None:
        gradients, self._loaded_gradients = getattr(self, '_loaded_gradients', None), None
        if not between_steps(runner):
            return
        if not gradients:
            runner.logger.warning(
                'the checkpoint lies between two steps of the optimizer (accumulative_counts) '
                'and has no gradients: the first step will differ from that of an uninterrupted run'
            )
            return
        if len(gradients) != get_world_size():
            raise UserError(
                f'the checkpoint lies between two steps of the optimizer and was made by {len(gradients)} processes; '
                f'resume with as many, '
                'or from a checkpoint at the end of a step'
            )
        parameters = dict(model_of(runner).named_parameters())
        for name, gradient in gradients[get_rank()].items():
            parameters[name].grad = gradient.to(parameters[name].device)

    def _step(self, runner: Runner) -> int:
        return runner.epoch if self.by_epoch else runner.iter

    def _validation_is_due(self, runner: Runner) -> bool:
        """Whether the step that training goes on from ends with a validation that is not done."""
        loop, step = runner.train_loop, self._step(runner)
        if (
            runner.val_loop is None
            or not hasattr(loop, 'val_interval')
            or runner.message_hub.runtime_info.get(VALIDATED) == step
        ):
            return False
        if self.by_epoch != hasattr(loop, 'run_epoch') or step < loop.val_begin:
            return False
        decide_val_interval(loop)
        return step % loop.val_interval == 0 or step == (loop.max_epochs if self.by_epoch else loop.max_iters)


def model_of(runner: Runner) -> nn.Module:
    """The model of a runner, without the wrapper for distributed training."""
    return unwrap(runner.model)


@torch.no_grad()
def check_weights(runner: Runner) -> None:
    """Check the last loss and all weights that learn, before they are saved.

    Raises:
        NonFiniteError: One is NaN or infinite.
    """
    model = model_of(runner)
    if hasattr(model, 'loss_check'):
        model.loss_check.finish()
    learning = {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.is_floating_point()
    }
    if not learning:
        return
    device = next(iter(learning.values())).device
    finite = torch.stack(
        [torch.isfinite(parameter).all().to(device) for parameter in learning.values()]
    ).tolist()  # one wait for all
    bad = [name for name, good in zip(learning, finite) if not good]
    anywhere = torch.tensor(float(bool(bad)), device=device)
    if get_world_size() > 1:  # with sharded weights each process sees its own
        all_reduce(anywhere, 'max')
    if anywhere:
        info, first = runner.message_hub.runtime_info, bad[0] if bad else 'those of another process'
        raise NonFiniteError(
            f'after iteration {info.get("iter", runner.iter - 1) + 1} {len(bad)} of {len(learning)} weights are '
            f'NaN or infinite, such as {first}; they are not saved. {last_good(info.get("last_ckpt"))} Lower the '
            f'learning rate, or set '
            'optim_wrapper.clip_grad'
        )


def last_good(path: Optional[str]) -> str:
    """Sentence on the checkpoint that training can go on from."""
    return f'The last good checkpoint is {path}.' if path else 'No checkpoint was saved before.'


def wrappers_of(runner: Runner) -> List[OptimWrapper]:
    """The optimizer wrappers of a runner."""
    wrapper = runner.optim_wrapper
    return (
        list(wrapper.values())
        if isinstance(wrapper, OptimWrapperDict)
        else [wrapper]
        if isinstance(wrapper, OptimWrapper)
        else []
    )


def between_steps(runner: Runner) -> bool:
    """Whether gradients are gathered for a step that is not complete."""
    return any(
        wrapper.inner_count % accumulative_counts(wrapper) and not wrapper.should_update()
        for wrapper in wrappers_of(runner)
    )


def gathered_gradients(runner: Runner) -> Optional[List[Dict[str, Tensor]]]:
    """Gradients by parameter, one dict for each process; None after a complete step. All processes have to call it."""
    if not between_steps(runner):
        return None
    own = {
        name: parameter.grad.detach().cpu()
        for name, parameter in model_of(runner).named_parameters()
        if parameter.grad is not None
    }
    return all_gather_object(own)


def use_whole_checkpoints(runner: Runner) -> None:
    """Give hooks that are mmengine's ``CheckpointHook`` itself (a config may name the class in place of its name) the
    behavior of ours.

    A class derived from mmengine's keeps its own order of saving and removing, of which a warning tells.
    """
    for hook in runner.hooks:
        if type(hook) is MMEngineCheckpointHook:
            hook.__class__ = CheckpointHook
        elif isinstance(hook, MMEngineCheckpointHook) and not isinstance(hook, CheckpointHook):
            runner.logger.warning(
                f'{type(hook).__name__} removes a checkpoint before it writes the next one: derive it from '
                'mmfusion.engine.hooks.CheckpointHook to be safe when the disk is full'
            )
