"""Check that stops training at the first loss that is NaN or infinite."""

from typing import Any, Dict, List, Optional, Tuple

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.logging import MessageHub
from torch import Tensor, nn

from mmfusion.utils import NonFiniteError

MAX_NAMES = 16


class LossCheck:
    """Looks at the total of every batch's losses, and raises when it is not a finite number.

    On a CPU that happens at once, before the weights change. On other devices the answer is fetched when the next batch
    arrives, or before a checkpoint is saved (:meth:`finish`): mmengine has waited for the step by then, to log its
    losses, so that nothing waits for this. Weights that the step has spoiled meanwhile reach no file. With several
    processes the answer is that of all, so that all stop at the same iteration.

    Gradients are not looked at: under dynamic loss scaling infinite ones are normal.

    Attributes:
        phase: What the message calls a step that is no iteration of the loop, such as ``meta step 3``.
        names: Names of the samples that the next total is of.
    """

    def __init__(self) -> None:
        self.phase: Optional[str] = None
        self.names: List[str] = []
        self._used = False
        self._pending: Optional[Tuple[Tensor, Dict[str, Tensor], str]] = None

    def see(self, preprocessor: nn.Module, args: Any, output: Any) -> None:
        """Remember the names of a batch; a forward hook of the data preprocessor."""
        self.finish()
        samples = output.get('data_samples') if isinstance(output, dict) else None
        if preprocessor.training and samples:
            if self._used:
                self.names, self._used = [], False
            self.names += [str(sample.get('sample_id', sample.get('img_id', '?'))) for sample in samples]

    def __call__(self, total: Tensor, terms: Dict[str, Tensor]) -> None:
        """Check the total of a batch.

        Args:
            total: Sum of all losses, a scalar.
            terms: What it consists of, by name, for the message.

        Raises:
            NonFiniteError: The total is NaN or infinite, here or in another process.
        """
        self._used = True
        if not isinstance(total, Tensor):
            return
        finite = torch.isfinite(total.detach()).to(torch.float32)
        if get_world_size() > 1:
            all_reduce(finite, 'min')
        if self._is_known(finite):
            if not finite.item():
                raise NonFiniteError(self._message(terms))
            return
        self._pending = (finite, {name: value.detach() for name, value in terms.items()}, self._where())

    def _is_known(self, finite: Tensor) -> bool:
        """Whether looking at a value waits for nothing."""
        return finite.device.type == 'cpu'

    def finish(self) -> None:
        """Fetch the answer on the latest total, where that was put off.

        Raises:
            NonFiniteError: It was NaN or infinite.
        """
        if self._pending is None:
            return
        finite, terms, where = self._pending
        self._pending = None
        if not finite.item():
            raise NonFiniteError(self._message(terms, where))

    def _where(self) -> str:
        place = _place()
        at = [f'epoch {place["epoch"] + 1}'] if 'epoch' in place else []
        at += [self.phase or f'iteration {place.get("iter", 0) + 1}']
        if self.names:
            more = f' and {len(self.names) - MAX_NAMES} more' if len(self.names) > MAX_NAMES else ''
            at.append('samples ' + ', '.join(self.names[:MAX_NAMES]) + more)
        return 'at ' + ', '.join(at)

    def _message(self, terms: Dict[str, Tensor], where: Optional[str] = None) -> str:
        values = {name: float(value.detach()) for name, value in terms.items() if 'loss' in name and name != 'loss'}
        bad = [f'{name} = {value}' for name, value in values.items() if not abs(value) < float('inf')]
        if values and not bad:
            bad = ['another process met one' if get_world_size() > 1 else 'each term alone is finite, their sum is not']
        last = _place().get('last_ckpt')
        return (
            f'the loss is not finite {where or self._where()}: {", ".join(bad) or "loss"}. Training stopped. '
            f'{f"The last good checkpoint is {last}." if last else "No checkpoint was saved before."} '
            'Look at those samples, lower the learning rate, or set optim_wrapper.clip_grad'
        )


def _place() -> dict:
    """What mmengine knows of the training that goes on: ``epoch``, ``iter``, ``last_ckpt``."""
    return MessageHub.get_current_instance().runtime_info
