"""Batches of one picture and batch norms that cannot learn from them, found before the training begins."""

import copy
import random
from contextlib import contextmanager
from typing import Iterator, List

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_world_size
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmfusion.models.couplings.base import BaseCoupling
from mmfusion.utils import UserError
from mmfusion.utils.compat import is_batch_norm
from mmfusion.utils.unwrap import unwrap


def check_single_sample_batch(runner: Runner) -> None:
    """Refuse a training with a batch of one picture where a batch norm looks at maps of 1x1 (image pooling of PSPNet,
    DeepLabV3+, BiSeNetV2).

    Only where such a batch comes up, one pair of the training set goes through the model twice in a batch, without
    gradient; buffers and random numbers are afterwards what they were.

    Raises:
        UserError: A batch norm would get one value per channel, which PyTorch refuses at the end of the first epoch.
    """
    model, loader = unwrap(runner.model), runner.train_dataloader
    # A coupling that adds an exchanged copy to every batch never has one picture in it.
    if not isinstance(model, BaseCoupling) or getattr(model, 'swap', False) or not has_batch_of_one(loader):
        return
    names = norms_of_single_values(model, loader)
    if names:
        number, size = len(loader.dataset), loader.batch_sampler.batch_size
        which = 'are batches of one' if size == 1 else f'leave one for the last batch of {size}'
        others = f' (and {len(names) - 1} more batch norms)' if len(names) > 1 else ''
        remedy = (
            'batch_size to 2 or more'
            if size == 1
            else 'drop_last=True (another pair is left out in every epoch), or another batch_size'
        )
        raise UserError(
            f'train_dataloader: {number} pairs {which}, and {names[0]}{others} sees maps of 1x1 pixels: '
            f'there is no variance in one value per channel. Set train_dataloader.{remedy}'
        )


def has_batch_of_one(loader: DataLoader) -> bool:
    """Whether an epoch has a batch with one sample.

    Examples:
        >>> [has_batch_of_one(DataLoader(range(5), batch_size=n)) for n in (1, 2, 3)], has_batch_of_one(DataLoader(range(5), 2, drop_last=True))
        ([True, True, False], False)
    """
    batches = loader.batch_sampler
    if getattr(batches, 'batch_size', None) == 1:
        return True
    if hasattr(batches, 'lead_sizes'):  # of TaskBatchSampler
        return 1 in batches.lead_sizes
    if (
        type(batches) is not torch.utils.data.BatchSampler
        or batches.drop_last
        or isinstance(batches.sampler, InfiniteSampler)
    ):
        return False
    return len(batches.sampler) % batches.batch_size == 1


def norms_of_single_values(model: BaseCoupling, loader: DataLoader) -> List[str]:
    """Names of the batch norms that get one value per channel and picture in training, in the order of the forward
    pass.
    """
    found: List[str] = []

    def look(name: str):
        def hook(module: nn.Module, inputs: tuple) -> None:
            if module.training and inputs[0][:1, :1].numel() == 1 and name not in found:
                found.append(name)

        return hook

    shared = get_world_size() > 1
    norms = [
        (name, module)
        for name, module in model.named_modules()
        if is_batch_norm(module) and not (shared and isinstance(module, nn.SyncBatchNorm))
    ]
    if not norms:
        return found
    handles = [module.register_forward_pre_hook(look(name)) for name, module in norms]
    try:
        with _as_before(model), torch.no_grad():
            item = loader.dataset[0]
            data = model.data_preprocessor(loader.collate_fn([item, copy.deepcopy(item)]), True)
            model.train()(**data, mode='loss')
    finally:
        for handle in handles:
            handle.remove()
    return found


@contextmanager
def _as_before(model: nn.Module) -> Iterator[None]:
    """Put mode, buffers and random numbers back."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, saved in buffers:
                buffer.copy_(saved)
