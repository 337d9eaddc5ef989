"""An optimizer that holds what learns, and nothing that is frozen."""

from typing import Dict, List, Optional, Union

import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from mmfusion.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmfusion.utils import UserError

from .fused import can_fuse, clip_grad_norm, guard, merged_groups


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor with all its options (``paramwise_cfg``), which leaves frozen parameters out.

    mmengine's own hands them to the optimizer as well. They never get a gradient, so nothing happens to them, but they
    count among what is trained and lie in the groups of every checkpoint.

    ``flat_decay_mult`` also counts for parameters that are a single number without axes, which mmengine overlooks.
    Weights that several modules share (the heads of RTMDet) are held once, with the options of the first, also without
    ``bypass_duplicate``.

    Parameters with equal options share one group, where mmengine makes a group of each, and on a CPU Adam, AdamW and
    SGD take torch's fused step unless their config names ``fused`` or ``foreach``: results differ by rounding.

    Raises:
        UserError: Nothing in the model learns.
    """

    def add_params(
        self, params: List[dict], module: nn.Module, prefix: str = '', is_dcn_module: Optional[Union[int, float]] = None
    ) -> None:
        """Add the parameters of a module to the groups; see mmengine. Modules that are frozen as a whole are passed
        over without a warning each.
        """
        if not any(parameter.requires_grad for parameter in module.parameters()):
            return
        super().add_params(params, module, prefix, is_dcn_module)
        if prefix:
            return
        first: Dict[int, dict] = {}
        for group in params:
            first.setdefault(id(group['params'][0]), group)
        params[:] = first.values()
        factor = self.paramwise_cfg.get('flat_decay_mult')
        if factor is not None and self.base_wd is not None:
            for group in params:
                if group['params'][0].ndim == 0:
                    group.setdefault('weight_decay', self.base_wd * factor)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer of ``model``, which may be wrapped for distributed training."""
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise UserError(f'{type(model).__name__}: all parameters are frozen, there is nothing to train')
        if can_fuse(self.optimizer_cfg, model):
            self.optimizer_cfg = {**self.optimizer_cfg, 'fused': True}
        wrapper = super().__call__(model)
        groups = wrapper.optimizer.param_groups
        for group in groups:
            group['params'] = [parameter for parameter in group['params'] if parameter.requires_grad]
        groups[:] = merged_groups([group for group in groups if group['params']])
        guard(wrapper.optimizer)
        if getattr(wrapper, 'clip_func', None) is torch.nn.utils.clip_grad_norm_:
            wrapper.clip_func = clip_grad_norm
        return wrapper
