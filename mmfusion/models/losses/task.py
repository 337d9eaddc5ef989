"""Fusion losses by fusion task, with a warm-up."""

from typing import Dict, Optional

from torch import Tensor, nn

from mmfusion.registry import MODELS
from mmfusion.utils.errors import InputError, InputTypeError
from mmfusion.utils.renamed import FORMER_TASK, FUSION_TASK, renamed, warn_renamed

from .base import BaseFusionLoss

Terms = Dict[str, dict]


@MODELS.register_module()
class TaskFusionLoss(BaseFusionLoss):
    """Sum of the terms that belong to the fusion task of the batch and to the phase of the training.

    Which one that is comes with the call (``fusion_task='multi_focus'``), which epoch it is from :meth:`set_epoch`;
    until then it is epoch 0. Terms that compare with the same target (``'focus'``, ``'max'``) share it.

    Args:
        fusion_tasks: Terms of every fusion task by name, each the config of a fusion loss with its own ``loss_weight``.
        warmup: Terms of the first epochs in the same form. A task that is missing here has no warm-up.
        warmup_epochs: Number of those epochs.
        clip: Clamp the fused image to [0, 1] first, as TC-MoA (CVPR 2024) does. Pixels outside then have no gradient at
            all; with False they are compared as they are, and pulled back.
        default: Task of a batch that names none.
        loss_weight: Factor of the result.

    Raises:
        ValueError: There is no task, a task has no terms, ``warmup`` or ``default`` name one that is unknown, or
            ``warmup_epochs`` is negative. At run time: the task of the batch is missing or unknown, or it holds
            several.
        TypeError: A term is no fusion loss.

    Examples:
        >>> import torch
        >>> from mmfusion.models.losses import L1FusionLoss
        >>> loss = TaskFusionLoss(fusion_tasks=dict(over_under=dict(pixel=L1FusionLoss('mean')), far_near=dict(pixel=L1FusionLoss('max'))))
        >>> images = torch.full((1, 1, 16, 16), 0.5), torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16)
        >>> loss(*images, fusion_task='over_under').item(), loss(*images, fusion_task='far_near').item()
        (0.0, 0.5)
    """

    @renamed('TaskFusionLoss', tasks='fusion_tasks')
    def __init__(
        self,
        fusion_tasks: Dict[str, Terms],
        warmup: Optional[Dict[str, Terms]] = None,
        warmup_epochs: int = 2,
        clip: bool = True,
        default: Optional[str] = None,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        warmup = warmup or {}
        if not fusion_tasks:
            raise ValueError('TaskFusionLoss needs at least one fusion task in `fusion_tasks`')
        unknown = [name for name in (*warmup, *([] if default is None else [default])) if name not in fusion_tasks]
        if unknown:
            raise ValueError(
                f'TaskFusionLoss: `warmup` or `default` names {unknown}, but the fusion tasks are '
                f'{sorted(fusion_tasks)}'
            )
        if warmup_epochs < 0:
            raise ValueError(f'TaskFusionLoss: warmup_epochs must not be negative, got {warmup_epochs}')
        self.tasks = nn.ModuleDict({name: _build(name, terms) for name, terms in fusion_tasks.items()})
        self.warmup = nn.ModuleDict({name: _build(name, terms) for name, terms in warmup.items()})
        self.warmup_epochs, self.clip, self.default = warmup_epochs, clip, default
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch it is, from 0 on."""
        self.epoch = epoch

    def criterion(
        self, fused: Tensor, first: Tensor, second: Tensor, fusion_task: Optional[str] = None, **context
    ) -> Tensor:
        """Sum of the terms; see :meth:`terms`."""
        return sum(self.terms(fused, first, second, fusion_task, **context).values())

    def terms(
        self, fused: Tensor, first: Tensor, second: Tensor, fusion_task: Optional[str] = None, **context
    ) -> Dict[str, Tensor]:
        """The terms of this task and epoch apart, each under its weight.

        Args:
            fused: (N, C, H, W).
            first: Same shape.
            second: Same shape.
            fusion_task: Name of that of the batch.
            context: Handed to the terms.

        Returns:
            dict: Scalars by the names of the terms.
        """
        if fusion_task is None and FORMER_TASK in context:
            warn_renamed('TaskFusionLoss', FORMER_TASK, FUSION_TASK)
            fusion_task = context[FORMER_TASK]
        task = self._known(self.default if fusion_task is None else fusion_task)
        in_warmup = self.epoch < self.warmup_epochs and task in self.warmup
        criteria = self.warmup[task] if in_warmup else self.tasks[task]
        if self.clip:
            fused = fused.clamp(0, 1)
        context = {
            **context,
            'targets': {},
            FUSION_TASK: task,
            FORMER_TASK: task,
        }  # targets: filled by the first term that needs one
        return {name: criterion(fused, first, second, **context) for name, criterion in criteria.items()}

    def _known(self, task: Optional[str]) -> str:
        if task is None:
            raise InputError(
                'TaskFusionLoss does not know the fusion task of this batch: train on a FusionTasksDataset, '
                'which names that of '
                f'every sample, or set `default` to one of {sorted(self.tasks)}'
            )
        if not isinstance(task, str):
            raise InputError(
                f'TaskFusionLoss takes batches of one task, and this one holds {sorted(map(str, set(task)))}: '
                "use batch_sampler = dict(type='TaskBatchSampler')"
            )
        if task not in self.tasks:
            raise InputError(f'TaskFusionLoss has no terms for the task {task!r}; it knows {sorted(self.tasks)}')
        return task

    def extra_repr(self) -> str:
        """Show the options."""
        return f'warmup_epochs={self.warmup_epochs}, clip={self.clip}, default={self.default!r}, {super().extra_repr()}'


def _build(task: str, terms: Terms) -> nn.ModuleDict:
    if not terms:
        raise InputError(f'TaskFusionLoss: the task {task!r} has no terms')
    criteria = {name: cfg if isinstance(cfg, nn.Module) else MODELS.build(cfg) for name, cfg in terms.items()}
    for name, criterion in criteria.items():
        if not isinstance(criterion, BaseFusionLoss):
            raise InputTypeError(
                f'TaskFusionLoss: the term {name!r} of the task {task!r} is a {type(criterion).__name__}, '
                f'not a fusion loss'
            )
    return nn.ModuleDict(criteria)
