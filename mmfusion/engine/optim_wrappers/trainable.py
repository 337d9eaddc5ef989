"""An optimizer that holds what learns, and nothing that is frozen."""
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from mmfusion.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmfusion.utils import UserError


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor with all its options (``paramwise_cfg``), which leaves frozen parameters out.

    mmengine's own hands them to the optimizer as well. They never get a gradient, so nothing happens to them, but they count among what is trained
    and lie in the groups of every checkpoint.

    Raises:
        UserError: Nothing in the model learns.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer of ``model``, which may be wrapped for distributed training."""
        wrapper = super().__call__(model)
        groups = wrapper.optimizer.param_groups
        for group in groups:
            group['params'] = [parameter for parameter in group['params'] if parameter.requires_grad]
        groups[:] = [group for group in groups if group['params']]
        if not groups:
            raise UserError(f'{type(model).__name__}: all parameters are frozen, there is nothing to train')
        return wrapper
