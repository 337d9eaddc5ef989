"""Training, testing and scoring from Python, as the commands of the same names do them."""

import os
from argparse import Namespace
from pathlib import Path
from typing import Dict, Mapping, Optional, Sequence, Union

from mmengine.runner import Runner

from mmfusion.evaluation.folders.evaluation import FusionEvaluation, evaluate_folders
from mmfusion.running import testing, training

PathLike = Union[str, Path]


def train(
    config: PathLike,
    work_dir: Optional[PathLike] = None,
    *,
    cfg_options: Optional[dict] = None,
    device: Optional[str] = None,
    amp: bool = False,
    resume: Union[None, bool, PathLike] = None,
    auto_scale_lr: bool = False,
    tensorboard: bool = False,
    launcher: str = 'none',
) -> Runner:
    """Train a fuser, alone or coupled with task networks.

    Args:
        config: Path of a config, or the name of one that ships, such as ``'moe_fusion_demo'``.
        work_dir: Folder for logs, checkpoints and images; ``work_dirs/<name of the config>`` by default.
        cfg_options: Changes to the config, ``{'train_cfg.max_epochs': 1}``.
        device: ``'cpu'``, ``'cuda'``, ``'cuda:1'``, or None for a GPU if there is one. mmengine chooses the device of a
            run when it is imported, so ``'cpu'`` on a machine with GPUs needs ``CUDA_VISIBLE_DEVICES=-1`` in the
            environment.
        amp: Mixed precision.
        resume: True to go on from the last checkpoint in the work dir, or the checkpoint to go on from.
        auto_scale_lr: Scale the learning rate with the total batch size.
        tensorboard: Write TensorBoard files too.
        launcher: Who started the processes: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.

    Returns:
        Runner: The runner after training, with ``model`` and ``work_dir``.

    Raises:
        UserError: The input is at fault; nothing was trained.
    """
    resume = ('auto' if resume else None) if resume is None or isinstance(resume, bool) else str(resume)
    return training.train(
        Namespace(
            config=str(config),
            work_dir=_text(work_dir),
            cfg_options=cfg_options,
            device=device,
            amp=amp,
            resume=resume,
            auto_scale_lr=auto_scale_lr,
            tensorboard=tensorboard,
            launcher=launcher,
        )
    )


def test(
    config: PathLike,
    checkpoint: PathLike,
    work_dir: Optional[PathLike] = None,
    *,
    cfg_options: Optional[dict] = None,
    device: Optional[str] = None,
    out: Optional[PathLike] = None,
    show_dir: Optional[PathLike] = None,
    per_image: Optional[PathLike] = None,
    launcher: str = 'none',
) -> Dict[str, float]:
    """Test a checkpoint: task metrics, fusion metrics, fused images.

    Args:
        config: Path of a config, or the name of one that ships.
        checkpoint: Checkpoint trained with it; with a fuser that has no weights, also that of a detector or segmentor
            alone.
        work_dir: As in :func:`train`.
        cfg_options: As in :func:`train`.
        device: As in :func:`train`.
        out: Pickle file for the predictions.
        show_dir: Folder for fused images and panels with boxes.
        per_image: csv file for the fusion metrics of every image.
        launcher: As in :func:`train`.

    Returns:
        The metrics by name.

    Raises:
        UserError: The input is at fault; nothing was written.
    """
    return testing.test(
        Namespace(
            config=str(config),
            checkpoint=str(checkpoint),
            work_dir=_text(work_dir),
            cfg_options=cfg_options,
            device=device,
            out=_text(out),
            show_dir=_text(show_dir),
            per_image=_text(per_image),
            launcher=launcher,
        )
    )


def evaluate(
    fused: Union[PathLike, Mapping[str, PathLike]],
    first: PathLike,
    second: PathLike,
    metrics: Union[str, Sequence[str]] = 'all',
    protocol: str = 'default',
    out_dir: PathLike = 'work_dirs/eval_fusion',
    *,
    workers: Optional[int] = None,
    device: str = 'cpu',
    progress: bool = True,
) -> FusionEvaluation:
    """Score folders of fused images against the folders of their sources; see :func:`evaluate_folders`.

    Args:
        fused: Folder of fused images, or folders by method.
        first: Folder of the first sources (visible).
        second: Folder of the second sources (infrared).
        metrics: Names such as ``['EN', 'MI', 'VIF']``; ``'all'`` stands for all but the slow ones.
        protocol: Whose conventions to follow.
        out_dir: Folder for tables and values per image.
        workers: Processes; the number of cores by default.
        device: ``'cpu'``, or a GPU, where images of one size are scored in batches.
        progress: Show how far the work is.

    Returns:
        FusionEvaluation: ``summaries`` by method, the ``files`` written, what failed.

    Raises:
        UserError: Unknown protocol or metric, folders without matching images, or a folder that cannot be written.
    """
    methods = (
        {str(name): str(folder) for name, folder in fused.items()}
        if isinstance(fused, Mapping)
        else {Path(fused).name: str(fused)}
    )
    return evaluate_folders(
        methods,
        str(first),
        str(second),
        [metrics] if isinstance(metrics, str) else list(metrics),
        protocol,
        str(out_dir),
        workers or len(os.sched_getaffinity(0)),
        device,
        progress=progress,
    )


def _text(path: Optional[PathLike]) -> Optional[str]:
    return None if path is None else str(path)
