"""A runner that trains a few weights on a few numbers, with every random source that a real run has."""

import itertools
import random

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

_COUNT = itertools.count()  # mmengine keeps one logger and one message hub per experiment name


class NoisyDataset(Dataset):
    """Eight samples, augmented with numpy's and python's random numbers."""

    metainfo = dict(name='noisy')

    def __len__(self):
        return 8

    def __getitem__(self, index):
        noise = np.random.rand(4) + random.random()
        return torch.full((4,), float(index)) / 8 + torch.as_tensor(noise, dtype=torch.float32)


class TinyModel(BaseModel):
    """Linear layer with dropout; keeps what it saw and its task weights at every step."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.dropout = nn.Dropout(0.5)
        self.task_weights = dict(det=2.0)
        self.seen, self.weights_seen = [], []

    def forward(self, inputs, mode='loss'):
        self.seen.append(inputs.clone())
        self.weights_seen.append(self.task_weights['det'])
        return dict(loss=self.dropout(self.layer(inputs)).square().mean())


class StopAfterEpochs(Hook):
    """The user stops the run after some epochs; the checkpoint is there by then."""

    priority = 'LOWEST'

    def __init__(self, epochs):
        self.epochs = epochs

    def after_train_epoch(self, runner):
        runner.train_loop.stop_training = runner.epoch + 1 >= self.epochs


def collate(batch):
    return dict(inputs=torch.stack(batch))


def make_runner(
    work_dir,
    max_epochs,
    resume=False,
    hooks=(),
    num_workers=0,
    seed=3,
    stop_after=None,
    seed_epochs=True,
    train_cfg=None,
    checkpoint=None,
    runner=None,
    **loader,
):
    """``checkpoint`` and ``runner`` are further arguments of the checkpoint hook and of the runner."""
    hooks = [*hooks, *([dict(type=StopAfterEpochs, epochs=stop_after)] if stop_after else [])]
    torch.manual_seed(random.SystemRandom().randrange(2**31))  # nothing may depend on the state that the process is in
    return Runner(
        **{
            **dict(
                model=TinyModel(),
                work_dir=str(work_dir),
                resume=resume,
                experiment_name=f'tiny_{next(_COUNT)}',
                train_dataloader=dict(
                    dataset=NoisyDataset(),
                    batch_size=2,
                    num_workers=num_workers,
                    sampler=dict(type='DefaultSampler', shuffle=True),
                    collate_fn=dict(type=collate),
                    **loader,
                ),
                train_cfg=train_cfg or dict(by_epoch=True, max_epochs=max_epochs),
                optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.05)),
                param_scheduler=[dict(type='CosineAnnealingLR', T_max=4, by_epoch=True)],
                default_hooks=dict(
                    checkpoint={'type': 'CheckpointHook', 'interval': 1, **(checkpoint or {})},
                    runtime_info=dict(type='RuntimeInfoHook', seed_epochs=seed_epochs),
                ),
                custom_hooks=hooks,
                randomness=dict(seed=seed),
                default_scope='mmfusion',
                log_level='WARNING',
            ),
            **(runner or {}),
        }
    )
