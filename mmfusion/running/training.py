"""Training from a config."""

import argparse
import logging
from pathlib import Path
from typing import Optional

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.runner import Runner, find_latest_checkpoint
from torch import nn

from mmfusion.engine.hooks import FirstLossHook
from mmfusion.models.weight_init import random_starts
from mmfusion.utils import UserError, check_resumable, load_fusion_checkpoint, newest_checkpoint, safe_load
from mmfusion.utils.interrupt import remark
from mmfusion.utils.unwrap import unwrap

from .checks import check_training
from .compilation import compile_fuser, compiler_errors
from .manifests import record_training
from .run_config import checkpoint_to_resume, coupling_class, existing_checkpoint, picture_summary, prepare_config
from .runner import build_runner
from .source_order import warn_of_exchanged_sources
from .task_checkpoint import forget_task_checkpoints, use_task_checkpoint


def train(args: argparse.Namespace) -> Runner:
    """Train as the command line says, and print what came out and where it lies.

    Args:
        args: Result of :func:`mmfusion.cli.arguments.parse_train_args`.

    Returns:
        Runner: The runner after training.

    Raises:
        UserError: The input of the command is at fault; nothing was trained.
    """
    cfg = prepare_config(args)
    if args.amp:
        enable_amp(cfg)
    if args.auto_scale_lr:
        enable_auto_scale_lr(cfg)
    if args.tensorboard:
        enable_tensorboard(cfg)
    checkpoint = set_resume(cfg, args.resume)
    if checkpoint:
        forget_task_checkpoints(cfg)
    elif cfg.get('load_from') and use_task_checkpoint(cfg, cfg.load_from):
        cfg.load_from = None
    runner = build_runner(cfg)
    if checkpoint:
        # mmengine resumes with whatever part of a checkpoint fits; a wrong one must be an error
        load_fusion_checkpoint(runner.model, checkpoint)
    elif cfg.get('load_from') and '://' not in cfg.load_from:
        check_start_weights(runner.model, cfg.load_from)
    check_training(runner)
    if getattr(args, 'compile', False):
        enable_compile(runner)
    runner.register_hook(FirstLossHook())
    if cfg.get('load_from') and '://' not in cfg.load_from:
        meta = getattr(runner.train_dataloader.dataset, 'metainfo', {})
        warn_of_exchanged_sources(safe_load(cfg.load_from), meta.get('modalities'), cfg.load_from)
    with remark(lambda: where_to_go_on(cfg.work_dir)), compiler_errors(unwrap(runner.model)):
        runner.train()
    record_training(runner, cfg)
    if is_main_process():
        print(summary(runner), flush=True)
    return runner


def enable_amp(cfg: Config) -> None:
    """Mixed precision: float16 with dynamic loss scaling on a GPU; bfloat16 on a CPU, and for couplings that compare
    gradients.

    One optimizer for each part (``PartOptimWrapperConstructor``) gets it in every part.

    Raises:
        UserError: The config has no optim_wrapper that this can be set on, or its coupling trains in float32 only.
    """
    coupling = coupling_class(cfg.get('model'))
    if coupling.precision == 'float32':
        raise UserError(
            f'--amp: {coupling.__name__} trains in float32 only, since small gradients vanish in half '
            f'precision; leave --amp out'
        )
    wrapper = cfg.get('optim_wrapper') or {}
    parts = (
        [wrapper]
        if 'optimizer' in wrapper
        else [part for part in wrapper.values() if isinstance(part, dict) and 'optimizer' in part]
    )
    if not parts:
        raise UserError(
            "--amp needs a config with an 'optim_wrapper' that has an 'optimizer', or parts that have one each"
        )
    scaled = torch.cuda.is_available() and coupling.precision == 'float16'
    for part in parts:
        if scaled:
            part.type = 'AmpOptimWrapper'
            part.setdefault('loss_scale', 'dynamic')
            continue
        part.type = 'BFloat16OptimWrapper'
        for key in ('loss_scale', 'dtype'):
            part.pop(key, None)
    if scaled:
        return
    if is_main_process() and not torch.cuda.is_available():
        print(
            '--amp: no GPU, so training runs under bfloat16 autocast on the CPU (faster only on CPUs with matrix '
            'instructions for bfloat16, AMX; without them forward passes were measured at 1.4 to 1.7 times the time of '
            'float32)'
        )


