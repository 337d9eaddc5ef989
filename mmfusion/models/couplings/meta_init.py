"""Pretext meta-initialization: weights from which a fuser learns a new fusion task in few steps.

TIM (arXiv 2305.15862) names the idea; how its authors do it is not public. The algorithms here are Reptile (A.
Nichol, J. Achiam, J. Schulman, arXiv 1803.02999) and first-order MAML (C. Finn, P. Abbeel, S. Levine, ICML 2017, arXiv
1703.03400) over fusion data sets, which is our design.
"""

import copy
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor

from mmfusion.registry import MODELS, OPTIMIZERS, build_configured
from mmfusion.structures import TASK_KEY, FusionDataSample
from mmfusion.utils import UserError

from .base import BaseCoupling
from .steps.losses import Losses, prefixed
from .steps.optimizers import refuse_accumulation
from .steps.state import TrainingState, average_gradients, set_gradients, trainable

ALGORITHMS = ('reptile', 'fomaml')


class Episode(NamedTuple):
    """What one task says about the initialization.

    Attributes:
        gradients: One for each trainable parameter of the fuser, None where it had no part.
        buffers: Buffers of the fuser after the inner steps.
        before: Loss at the initialization, on the first batch.
        after: Loss after the inner steps, on the last batch, which they have not seen.
    """

    gradients: List[Optional[Tensor]]
    buffers: List[Tensor]
    before: Tensor
    after: Tensor


