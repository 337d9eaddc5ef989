"""One optimizer for each part of a coupling."""

from typing import Optional

from torch import nn

from mmfusion.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmfusion.utils import UserError
from mmfusion.utils.unwrap import unwrap

from .part_wrapper import PartOptimWrapper
from .trainable import TrainableOptimWrapperConstructor


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class PartOptimWrapperConstructor:
    """Builds a :class:`PartOptimWrapper` whose keys are parts of the model.

    .. code:: python

        optim_wrapper = dict(
            constructor='PartOptimWrapperConstructor',
            fuser=dict(optimizer=dict(type='Adam', lr=1e-4)),
            tasks=dict(optimizer=dict(type='AdamW', lr=1e-4), clip_grad=dict(max_norm=35),
            paramwise_cfg=dict(norm_decay_mult=0.)))

    Each entry is what a single ``optim_wrapper`` would be; ``type`` is ``OptimWrapper`` by default. The parts are the
    children of the model (``fuser``, ``tasks``...), or what its method ``learning_parts()`` names. Every coupling
    trains by parts: those with one sum of losses (``JointCoupling``, ``FusionOnly``) take one backward pass for all of
    them.

    Args:
        optim_wrapper_cfg: Config of an optimizer wrapper by the name of a part (a submodule such as ``fuser``).
        paramwise_cfg: Must be missing; it belongs to the parts.

    Raises:
        UserError: A key names no part of the model, a part has nothing to learn, or an entry is no config with an
            ``optimizer``.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: Optional[dict] = None) -> None:
        if paramwise_cfg:
            raise UserError(
                'optim_wrapper: paramwise_cfg belongs into the entry of a part (optim_wrapper.tasks.paramwise_cfg)'
            )
        self.parts = {name: cfg for name, cfg in optim_wrapper_cfg.items() if name != 'type'}

    def __call__(self, model: nn.Module) -> PartOptimWrapper:
        """Build the optimizers of ``model``, which may be wrapped for distributed training."""
        model = unwrap(model)
        children = model.learning_parts() if hasattr(model, 'learning_parts') else dict(model.named_children())
        learning = {
            name: child
            for name, child in children.items()
            if any(parameter.requires_grad for parameter in child.parameters())
        }
        wrappers = {}
        for name, cfg in self.parts.items():
            if name not in learning:
                raise UserError(
                    f'optim_wrapper.{name}: {type(model).__name__} has no such part to train; '
                    f'it has {", ".join(learning)}'
                )
            if not isinstance(cfg, dict) or 'optimizer' not in cfg:
                raise UserError(
                    f"optim_wrapper.{name} must be dict(optimizer=dict(type='Adam', lr=...), ...), got {cfg!r}"
                )
            cfg = dict(cfg)
            paramwise = cfg.pop('paramwise_cfg', None)
            wrappers[name] = TrainableOptimWrapperConstructor({'type': 'OptimWrapper', **cfg}, paramwise)(
                learning[name]
            )
        return PartOptimWrapper(**wrappers)
