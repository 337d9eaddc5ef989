"""mmcv's compiled operators under autocast and behind ``channels_last``: they get float32 and the default layout where
they know nothing else.
"""

import functools
import inspect
import sys
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def widen_mmcv_ops() -> None:
    """Let every operator of mmcv (NMS, RoIAlign, deformable convolution and attention...) take what autocast leaves in
    half precision.

    Autocast does not know these operators, so boxes in float32 and scores in bfloat16 reach one kernel that has neither
    for both: training a Faster R-CNN with ``--amp`` on a CPU ended in mmcv's ``nms``. Here their arguments in bfloat16,
    and in float16 on a CPU, become float32 first; results and gradients come back in the type of the input. Other types
    pass as they are. A second call does nothing.
    """
    import mmcv.ops  # noqa: F401  # loads the modules looked through below

    for name, module in list(sys.modules.items()):
        if name.startswith('mmcv.ops.'):
            for operator in vars(module).values():
                if inspect.isclass(operator) and issubclass(operator, Function) and operator.__module__ == name:
                    _widen(operator)


def _widen(operator: type) -> None:
    forward, backward = operator.forward, operator.backward
    if getattr(forward, 'widened', False):
        return

    @functools.wraps(forward)
    def wide_forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        results = forward(ctx, *map(_wide, args), **{key: _wide(value) for key, value in kwargs.items()})
        # Results come back in the type of the (first) input, as networks expect of a layer.
        first = next(
            (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor) and value.is_floating_point()),
            None,
        )
        if not _is_narrow(first):
            return results
        return (
            tuple(_as(value, first.dtype) for value in results)
            if isinstance(results, tuple)
            else _as(results, first.dtype)
        )

    @functools.wraps(backward)
    def wide_backward(ctx: Any, *gradients: Any) -> Any:
        return backward(ctx, *map(_wide, gradients))

    wide_forward.widened = True
    operator.forward, operator.backward = staticmethod(wide_forward), staticmethod(wide_backward)


def _is_narrow(value: Any) -> bool:
    return isinstance(value, Tensor) and (
        value.dtype == torch.bfloat16 or (value.dtype == torch.float16 and value.device.type == 'cpu')
    )


def _wide(value: Any) -> Any:
    value = value.float() if _is_narrow(value) else value
    return value.contiguous() if isinstance(value, Tensor) else value


def _as(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if isinstance(value, Tensor) and value.dtype == torch.float32 else value
