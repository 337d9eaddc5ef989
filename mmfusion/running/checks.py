"""Checks before the first iteration that data and model of a run fit together."""

from typing import Iterator, Optional, Sequence, Tuple

from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmfusion.engine.hooks import RuntimeInfoHook
from mmfusion.engine.loops import check_loop
from mmfusion.models.couplings.task_network import count_classes
from mmfusion.utils import UserError
from mmfusion.utils.compat import starts_from_checkpoint
from mmfusion.utils.unwrap import unwrap

from .single_sample_batch import check_single_sample_batch


def check_training(runner: Runner) -> None:
    """Check the training set, and the validation set where there is one.

    Raises:
        UserError: The config is for tests only, there is not one whole batch, a detector has no boxes to learn from,
            the loop does not suit the coupling, a frozen network has no weights to start from, a batch of one picture
            meets a batch norm that cannot take it, or see :func:`check_testing`.
    """
    if runner.train_loop is None:
        raise UserError('the config cannot be trained: it has no train_dataloader, train_cfg and optim_wrapper')
    loader = runner.train_dataloader
    if len(loader) == 0:
        raise UserError(
            f'train_dataloader: {len(loader.dataset)} pairs make no batch of batch_size={loader.batch_size}, '
            f'and drop_last=True leaves '
            'smaller ones out; lower batch_size or set drop_last=False'
        )
    check_loop(runner.model, runner.train_loop)
    _check_frozen(runner)
    _check_labelled(runner.model, loader, 'train_dataloader')
    check_classes(runner.model, loader, 'train_dataloader')
    check_single_sample_batch(runner)
    _check_hooks(runner)
    if runner.val_loop is not None:
        check_testing(runner, runner.val_loop, 'val_dataloader')


def check_testing(runner: Runner, loop, name: str = 'test_dataloader') -> None:
    """Check the data set of a validation or test loop.

    Args:
        runner: With the model built.
        loop: The loop, with ``dataloader`` and ``evaluator``.
        name: Key of the dataloader in the config.

    Raises:
        UserError: Its classes are not those of a task network, it has no boxes for the metrics of detection, mmseg's
            metric would count the wrong classes, or COCO metrics would take samples of joined data sets for one.
    """
    check_classes(runner.model, loop.dataloader, name)
    metrics = {type(metric).__name__ for metric in loop.evaluator.metrics}
    if _without_classes(loop.dataloader) and metrics & {'CocoMetric', 'VOCMetric'}:
        raise UserError(
            f'{name}: {type(loop.dataloader.dataset).__name__} has no boxes to compare detections with; '
            f'take mmdet.CocoMetric and '
            'mmdet.VOCMetric out of the evaluator, or use a labeled data set'
        )
    seg_classes = getattr(loop.dataloader.dataset, 'metainfo', {}).get('seg_classes')
    if 'IoUMetric' in metrics and seg_classes:
        raise UserError(
            f'{name}: mmseg.IoUMetric would take the classes of the boxes for those of the class maps; use '
            "dict(type='SegIoUMetric', ...) with the same arguments"
        )
    if 'SegIoUMetric' in metrics and seg_classes is not None and len(seg_classes) == 0:
        raise UserError(
            f'{name}: {type(loop.dataloader.dataset).__name__} has no segmentation classes; name them in '
            f'metainfo.seg_classes, or take '
            'SegIoUMetric out of the evaluator'
        )
    parts = getattr(loop.dataloader.dataset, 'datasets', ())
    if len(parts) > 1 and 'CocoMetric' in metrics:
        raise UserError(
            f'{name} joins {len(parts)} data sets whose img_id begin at 0 each, and CocoMetric tells samples apart by '
            f'img_id. '
            'Test the sets one by one, or use mmdet.VOCMetric'
        )


