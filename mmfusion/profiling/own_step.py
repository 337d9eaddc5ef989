"""Training step of a coupling that computes its gradients itself, ready to be timed."""

import copy
from typing import Any, Callable, Optional, Tuple

from mmengine.optim import build_optim_wrapper

from mmfusion.models.couplings import BaseCoupling
from mmfusion.structures import TASK_KEY
from mmfusion.utils.errors import building

from .synthetic import synthetic_batch


def own_train_step(
    coupling: BaseCoupling,
    optim_wrapper: Optional[dict],
    shape: Tuple[int, int],
    batch_size: int = 1,
    channels: Tuple[int, int] = (3, 1),
) -> Callable[[], object]:
    """One call's worth of ``train_step`` of a coupling that states ``averages_gradients``, with the optimizers of its
    config at rest.

    Moving to the device and scaling to [0, 1] are part of it, since such a step begins with the collated batch.

    Args:
        coupling: The coupling; learning rates and weight decay are 0, so its weights stay as they are, and running
            averages do not.
        optim_wrapper: That of the config; AdamW for all when None. Gradients are not accumulated, and its precision is
            that of the coupling.
        shape: (H, W) of the random pictures.
        batch_size: Pairs in a batch; of each of the batches of an episode, where the step takes one.
        channels: Channels of both sources.

    Raises:
        UserError: The optimizers cannot be built.
    """
    with building():
        wrapper = build_optim_wrapper(
            coupling, _at_rest(copy.deepcopy(optim_wrapper or dict(optimizer=dict(type='AdamW'))))
        )
    batches = coupling.inner_steps + 1 if hasattr(coupling, 'run_episode') else 1
    batch = synthetic_batch(shape, batch_size * batches, channels)
    for sample in batch['data_samples']:
        sample.set_metainfo({TASK_KEY: 'random'})

    def step() -> object:
        coupling.train()
        return coupling.train_step(copy.deepcopy(batch), wrapper)

    return step


def _at_rest(options: Any) -> Any:
    """Config of optimizers that change nothing, in full precision."""
    if not isinstance(options, dict):
        return options
    kept = {
        key: _at_rest(value)
        for key, value in options.items()
        if key not in ('accumulative_counts', 'loss_scale', 'dtype')
    }
    if 'optimizer' in kept:
        kept['optimizer'] = {**kept['optimizer'], 'lr': 0.0, 'weight_decay': 0.0}
        kept['type'] = 'OptimWrapper'
    return kept