def enable_compile(runner: Runner) -> None:
    """Let torch compile the fuser of a run.

    Raises:
        UserError: It would not gain or not work; see :func:`compile_fuser`.
    """
    coupling = unwrap(runner.model)
    compile_fuser(coupling, next(coupling.parameters()).device, training=True)
    if is_main_process():
        print(
            '--compile: the first step, and the first of every new size of pictures, takes a minute or more. '
            'Whether it pays here: mmfusion benchmark CONFIG --parts train --compile --compare eager'
        )


def enable_auto_scale_lr(cfg: Config) -> None:
    """Turn the config's ``auto_scale_lr`` on.

    Raises:
        UserError: The config does not say for which batch size its learning rate was chosen.
    """
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise UserError(
            '--auto-scale-lr: the config has no auto_scale_lr.base_batch_size; add auto_scale_lr = '
            'dict(base_batch_size=16) with the total batch size that its learning rate is meant for'
        )
    cfg.auto_scale_lr.enable = True


def enable_tensorboard(cfg: Config) -> None:
    """Add TensorBoard to the visualizer's backends.

    Raises:
        UserError: The package is not installed.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise UserError(
            '--tensorboard: the package is missing; pip install -c requirements/constraints.txt tensorboard'
        ) from error
    visualizer = cfg.setdefault('visualizer', dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]))
    backends = list(visualizer.get('vis_backends') or [])
    if not any(backend['type'] == 'TensorboardVisBackend' for backend in backends):
        visualizer.vis_backends = [*backends, dict(type='TensorboardVisBackend')]


def set_resume(cfg: Config, resume: Optional[str]) -> Optional[str]:
    """Put the checkpoint to go on from into the config; return its path, or None when the run starts anew.

    Raises:
        UserError: No such file, or it has only weights, so that training cannot go on from it.
    """
    if resume is None and not cfg.get('resume'):
        _check_start(cfg)
        return None
    path = resume if resume not in (None, 'auto') else None if resume == 'auto' else cfg.get('load_from')
    if path is not None:
        check_resumable(existing_checkpoint(path))
    else:
        path = checkpoint_to_resume(cfg.work_dir)
        if path is None:
            if is_main_process():
                print(f'--resume: no checkpoint in {cfg.work_dir}, training starts from the beginning')
            cfg.resume = False
            _check_start(cfg)
            return None
    cfg.resume, cfg.load_from = True, path
    return path


def _check_start(cfg: Config) -> None:
    """Raise a UserError when the weights that the run begins with are no file."""
    if cfg.get('load_from') and '://' not in cfg.load_from:
        existing_checkpoint(cfg.load_from)


def check_start_weights(model: nn.Module, path: str) -> None:
    """Say what of ``load_from`` fits the model, of which only a part may be meant to.

    Raises:
        UserError: The file cannot be loaded, or nothing in it fits.
    """
    # mmengine loads the file itself later, with the hooks; here is the answer to what it would pass over in silence
    unfit = load_fusion_checkpoint(model, path, strict=False)
    absent, total = len(unfit['missing']) + len(unfit['mismatched']), len(model.state_dict())
    if total and absent == total:
        raise UserError(f'load_from={path}: not one of its weights fits the model; it is a checkpoint of another model')
    if absent or unfit['unexpected']:
        print_log(
            f'load_from={path}: {total - absent} of {total} weights of the model are in it, {len(unfit["unexpected"])} '
            f'of its own are left out',
            'current',
            logging.WARNING,
        )


def where_to_go_on(work_dir: str) -> str:
    """What a user should know of a run that was interrupted."""
    last = newest_checkpoint(work_dir)[0] if (Path(work_dir) / 'last_checkpoint').exists() else None
    return f'the last checkpoint is {last}, --resume goes on from there' if last else 'no checkpoint was saved yet'


def summary(runner: Runner) -> str:
    """Results of the last validation, and where checkpoints and pictures lie."""
    work_dir = Path(runner.work_dir)
    lines = ['', 'training done']
    scalars = runner.message_hub.log_scalars
    for name in sorted(scalars):
        if name.startswith('val/') and not name.endswith(('/time', '/data_time')):
            lines.append(f'  {name[4:]:28s} {scalars[name].current():.4f}')
    last = find_latest_checkpoint(str(work_dir))
    lines += [f'  work dir    {work_dir}'] + ([f'  checkpoint  {last}'] if last else [])
    lines += ['fused images:', *pictures] if (pictures := picture_summary(work_dir / 'fused')) else []
    if not (runner._load_from or runner._resume):  # otherwise these weights were replaced
        lines += [f'warning: {text}' for text in random_starts(runner.model)]
    return '\n'.join(lines)
