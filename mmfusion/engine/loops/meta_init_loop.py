"""Training of an initialization over several fusion tasks."""

from mmfusion.registry import LOOPS
from mmfusion.utils import UserError

from .coupling_train_loop import CouplingTrainLoop


@LOOPS.register_module()
class MetaInitLoop(CouplingTrainLoop):
    """Epochs for ``MetaInitCoupling``: each iteration is one batch of episodes and one step of the initialization.

    Everything that counts iterations or epochs works as in any other training. Which tasks and pairs an iteration gets
    depends on (seed, epoch, rank) alone, so a run resumed after an epoch repeats an uninterrupted one. The coupling
    averages over processes itself.

    Args:
        runner: The runner.
        dataloader: Dataloader or its config, with an ``EpisodeBatchSampler`` as ``batch_sampler``.
        kwargs: ``max_epochs``, ``val_begin``, ``val_interval``, ``dynamic_intervals`` of ``EpochBasedTrainLoop``.

    Raises:
        UserError: At the start, when the model learns no initialization, or its inner steps are not those of the
            sampler.
    """

    def run(self):
        """Launch training."""
        if not hasattr(self.model, 'run_episode'):
            raise UserError(
                f'MetaInitLoop trains a MetaInitCoupling; {type(self.model).__name__} has no episodes: '
                f"use type='{self.fitting_loop}'"
            )
        sampler = getattr(self.dataloader, 'batch_sampler', None)
        steps = getattr(sampler, 'inner_steps', None)
        if steps != self.model.inner_steps:
            found = (
                'train_dataloader has no EpisodeBatchSampler'
                if steps is None
                else f'EpisodeBatchSampler draws for inner_steps={steps}'
            )
            raise UserError(
                f'{found}, and MetaInitCoupling takes inner_steps={self.model.inner_steps}: set '
                f'train_dataloader.batch_sampler = '
                f"dict(type='EpisodeBatchSampler', inner_steps={self.model.inner_steps})"
            )
        sampler.sampler.seed = self.runner.seed  # a resumed run learns its seed after the sampler was built
        return super().run()