@MODELS.register_module()
class MetaInitCoupling(BaseCoupling):
    r"""Learn an initialization :math:`\theta` of a fuser over several fusion tasks (data sets), each by its fusion
    losses alone.

    From :math:`\theta`, an *episode* takes ``inner_steps`` steps of a new inner optimizer on as many batches of one
    task, to :math:`\theta'`; one more batch judges. The outer optimizer (``optim_wrapper``) then steps :math:`\theta`
    along the mean over the episodes of a batch of

    .. math::
        g = \theta - \theta' \quad \text{(Reptile)}, \qquad g = \nabla_{\theta'} L(\theta') \quad \text{(first-order MAML, on the judging batch)}

    Outer SGD of rate :math:`\varepsilon` is Reptile as published. First-order MAML without inner steps is plain
    training on all tasks, the control for what meta-learning adds. Floating buffers (batch norm statistics) become the
    mean of those after the episodes, where these changed them.

    ``FusionTasksDataset`` and ``EpisodeBatchSampler`` yield the batches, ``MetaInitLoop`` runs the training. Its
    checkpoints have the weights under the names of any coupling with the same fuser: start that one with ``load_from``.

    Args:
        fuser: Config of a fuser with parameters.
        fusion_loss: Configs of fusion losses by name. Parameters that they may have stay as they are.
        algorithm: ``'reptile'`` or ``'fomaml'``.
        inner_steps: Steps from :math:`\theta` to :math:`\theta'`; 0 with ``'fomaml'`` only.
        inner_optimizer: Config of the inner optimizer, SGD with rate 0.01 by default. It begins anew in every episode.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: The algorithm is unknown, the number of steps is out of range, there is no loss or nothing to learn.
    """

    averages_gradients = True
    precision = 'float32'
    loop = 'MetaInitLoop'

    def __init__(
        self,
        fuser: dict,
        fusion_loss: Dict[str, dict],
        algorithm: str = 'reptile',
        inner_steps: int = 5,
        inner_optimizer: Optional[dict] = None,
        data_preprocessor: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(fuser, fusion_loss, data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if algorithm not in ALGORITHMS:
            raise ValueError(f'MetaInitCoupling: algorithm must be one of {ALGORITHMS}, got {algorithm!r}')
        if inner_steps < (algorithm == 'reptile'):
            raise ValueError(
                f'MetaInitCoupling: {algorithm} needs inner_steps of at least {int(algorithm == "reptile")}, '
                f'got {inner_steps}'
            )
        if not len(self.fusion_loss):
            raise ValueError('MetaInitCoupling learns from `fusion_loss`, and it is empty')
        if not trainable(self.fuser):
            raise ValueError(
                f'MetaInitCoupling needs a fuser that learns, and {type(self.fuser).__name__} has no '
                f'trainable parameters'
            )
        self.algorithm, self.inner_steps = algorithm, int(inner_steps)
        self.inner_optimizer = dict(inner_optimizer or dict(type='SGD', lr=0.01))

    def loss(self, inputs: Dict[str, Tensor], data_samples: Sequence[FusionDataSample]) -> Losses:
        """Losses of the fuser and of fusion; arguments as in :meth:`BaseCoupling.forward`."""
        fusion = self.fuse(inputs, data_samples=data_samples)
        return {**prefixed('fuser', fusion.losses), **self.fusion_losses(fusion, data_samples)}

    # A training step ------------------------------------------------------------------------------------------------

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> Dict[str, Tensor]:
        """One step of the initialization.

        Args:
            data: Collated batch of ``EpisodeBatchSampler``: for each episode ``inner_steps + 1`` batches of one task.
            optim_wrapper: The outer optimizer.

        Returns:
            Values to log, detached: ``loss`` (mean after the inner steps), ``<task>.loss_before`` and
            ``<task>.loss_after``, and ``meta.distance``, the mean length of the outer gradients.

        Raises:
            UserError: The optimizer is none for float32, or the batch does not consist of episodes.
        """
        self._check_optimizer(optim_wrapper)
        parts = self.split_episodes(data)
        episodes = [self.run_episode(batches) for _, batches in parts]
        parameters = trainable(self.fuser)
        means = [_mean([episode.gradients[i] for episode in episodes]) for i in range(len(parameters))]
        lengths = [
            sum((g.double().square().sum() for g in episode.gradients if g is not None), torch.zeros(())).sqrt()
            for episode in episodes
        ]
        set_gradients(parameters, means)
        optim_wrapper.step()
        optim_wrapper.zero_grad()
        self._merge_buffers([episode.buffers for episode in episodes])
        log: Dict[str, Tensor] = {}
        for name in dict.fromkeys(name for name, _ in parts):
            mine = [episode for (task, _), episode in zip(parts, episodes) if task == name]
            log[f'{name}.loss_before'] = torch.stack([episode.before for episode in mine]).mean()
            log[f'{name}.loss_after'] = torch.stack([episode.after for episode in mine]).mean()
        log['meta.distance'] = torch.stack(lengths).mean().float()
        log['loss'] = torch.stack([episode.after for episode in episodes]).mean()
        return log

    def run_episode(self, batches: Sequence[dict]) -> Episode:
        """Inner steps on all batches but the last, which judges; the fuser is afterwards what it was.

        Args:
            batches: ``inner_steps + 1`` collated batches of one task.
        """
        parameters = trainable(self.fuser)
        saved = TrainingState(self.fuser)
        start = [parameter.detach().clone() for parameter in parameters]
        optimizer = build_configured(OPTIMIZERS, dict(copy.deepcopy(self.inner_optimizer), params=parameters))
        before = None
        try:
            for batch in batches[:-1]:
                total = self._total(batch)
                before = total.detach() if before is None else before
                for parameter, gradient in zip(parameters, torch.autograd.grad(total, parameters, allow_unused=True)):
                    parameter.grad = gradient
                optimizer.step()
            if self.algorithm == 'fomaml':
                judged = self._total(batches[-1])
                gradients = [
                    None if g is None else g.detach()
                    for g in torch.autograd.grad(judged, parameters, allow_unused=True)
                ]
            else:
                with torch.no_grad():
                    judged = self._total(batches[-1])
                gradients = [old - new.detach() for old, new in zip(start, parameters)]
            buffers = [buffer.clone() for buffer in self.fuser.buffers()]
        finally:
            saved.restore()
        after = judged.detach()
        return Episode(gradients, buffers, after if before is None else before, after)

    def split_episodes(self, data: Any) -> List[Tuple[str, List[dict]]]:
        """Take a collated batch apart.

        Returns:
            list: For each episode the name of its task, and its batches.

        Raises:
            UserError: Samples do not name their task, or those of one task do not make whole episodes.
        """
        samples = data['data_samples']
        names = [sample.get(TASK_KEY) for sample in samples]
        if None in names:
            raise UserError(
                'MetaInitCoupling learns over named tasks: use train_dataloader.dataset = '
                "dict(type='FusionTasksDataset', "
                "fusion_tasks=...) and batch_sampler = dict(type='EpisodeBatchSampler', inner_steps=...)"
            )
        starts = [i for i in range(len(names)) if i == 0 or names[i] != names[i - 1]]
        episodes = []
        for start, end in zip(starts, [*starts[1:], len(names)]):
            size, rest = divmod(end - start, self.inner_steps + 1)
            if rest or not size:
                raise UserError(
                    f'{end - start} pairs of task {names[start]!r} do not make {self.inner_steps + 1} equal batches, '
                    f'one for each of inner_steps={self.inner_steps} and one to judge: give EpisodeBatchSampler the '
                    f'same inner_steps'
                )
            cuts = range(start, end, size)
            episodes.append(
                (
                    names[start],
                    [
                        dict(
                            inputs={key: images[i : i + size] for key, images in data['inputs'].items()},
                            data_samples=samples[i : i + size],
                        )
                        for i in cuts
                    ],
                )
            )
        return episodes

    def _total(self, batch: dict) -> Tensor:
        batch = self.data_preprocessor(batch, training=True)
        return self.parse_losses(self.loss(batch['inputs'], batch['data_samples']))[0]

    @torch.no_grad()
    def _merge_buffers(self, ends: Sequence[List[Tensor]]) -> None:
        buffers = list(self.fuser.buffers())
        floating = [i for i, buffer in enumerate(buffers) if buffer.is_floating_point()]
        for i in set(range(len(buffers))) - set(floating):
            buffers[i].copy_(ends[-1][i])
        # Mean changes, not means: what no episode of any process changed gets exactly 0, be it infinite.
        changes = [_mean([torch.where(end[i] == buffers[i], 0, end[i] - buffers[i]) for end in ends]) for i in floating]
        if floating:
            for i, change in zip(floating, average_gradients(changes, [buffers[i] for i in floating])):
                buffers[i].add_(change)

    @staticmethod
    def _check_optimizer(optim_wrapper: Any) -> None:
        if type(optim_wrapper) is not OptimWrapper:
            raise UserError(
                f'MetaInitCoupling needs one optimizer in float32, and optim_wrapper is a '
                f'{type(optim_wrapper).__name__}; use '
                "optim_wrapper = dict(type='OptimWrapper', optimizer=...) without --amp"
            )
        refuse_accumulation(
            optim_wrapper, 'optim_wrapper', 'MetaInitCoupling', 'tasks_per_batch of EpisodeBatchSampler'
        )


def _mean(values: Sequence[Optional[Tensor]]) -> Optional[Tensor]:
    """Mean of those that are there, a missing one counting as zero; None when all are missing."""
    present = [value for value in values if value is not None]
    return sum(present[1:], present[0]) / len(values) if present else None
