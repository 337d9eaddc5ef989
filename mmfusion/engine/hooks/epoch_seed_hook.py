"""Random numbers that depend on the epoch alone, so that a resumed run repeats an uninterrupted one."""

import random
from functools import partial

import cv2
import numpy as np
import torch
from mmengine.dataset import worker_init_fn as mmengine_worker_init_fn
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import FUNCTIONS as MMENGINE_FUNCTIONS
from torch.utils.data import DataLoader

from mmfusion.registry import FUNCTIONS, HOOKS


def epoch_seed(seed: int, epoch: int, rank: int) -> int:
    """One well-mixed 32-bit seed for (seed, epoch, rank).

    Examples:
        >>> epoch_seed(0, 1, 0) == epoch_seed(0, 1, 0), epoch_seed(0, 1, 0) == epoch_seed(0, 0, 1)
        (True, False)
    """
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])


def seed_everything(value: int) -> None:
    """Seed python, numpy and torch (every CUDA device too) with one number."""
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


@MMENGINE_FUNCTIONS.register_module(
    force=True
)  # mmengine looks worker_init_fn up in its own registry, whatever the scope
@FUNCTIONS.register_module()
def seed_worker(worker_id: int) -> None:
    """Seed numpy and python in a data worker from torch's seed there, and keep OpenCV to one thread.

    torch gives each worker the seed ``base + worker_id``, and draws ``base`` from the main process's generator whenever
    workers start. mmengine's own function seeds every epoch's workers alike, which repeats the same augmentations in
    each epoch.
    """
    value = torch.initial_seed() % 2**32
    random.seed(value)
    np.random.seed(value)
    cv2.setNumThreads(0)  # forked workers have it from env_cfg, spawned ones do not


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seeds python, numpy and torch before every training epoch from (run seed, epoch, rank).

    Together with mmengine's checkpoints (weights, optimizer, schedulers, message hub) this makes ``--resume`` exact: a
    run that was stopped after an epoch ends with the same weights, bit by bit on a CPU. The hook also hands the run's
    seed to the sampler (mmengine draws another one for it when the config has no seed, and a resumed run learns its
    seed only after the sampler was built) and puts :func:`seed_worker` in the place of mmengine's worker function.

    Training that counts iterations is one epoch, so resuming it continues with other random numbers; the hook says so.

    ``persistent_workers=True`` keeps the workers' random state over epochs, so resuming is then not exact; the hook
    warns.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        """Hand the seed to the sampler and :func:`seed_worker` to the workers; warn of what makes resuming inexact."""
        if runner.iter > 0 and not hasattr(runner.train_loop, 'run_epoch'):
            runner.logger.warning(
                'resuming inside the one epoch of an IterBasedTrainLoop: random numbers differ from those of an '
                'uninterrupted run. Use EpochBasedTrainLoop for exact resuming.'
            )
        loader = runner.train_dataloader
        for owner in (
            loader,
            getattr(loader, 'batch_sampler', None),
        ):  # a TaskBatchSampler draws by the seed of the sampler that it holds
            sampler = getattr(owner, 'sampler', None)
            if isinstance(getattr(sampler, 'seed', None), int):
                sampler.seed = runner.seed
        if not isinstance(loader, DataLoader) or loader.num_workers == 0:
            return
        init = loader.worker_init_fn
        if init is None or (isinstance(init, partial) and init.func is mmengine_worker_init_fn):
            loader.worker_init_fn = seed_worker
        if loader.persistent_workers:
            runner.logger.warning(
                'train_dataloader has persistent_workers=True: data workers keep their random state from '
                'epoch to epoch, so a resumed run will differ from an uninterrupted one. Set it to False for exact '
                'resuming.'
            )

    def before_train_epoch(self, runner) -> None:
        """Seed this process for the epoch."""
        seed_everything(epoch_seed(runner.seed, runner.epoch, get_rank()))
