"""Config of a run from a command line, for training and testing."""

import argparse
import os
from pathlib import Path
from typing import Optional, Type

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process

from mmfusion.fileio.paths import ensure_writable_dir
from mmfusion.models.couplings import BaseCoupling
from mmfusion.registry import MODELS
from mmfusion.utils import UserError, load_config, newest_checkpoint, register_all_modules, select_device


def prepare_config(args: argparse.Namespace) -> Config:
    """Read the config, check everything that can be checked before work starts, and apply the common options.

    Args:
        args: ``config``, ``work_dir``, ``device``, ``cfg_options``, ``launcher``.

    Raises:
        UserError: No such config, a misspelled key, no such GPU, a work dir that cannot be written.
    """
    cfg = load_config(args.config, args.cfg_options)
    if 'device' in cfg:
        raise UserError(f"{args.config}: the key 'device' has no effect in a config; choose with --device {cfg.device}")
    device = select_device(args.device)
    if device.type == 'cuda' and device.index is not None and args.launcher == 'none':
        torch.cuda.set_device(device)  # mmengine works on the current device
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(args.config).stem)
    ensure_writable_dir(cfg.work_dir)
    cfg.setdefault('default_scope', 'mmfusion')
    register_all_modules()
    cfg.launcher = args.launcher
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='ProgressBarHook')]
    if args.launcher != 'none' and device.type == 'cpu':
        use_gloo(cfg, args.launcher)
    return cfg


def use_gloo(cfg: Config, launcher: str) -> None:
    """Distributed work on CPUs: mmengine's own set-up takes GPUs for granted, in the process group and in the model
    wrapper.

    Raises:
        UserError: The launcher is not torchrun.
    """
    if launcher != 'pytorch' or 'RANK' not in os.environ:
        raise UserError(
            'on CPUs only --launcher pytorch is supported, started with torchrun (tools/dist_train.sh, '
            'tools/dist_test.sh)'
        )
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        broadcast_buffers=False, find_unused_parameters=cfg.get('find_unused_parameters', False)
    )
    # mmengine adds the GPU of the process where the config does not say device_ids
    cfg.model_wrapper_cfg = {'type': 'MMDistributedDataParallel', **wrapper, 'device_ids': None}


def existing_checkpoint(path: str) -> str:
    """Return the path when the file is there.

    Raises:
        UserError: It is not.
    """
    if not os.path.isfile(path):
        raise UserError(f'checkpoint not found: {path}')
    return path


def checkpoint_to_resume(work_dir: str) -> Optional[str]:
    """The newest whole checkpoint in a work dir, or None; says so where a damaged one was passed over."""
    path, passed = newest_checkpoint(work_dir)
    if passed and is_main_process():
        print(
            '\n'.join([*passed, f'going on from {path}' if path else f'no whole checkpoint in {work_dir}']), flush=True
        )
    return path


def picture_summary(folder: Path) -> list:
    """Lines that tell how many fused pictures lie where, for each subfolder of ``folder`` that holds some."""
    lines = []
    for sub in sorted(path for path in folder.glob('*') if path.is_dir()):
        count = sum(1 for _ in sub.glob('*.png'))
        if count:
            lines.append(f'  {count} picture{"s" * (count > 1)} in {sub}')
    return lines


def coupling_class(cfg: Optional[dict]) -> Type[BaseCoupling]:
    """Class of the coupling that a config (``cfg.model``) names, with or without a scope, so that it can be asked what
    it is capable of.

    :class:`BaseCoupling` itself where the config has no model or one that is no coupling; then building it says what is
    wrong.

    Examples:
        >>> coupling_class(dict(type='mmfusion.MetaCoupling')).precision
        'float32'
    """
    kind = (cfg or {}).get('type')
    cls = MODELS.get(kind) if isinstance(kind, str) else kind
    return cls if isinstance(cls, type) and issubclass(cls, BaseCoupling) else BaseCoupling
