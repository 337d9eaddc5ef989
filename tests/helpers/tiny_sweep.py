"""Every registered coupling with every registered loop on one small training, for the sweep over several processes.

All networks do without batch norm, whose batch statistics are those of each process, and all pictures have one size,
so that the mean over the losses of the processes is the loss of the joined batch. Crops are switched off, since each
process draws its own.
"""

import copy
import inspect
import itertools
import os
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from mmengine.structures import PixelData
from tiny_fusion_tasks import LOSS, TASKS
from torch import nn

from mmfusion.datasets.samplers import EpisodeBatchSampler
from mmfusion.engine.optim_wrappers.clip import part_of
from mmfusion.models.couplings import BaseCoupling
from mmfusion.models.fusers import BaseFuser, FuserOutput
from mmfusion.registry import DATA_SAMPLERS, DATASETS, LOOPS, MODELS
from mmfusion.utils import UserError, register_all_modules

_COUNT = itertools.count()
CLASSES = 3


@MODELS.register_module()
class SmoothFuser(BaseFuser):
    """Test double: two convolutions, a sigmoid, and an auxiliary loss."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(2, width, 3, padding=1), nn.Conv2d(width, 1, 3, padding=1)

    def fuse(self, first, second):
        """Fuse two luminance batches."""
        features = torch.tanh(self.stem(torch.cat([first, second], dim=1)))
        return FuserOutput(
            torch.sigmoid(self.head(features)), dict(loss_size=0.01 * features.square().mean()) if self.training else {}
        )


@DATASETS.register_module()
class SweepPairs(BaseDataset):
    """Test double: gray pairs of 32x48 with class maps, drawn from their number."""

    METAINFO = dict(modalities=('first', 'second'))

    def __init__(self, length: int = 6) -> None:
        self.number = length
        super().__init__(pipeline=[dict(type='PackFusionInputs')], serialize_data=False)

    def load_data_list(self):
        """Items with both pictures."""
        items = []
        for index in range(self.number):
            rng = np.random.default_rng(index)
            images = {name: rng.integers(0, 256, (32, 48, 1), dtype=np.uint8) for name in ('first', 'second')}
            items.append(dict(images, sample_id=f'{index:02d}', img_shape=(32, 48), ori_shape=(32, 48)))
        return items

    def prepare_data(self, idx):
        """The packed item, with a class map."""
        packed = super().prepare_data(idx)
        rng = np.random.default_rng([idx, 1])
        packed['data_samples'].gt_sem_seg = PixelData(data=torch.as_tensor(rng.integers(0, CLASSES, (1, 32, 48))))
        return packed


@DATA_SAMPLERS.register_module()
class FixedEpisodes(EpisodeBatchSampler):
    """Test double: the same two episodes in every batch; one process has both, two have one each."""

    def __init__(self, sampler, batch_size, inner_steps=1):
        super().__init__(sampler, batch_size, inner_steps, tasks_per_batch=1, batches_per_epoch=3)

    def __iter__(self):
        """Yield the indices of one batch after the other."""
        rank, world_size = get_rank(), get_world_size()
        mine = list(self.ranges.values())[rank * 2 // world_size : (rank + 1) * 2 // world_size]
        for _ in range(self.batches_per_epoch):
            yield [index for indices in mine for index in indices[: (self.inner_steps + 1) * self.batch_size]]


class KeepStatistics(Hook):
    """Test double: batch norms that a fuser cannot do without use and keep their initial statistics."""

    def before_train(self, runner):
        """Remember the initial state as well."""
        self.start = state(runner)

    def before_meta_epoch(self, runner, meta_steps):
        """Phase 1 begins."""
        self.before_train_iter(runner, 0)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        """The loop has switched to training."""
        for module in runner.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def segmentor():
    """An FCN on a small ResNet, with group norm."""
    norm_cfg = dict(type='GN', num_groups=2)
    return dict(
        type='mmseg.EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True, pad_val=0, seg_pad_val=255
        ),
        backbone=dict(
            type='ResNet',
            depth=18,
            base_channels=4,
            stem_channels=4,
            num_stages=2,
            strides=(1, 2),
            dilations=(1, 1),
            out_indices=(1,),
            norm_cfg=norm_cfg,
        ),
        decode_head=dict(
            type='FCNHead',
            in_channels=8,
            in_index=0,
            channels=4,
            num_convs=1,
            concat_input=False,
            dropout_ratio=0.0,
            num_classes=CLASSES,
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )


FUSER, L1 = dict(type='SmoothFuser'), dict(l1=dict(type='L1FusionLoss', loss_weight=5.0))
TIM = dict(
    type='SearchableTIM', cells=[dict(kind='chain', length=2)], candidates=('residual_3_1', 'spatial_3'), width=4
)
EPISODES = {name: dict(task, serialize_data=False) for name, task in TASKS.items()}
ONE = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02), clip_grad=dict(max_norm=1.0))


def parts(*names):
    """One optimizer for each part, with norms to clip and rates of their own."""
    entries = {
        name: dict(optimizer=dict(type='SGD', lr=0.01 * (1 + number)), clip_grad=dict(max_norm=1.0))
        for number, name in enumerate(names)
    }
    return dict(constructor='PartOptimWrapperConstructor', **entries)


def learning_tasks():
    """Tasks of a config."""
    return dict(seg=segmentor())


#: For every coupling: some (model, optim_wrapper) by name. A registered coupling that is missing here fails the sweep.
CASES = {
    'FusionOnly': dict(
        one=(dict(fuser=FUSER, fusion_loss=L1), ONE), parts=(dict(fuser=FUSER, fusion_loss=L1), parts('fuser'))
    ),
    'JointCoupling': dict(
        one=(dict(fuser=FUSER, fusion_loss=L1, tasks=learning_tasks()), ONE),
        detached=(dict(fuser=FUSER, fusion_loss=L1, tasks=learning_tasks(), detach=True), ONE),
        accumulated=(dict(fuser=FUSER, fusion_loss=L1, tasks=learning_tasks()), dict(ONE, accumulative_counts=2)),
        parts=(dict(fuser=FUSER, fusion_loss=L1, tasks=learning_tasks()), parts('fuser', 'tasks')),
    ),
    'EarlyFusionCoupling': dict(
        one=(dict(tasks=learning_tasks()), ONE), parts=(dict(tasks=learning_tasks()), parts('tasks'))
    ),
    'BilevelCoupling': dict(
        one=(dict(fuser=FUSER, fusion_loss=L1, tasks=learning_tasks(), momentum=0.5), ONE),
        parts=(dict(fuser=FUSER, fusion_loss=L1, tasks=learning_tasks()), parts('fuser', 'tasks')),
    ),
    'MetaCoupling': dict(
        parts=(
            dict(
                fuser=FUSER,
                fusion_loss=dict(learned=dict(type='LearnedFusionLoss')),
                tasks=learning_tasks(),
                crop_size=None,
                loss_generator=dict(type='LossGenerationModule', channels=4, heads=2, blocks=1),
            ),
            parts('fuser', 'tasks'),
        )
    ),
    'SearchCoupling': dict(
        parts=(
            dict(fuser=TIM, fusion_loss=L1, tasks=learning_tasks(), upper='both'),
            parts('fuser', 'architecture', 'tasks'),
        )
    ),
    'MetaInitCoupling': dict(
        reptile=(dict(fuser=FUSER, fusion_loss=LOSS, inner_steps=1, inner_optimizer=dict(type='SGD', lr=0.05)), ONE),
        fomaml=(
            dict(
                fuser=FUSER,
                fusion_loss=LOSS,
                inner_steps=1,
                algorithm='fomaml',
                inner_optimizer=dict(type='SGD', lr=0.05),
            ),
            ONE,
        ),
    ),
}


def couplings():
    """All couplings that the package registers, by name."""
    return {
        name: cls
        for name, cls in MODELS.module_dict.items()
        if isinstance(cls, type) and issubclass(cls, BaseCoupling) and cls.__module__.startswith('mmfusion.')
    }


def loops():
    """All training loops that the package or mmengine registers, by name."""
    found = {**MMENGINE_LOOPS.module_dict, **LOOPS.module_dict}
    return {
        name: cls
        for name, cls in found.items()
        if issubclass(cls, (EpochBasedTrainLoop, IterBasedTrainLoop))
        and cls.__module__.startswith(('mmengine.', 'mmfusion.'))
    }


class QuietRunner(Runner):
    """A runner that does not look the machine over before each of a hundred trainings."""

    def _log_env(self, env_cfg):
        """Nothing."""


def make_runner(
    folder, model, optim_wrapper, loop='EpochBasedTrainLoop', world_size=1, hooks=(), loader=None, pairs=None, **options
):
    """A runner for three iterations; ``options`` are more arguments. It has no whole config, slow to print."""
    parameters = inspect.signature(loops()[loop]).parameters
    train_cfg = (
        dict(type=loop, max_iters=3) if issubclass(loops()[loop], IterBasedTrainLoop) else dict(type=loop, max_epochs=1)
    )
    if 'meta_steps' in parameters:
        train_cfg['meta_steps'] = 1
    loader = loader or dict(
        batch_size=2 // world_size, dataset=dict(type='SweepPairs', length=12 if 'upper_part' in parameters else 6)
    )
    torch.manual_seed(0)
    return QuietRunner(
        **dict(
            dict(
                model=copy.deepcopy(model),
                train_cfg=train_cfg,
                optim_wrapper=copy.deepcopy(optim_wrapper),
                train_dataloader=dict(loader, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False)),
                default_hooks=dict(checkpoint=None),
                custom_hooks=list(hooks),
                randomness=dict(seed=0),
                default_scope='mmfusion',
                log_level='ERROR',
                work_dir=str(folder),
                experiment_name=f'sweep_{next(_COUNT)}',
                launcher='pytorch' if world_size > 1 else 'none',
                cfg=dict(
                    model_wrapper_cfg=dict(
                        type='MMDistributedDataParallel', device_ids=None, find_unused_parameters=True
                    )
                ),
            ),
            **options,
        )
    )


def state(runner):
    """Copies of all parameters and buffers of the coupling."""
    return {name: value.clone() for name, value in getattr(runner.model, 'module', runner.model).state_dict().items()}


def train(coupling, case, loop, world_size, folder):
    """Three iterations; the state afterwards and the parts that moved, or the message with which it is refused."""
    model, optim_wrapper = CASES[coupling][case]
    loader = None
    if coupling == 'MetaInitCoupling':
        loader = dict(
            batch_size=2,
            dataset=dict(type='FusionTasksDataset', fusion_tasks=EPISODES),
            batch_sampler=dict(type='FixedEpisodes', inner_steps=1),
        )
    hook = KeepStatistics()
    try:
        runner = make_runner(folder, dict(model, type=coupling), optim_wrapper, loop, world_size, [hook], loader)
        runner.train()
    except UserError as error:
        return str(error)
    assert runner.iter == 3
    after = state(runner)
    names = [name for name, _ in getattr(runner.model, 'module', runner.model).named_parameters()]
    return after, sorted({part_of(name) for name in names if (after[name] - hook.start[name]).abs().max() > 1e-4})


def run(rank, world_size):
    """Results of all combinations in one of ``world_size`` processes."""
    register_all_modules()
    os.environ['LOCAL_RANK'] = str(rank)
    folder = Path(os.environ.get('SWEEP_FOLDER', '.'))
    return {
        f'{coupling} {case} {loop}': train(coupling, case, loop, world_size, folder / str(world_size))
        for coupling in couplings()
        for case in CASES.get(coupling, ())
        for loop in loops()
    }
