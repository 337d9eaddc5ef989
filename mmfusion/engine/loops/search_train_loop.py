"""Epochs of an architecture search: two parts of the data, one for the weights and one for the architecture."""

import copy
from typing import Iterator, Optional, Union

import numpy as np
from torch.utils.data import DataLoader

from mmfusion.registry import DATASETS, LOOPS
from mmfusion.utils import UserError

from .coupling_train_loop import CouplingTrainLoop


@LOOPS.register_module()
class SearchTrainLoop(CouplingTrainLoop):
    """Epochs for ``SearchCoupling``: a pass over the training part, with a batch of the other part at every search
    step.

    Without ``upper_dataloader`` the training set is split once, at random but the same in every run, into two parts
    that share no sample. An epoch is a pass over the first part. Batches of the other part come from shuffled passes of
    their own. The order of both depends on the epoch alone (``EpochSeedHook``), so a run resumed after an epoch repeats
    an uninterrupted one.

    Args:
        runner: The runner.
        dataloader: Config of the dataloader; its data set is split unless there is an ``upper_dataloader``.
        upper_dataloader: Config of a dataloader for the architecture; nothing is split, and the next two do not count.
        upper_part: Part of the training set that goes to the architecture, 0 to 1.
        upper_batch_size: Batch size for the architecture when the set is split; that of the weights when missing.
        search_begin: First epoch, counted from 1, in which the architecture moves; before, the weights learn alone.
        search_interval: Steps of the weights for each step of the architecture.
        kwargs: ``max_epochs``, ``val_begin``, ``val_interval``, ``dynamic_intervals`` of ``EpochBasedTrainLoop``.

    Raises:
        ValueError: A number is out of range.
        UserError: The model cannot search, or the data set cannot be split.
    """

    def __init__(
        self,
        runner,
        dataloader: Union[DataLoader, dict],
        upper_dataloader: Optional[dict] = None,
        upper_part: float = 0.5,
        upper_batch_size: Optional[int] = None,
        search_begin: int = 1,
        search_interval: int = 1,
        **kwargs,
    ) -> None:
        if not 0 < upper_part < 1:
            raise ValueError(f'SearchTrainLoop: upper_part must lie between 0 and 1, got {upper_part}')
        for name, value in dict(
            search_begin=search_begin, search_interval=search_interval, upper_batch_size=upper_batch_size
        ).items():
            if value is not None and value < 1:
                raise ValueError(f'SearchTrainLoop: {name} must be at least 1, got {value}')
        if upper_dataloader is None:
            dataloader, upper_dataloader = self._split(dataloader, upper_part, upper_batch_size)
        super().__init__(runner, dataloader, **kwargs)
        self.upper_dataloader = runner.build_dataloader(upper_dataloader, seed=runner.seed)
        self.search_begin, self.search_interval = search_begin, search_interval
        self._upper: Iterator = iter(())

    @staticmethod
    def _split(dataloader: Union[DataLoader, dict], part: float, batch_size: Optional[int]):
        """Configs of two dataloaders whose data sets are parts of one."""
        if isinstance(dataloader, DataLoader):
            raise UserError(
                'SearchTrainLoop splits the training set of a config; for a built dataloader give '
                'train_cfg.upper_dataloader'
            )
        dataset = dataloader['dataset']
        dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        number = int(round(part * len(dataset)))
        if not 0 < number < len(dataset):
            raise UserError(f'SearchTrainLoop: upper_part={part} of {len(dataset)} pairs leaves one of the parts empty')
        order = np.random.default_rng(0).permutation(len(dataset))
        try:
            upper, lower = (
                dataset.get_subset(sorted(indices.tolist())) for indices in (order[:number], order[number:])
            )
        except (AttributeError, NotImplementedError):
            raise UserError(
                f'{type(dataset).__name__} cannot be split into two parts; give train_cfg.upper_dataloader'
            ) from None
        rest = {key: value for key, value in dataloader.items() if key != 'dataset'}
        lower_cfg, upper_cfg = dict(copy.deepcopy(rest), dataset=lower), dict(copy.deepcopy(rest), dataset=upper)
        if batch_size is not None:
            upper_cfg['batch_size'] = batch_size
        return lower_cfg, upper_cfg

    def run(self):
        """Launch the search."""
        if not hasattr(self.model, 'search_step'):
            raise UserError(
                f'SearchTrainLoop trains a SearchCoupling; {type(self.model).__name__} has no search step: '
                f"use type='{self.fitting_loop}'"
            )
        for name, loader in (
            ('train_dataloader', self.dataloader),
            ('the dataloader of the architecture', self.upper_dataloader),
        ):
            if not len(loader):
                raise UserError(
                    f'{name} makes no batch of {len(loader.dataset)} pairs: lower batch_size or set drop_last=False'
                )
        self.runner.logger.info(
            f'search: {len(self.dataloader.dataset)} pairs for the weights, '
            f'{len(self.upper_dataloader.dataset)} for the architecture, which moves every {self.search_interval} '
            f'steps from epoch {self.search_begin} on'
        )
        return super().run()

    def run_epoch(self) -> None:
        """One epoch."""
        self._upper = self._upper_batches(self._epoch)
        super().run_epoch()

    def step(self, idx: int, data_batch: dict) -> dict:
        """A search step, or a step of the weights alone."""
        if self._epoch + 1 < self.search_begin or idx % self.search_interval:
            return super().step(idx, data_batch)
        return self.model.search_step(data_batch, next(self._upper), self.runner.optim_wrapper)

    def _upper_batches(self, epoch: int) -> Iterator[dict]:
        """Batches for the architecture; every pass of every epoch has an order of its own."""
        turn = 0
        while True:
            sampler = getattr(self.upper_dataloader, 'sampler', None)
            if hasattr(sampler, 'set_epoch'):
                sampler.seed = self.runner.seed
                sampler.set_epoch(self._max_epochs * turn + epoch)
            yield from self.upper_dataloader
            turn += 1
