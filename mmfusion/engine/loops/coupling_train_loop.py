"""Epochs of couplings whose training step is their own."""

from mmengine.runner import EpochBasedTrainLoop

from mmfusion.registry import LOOPS
from mmfusion.utils.unwrap import unwrap


@LOOPS.register_module()
class CouplingTrainLoop(EpochBasedTrainLoop):
    """mmengine's ``EpochBasedTrainLoop``, for every coupling, also in several processes.

    mmengine's wrapper for distributed training has a ``train_step`` that knows one sum of losses only. Couplings with
    another rule (``BilevelCoupling``) average their gradients themselves, say so (``averages_gradients``), and are
    called past it. All others go through the wrapper, which averages their gradients. In one process there is no
    difference.
    """

    @property
    def model(self):
        """The coupling, without the wrapper for distributed training."""
        return unwrap(self.runner.model)

    @property
    def fitting_loop(self) -> str:
        """Name of a loop that trains this model, for messages of loops that do not."""
        return getattr(self.model, 'loop', None) or 'CouplingTrainLoop'

    def step(self, idx: int, data_batch: dict) -> dict:
        """Train on a batch; returns values to log."""
        model = self.model if getattr(self.model, 'averages_gradients', False) else self.runner.model
        return model.train_step(data_batch, optim_wrapper=self.runner.optim_wrapper)

    def run_iter(self, idx, data_batch) -> None:
        """One iteration."""
        self.runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        outputs = self.step(idx, data_batch)
        self.runner.call_hook('after_train_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)
        self._iter += 1