def check_classes(model: nn.Module, loader: DataLoader, name: str) -> None:
    """Compare the classes of a data set with those of every task network and guide of a coupling.

    Data sets without class names are not looked at. The first ones that are become the ``class_names`` of each network,
    by which pretrained weights are taken.

    Raises:
        UserError: The numbers differ.
    """
    meta = getattr(loader.dataset, 'metainfo', {})
    name_classes(model, meta)
    for part, kind, networks in networks_with_classes(model):
        classes, number = (
            meta.get('classes' if kind == 'detection' else 'seg_classes') or (),
            count_classes(networks[0]),
        )
        if number is not None and classes and number != len(classes):
            what = 'classes' if kind == 'detection' else 'segmentation classes'
            raise UserError(
                f'{name} has {len(classes)} {what} ({", ".join(classes)}), but the head of {part} has '
                f'num_classes={number}; '
                'set num_classes in the config of that head'
            )


def name_classes(model: nn.Module, meta: dict) -> None:
    """Tell every network of a coupling the names of its classes, once: those of the meta information of a data set."""
    for _, kind, networks in networks_with_classes(model):
        names = meta.get('classes' if kind == 'detection' else 'seg_classes')
        for network in networks:
            if names and getattr(network, 'class_names', None) is None:
                network.class_names = tuple(names)


def _check_hooks(runner: Runner) -> None:
    """Every runner has the hook that training depends on, unless the config has another default scope or names another
    hook.
    """
    coupling = unwrap(runner.model)
    if hasattr(coupling, 'averages_gradients') and not any(isinstance(hook, RuntimeInfoHook) for hook in runner.hooks):
        raise UserError(
            'losses and networks would not be told the epoch: the hook runtime_info is not that of mmfusion. Set '
            "default_scope='mmfusion', or default_hooks.runtime_info=dict(type='mmfusion.RuntimeInfoHook')"
        )


def _check_frozen(runner: Runner) -> None:
    """A network that never learns must get its weights from somewhere, and going on from random ones is no choice."""
    if starts_from_checkpoint(runner):
        return
    model = unwrap(runner.model)
    for name, task in (getattr(model, 'tasks', None) or {}).items():
        if task.frozen not in ('all', 'weights'):
            continue
        if not task.network.init_cfg:
            raise UserError(
                f'model.frozen_tasks: model.tasks.{name} would stay at random weights. Set in its '
                "config init_cfg=dict(type='Pretrained', checkpoint=...), or load_from=... "
                'for a checkpoint of the whole model'
            )
        if isinstance(task.network.init_cfg, dict) and 'if_absent' in task.network.init_cfg:
            task.network.init_cfg['if_absent'] = 'error'


def _check_labelled(model: nn.Module, loader: DataLoader, name: str) -> None:
    for part, kind, _ in class_counts(model):
        if kind == 'detection' and _without_classes(loader):
            raise UserError(
                f'{name}: {type(loader.dataset).__name__} has no boxes, but {part} learns from them; '
                f'use a labeled data set'
            )


def _without_classes(loader: DataLoader) -> bool:
    """Whether the data set says that it has no classes, as opposed to saying nothing."""
    return len(getattr(loader.dataset, 'metainfo', {}).get('classes', ('unknown',))) == 0


def networks_with_classes(model: nn.Module) -> Iterator[Tuple[str, str, Sequence[nn.Module]]]:
    """Yield (place in the config, kind, networks built from it) for all networks with a head; ``model`` may be wrapped
    by DDP.
    """
    model = unwrap(model)
    for name, task in (getattr(model, 'tasks', None) or {}).items():
        yield f'model.tasks.{name}', task.kind, (task.network,)
    guide = getattr(model, 'guide', None)
    if guide is not None and model.guide_weight > 0:
        yield 'model.guide.detector', 'detection', tuple(getattr(guide, side, None) for side in ('first', 'second'))


def class_counts(model: nn.Module) -> Iterator[Tuple[str, str, Optional[int]]]:
    """Yield (place in the config, kind, number of classes or None) as :func:`networks_with_classes` does."""
    for part, kind, networks in networks_with_classes(model):
        yield part, kind, count_classes(networks[0])
