"""State of an architecture search after each epoch: a line per position in the log, a picture, and the genotype as a
file.
"""

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from mmfusion.moved import moved_names
from mmfusion.registry import HOOKS
from mmfusion.utils.errors import InputError
from mmfusion.utils.unwrap import unwrap
from mmfusion.visualization.architecture import draw_architecture

__getattr__ = moved_names(__name__, dict(save_current_genotype='mmfusion.models.couplings.search'))


@HOOKS.register_module()
class ArchitectureHook(Hook):
    """Show the operation weights of a ``SearchCoupling`` while it searches.

    Before the search and after every epoch, ``{out_dir}/latest.png`` shows the weights of all candidates at all
    positions, the log has the best ones of each position, and the visualizer's backends get
    ``architecture/{position}/{candidate}``. Every ``interval`` epochs the picture is kept as
    ``{out_dir}/epoch_{n}.png``. ``genotype.json`` and ``genotype.png`` in the work dir hold what would be chosen now. A
    file that cannot be written is an error in the log; the search goes on.

    Args:
        interval: Epochs between pictures that are kept; that of the last epoch always is.
        top: Candidates per position in the log.
        out_dir: Folder, relative to the runner's ``work_dir``.

    Raises:
        ValueError: An argument is below 1, or the model has no architecture.
    """

    priority = 'LOW'

    def __init__(self, interval: int = 5, top: int = 3, out_dir: str = 'architecture') -> None:
        if interval < 1 or top < 1:
            raise ValueError(f'ArchitectureHook: interval and top must be at least 1, got {interval} and {top}')
        self.interval, self.top, self.out_dir = interval, top, out_dir

    def before_train(self, runner) -> None:
        """Check the model; show the weights before the first step."""
        coupling = self._coupling(runner)
        if not hasattr(coupling, 'write_architecture'):
            raise InputError(
                f'ArchitectureHook: {type(coupling).__name__} has no architecture to show; remove the hook'
            )
        if runner.epoch == 0:
            self._show(runner, 0)

    def after_train_epoch(self, runner) -> None:
        """Show the weights of the epoch."""
        self._show(runner, runner.epoch + 1)

    @staticmethod
    def _coupling(runner):
        return unwrap(runner.model)

    def _show(self, runner, epoch: int) -> None:
        if not is_main_process():
            return
        coupling = self._coupling(runner)
        architecture = coupling.fuser.architecture
        weights = architecture.probabilities().detach().float().cpu()
        lines, scalars = [], {}
        for position, row in zip(architecture.positions, weights.tolist()):
            ranked = sorted(zip(row, architecture.candidates), reverse=True)
            lines.append(f'  {position}: ' + ', '.join(f'{name} {weight:.3f}' for weight, name in ranked[: self.top]))
            scalars.update({f'architecture/{position}/{name}': weight for weight, name in ranked})
        runner.logger.info(f'operation weights after epoch {epoch}:\n' + '\n'.join(lines))
        runner.visualizer.add_scalars(scalars, step=epoch)
        folder = Path(runner.work_dir) / self.out_dir
        names = ['latest'] + (
            [f'epoch_{epoch}'] if epoch == 0 or epoch % self.interval == 0 or epoch == runner.max_epochs else []
        )
        try:
            for name in names:
                draw_architecture(
                    weights.numpy(),
                    architecture.positions,
                    architecture.candidates,
                    folder / f'{name}.png',
                    f'after epoch {epoch}',
                )
            coupling.write_architecture(runner.work_dir, epoch)
        except OSError as error:
            runner.logger.error(f'{error}. The architecture of epoch {epoch} is not shown; the search goes on.')
