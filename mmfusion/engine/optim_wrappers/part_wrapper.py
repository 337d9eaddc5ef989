"""Several optimizers that share one loss and one backward pass."""

from typing import Dict, List, Optional

from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from mmfusion.utils import UserError
from mmfusion.utils.compat import accumulative_counts, clip_gradients, loss_scale_update


class PartOptimWrapper(OptimWrapperDict):
    """An ``OptimWrapperDict`` for a sum of losses: one backward pass, then a step of every optimizer.

    mmengine's own leaves open what ``optim_context`` and ``update_params`` mean for several optimizers. Here every
    weight belongs to one optimizer, and all of them follow the same loss, so both are as for a single optimizer: one
    precision, one loss scale, one count of accumulated gradients. Learning rate, weight decay and ``clip_grad`` are
    those of each part. With float16 (``AmpOptimWrapper``) a part whose gradients overflow misses its step, and the
    others take theirs.

    Couplings with training steps of their own (``MetaCoupling``, ``BilevelCoupling``, ``SearchCoupling``) take the
    optimizers one by one, as from an ``OptimWrapperDict``.

    Args:
        optim_wrappers: Optimizer wrappers by the names of the parts.
    """

    @property
    def wrappers(self) -> List[OptimWrapper]:
        """The wrappers, in order; the first one counts iterations and sets the precision."""
        return list(self.optim_wrappers.values())

    def check_uniform(self) -> None:
        """Make sure that one backward pass suits all parts, and let them share one loss scale.

        Raises:
            UserError: Parts differ in precision, loss scale or ``accumulative_counts``.
        """
        first = self.wrappers[0]
        for name, wrapper in self.optim_wrappers.items():
            for key, of_first, value in (
                ('type', type(first).__name__, type(wrapper).__name__),
                ('accumulative_counts', accumulative_counts(first), accumulative_counts(wrapper)),
                ('dtype', getattr(first, 'cast_dtype', None), getattr(wrapper, 'cast_dtype', None)),
                ('loss_scale', _scale(first), _scale(wrapper)),
            ):
                if of_first != value:
                    raise UserError(
                        f'optim_wrapper.{name}: {key}={value} differs from {of_first} of '
                        f'optim_wrapper.{next(iter(self.keys()))}; the parts share one loss and one backward '
                        f'pass, so give all of them the same {key}'
                    )
        if isinstance(first, AmpOptimWrapper):
            for wrapper in self.wrappers[1:]:
                wrapper.loss_scaler = first.loss_scaler

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Tell the number of iterations, on which the last, shorter accumulation depends."""
        self.wrappers[0].initialize_count_status(model, init_counts, max_counts)

    def optim_context(self, model: nn.Module):
        """Context of a forward pass: its precision, and no exchange between processes while gradients accumulate."""
        self.check_uniform()
        return self.wrappers[0].optim_context(model)

    def update_params(
        self, loss: Tensor, step_kwargs: Optional[Dict] = None, zero_kwargs: Optional[Dict] = None
    ) -> None:
        """Backward pass of ``loss``, and a step of all optimizers unless gradients still accumulate."""
        first = self.wrappers[0]
        first.backward(first.scale_loss(loss))
        if first.should_update():
            self.step(**(step_kwargs or {}))
            self.zero_grad(**(zero_kwargs or {}))

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss over the number of accumulated gradients."""
        return self.wrappers[0].scale_loss(loss)

    def backward(self, loss: Tensor, **kwargs) -> None:
        """Backward pass, under the loss scale where there is one."""
        self.wrappers[0].backward(loss, **kwargs)

    def should_update(self) -> bool:
        """Whether the gradients are complete."""
        return self.wrappers[0].should_update()

    def step(self, **kwargs) -> None:
        """Clip, and step every optimizer."""
        first = self.wrappers[0]
        if not isinstance(first, AmpOptimWrapper):
            for wrapper in self.wrappers:
                wrapper.step(**kwargs)
            return
        scaler = first.loss_scaler  # one for all, updated once after all have stepped
        for wrapper in self.wrappers:
            if wrapper.clip_grad_kwargs:
                scaler.unscale_(wrapper.optimizer)
                clip_gradients(wrapper)
            scaler.step(wrapper.optimizer, **kwargs)
        scaler.update(loss_scale_update(first))

    def zero_grad(self, **kwargs) -> None:
        """Drop all gradients."""
        for wrapper in self.wrappers:
            wrapper.zero_grad(**kwargs)


def _scale(wrapper: OptimWrapper) -> Optional[float]:
    return wrapper.loss_scaler.get_scale() if isinstance(wrapper, AmpOptimWrapper) else None
