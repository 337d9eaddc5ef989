"""Fusion trained by its fusion loss alone, with or without a guide."""

from typing import Dict, Optional, Sequence

from torch import Tensor

from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample

from .base import BaseCoupling
from .steps.losses import Losses


@MODELS.register_module()
class FusionOnly(BaseCoupling):
    """A fuser and its fusion loss, no task network.

    With a guide this is MoE-Fusion as its authors publish it: the detectors of the guide learn beside the fuser, and no
    detector sees the fused image.

    Args:
        fuser: Config of a fuser.
        fusion_loss: Configs of fusion losses by name.
        guide: Config of a guide.
        guide_weight: Factor of the guide's own losses; 0 freezes it.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: mmengine initialization config.
    """

    def __init__(
        self,
        fuser: dict,
        fusion_loss: Optional[Dict[str, dict]] = None,
        guide: Optional[dict] = None,
        guide_weight: float = 1.0,
        data_preprocessor: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(
            fuser,
            fusion_loss,
            guide=guide,
            guide_weight=guide_weight,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )

    def loss(self, inputs: Dict[str, Tensor], data_samples: Sequence[FusionDataSample]) -> Losses:
        """Losses of guide, fuser and fusion; arguments as in :meth:`BaseCoupling.forward`."""
        fusion, losses = self.guide_and_fuse(inputs, data_samples)
        losses.update(self.fusion_losses(fusion, data_samples))
        return losses
