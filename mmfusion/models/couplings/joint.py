"""Fuser and task networks trained together by one weighted sum of losses."""

from typing import Dict, Optional, Sequence

from torch import Tensor

from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample

from .base import BaseCoupling
from .steps.losses import Losses
from .task_network import FrozenTasks


@MODELS.register_module()
class JointCoupling(BaseCoupling):
    """One optimizer for all: fusion loss plus weighted task losses, whose gradient reaches the fuser through the fused
    image.

    Args:
        fuser: Config of a fuser.
        tasks: Configs of task networks by name.
        fusion_loss: Configs of fusion losses by name; without any, the tasks alone teach the fuser.
        task_weights: Factor of each task's losses; a ``TaskWeightHook`` in the config makes it a schedule.
        detach: Cut the gradient at the fused image. The task networks then learn on images from a fuser that knows
            nothing of them, which is the cascade that most published code trains.
        guide: Config of a guide.
        guide_weight: Factor of the guide's own losses; 0 freezes it.
        clamp: Clamp the fused image to [0, 1] before the tasks see it; see :class:`BaseCoupling`.
        frozen_tasks: Tasks whose networks stay as loaded and teach the fuser alone; see :class:`BaseCoupling`.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: No task is given.
    """

    def __init__(
        self,
        fuser: dict,
        tasks: Dict[str, dict],
        fusion_loss: Optional[Dict[str, dict]] = None,
        task_weights: Optional[Dict[str, float]] = None,
        detach: bool = False,
        guide: Optional[dict] = None,
        guide_weight: float = 1.0,
        clamp: bool = False,
        data_preprocessor: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
        frozen_tasks: FrozenTasks = (),
    ) -> None:
        if not tasks:
            raise ValueError(
                'JointCoupling needs at least one task network in `tasks`; use FusionOnly to train a fuser alone'
            )
        super().__init__(
            fuser,
            fusion_loss,
            tasks,
            task_weights,
            guide,
            guide_weight,
            clamp,
            data_preprocessor,
            init_cfg,
            frozen_tasks,
        )
        self.detach = detach

    def loss(self, inputs: Dict[str, Tensor], data_samples: Sequence[FusionDataSample]) -> Losses:
        """Losses of guide, fuser, fusion and tasks; arguments as in :meth:`BaseCoupling.forward`."""
        fusion, losses = self.guide_and_fuse(inputs, data_samples)
        losses.update(self.fusion_losses(fusion, data_samples))
        losses.update(self.task_losses(fusion.image.detach() if self.detach else fusion.image, data_samples))
        return losses
