"""Progress bars for training, validation and test."""

from typing import Any, Optional, TextIO

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from tqdm import tqdm

from mmfusion.registry import HOOKS
from mmfusion.utils.progress import progress_bar


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """One bar per epoch on stderr, shown only on a terminal and only by the main process; logs stay as they are.

    The tools add it to every run.

    Args:
        file: Where to draw; stderr when missing.
        force: Draw even where the file is no terminal.
    """

    priority = 'LOWEST'

    def __init__(self, file: Optional[TextIO] = None, force: bool = False) -> None:
        self.file, self.force = file, force
        self.bar: Optional[tqdm] = None

    def before_train_epoch(self, runner) -> None:
        """Begin a bar: over the epoch, or over all iterations where training counts those."""
        by_iter = not hasattr(runner.train_loop, 'run_epoch')
        self._begin(
            'train' if by_iter else f'epoch {runner.epoch + 1}/{runner.max_epochs}',
            runner.max_iters if by_iter else len(runner.train_dataloader),
            runner.iter if by_iter else 0,
        )

    def before_meta_epoch(self, runner, meta_steps: int) -> None:
        """Begin a bar over the meta steps of the epoch."""
        self._begin(f'meta {runner.epoch + 1}/{runner.max_epochs}', meta_steps)

    def after_meta_iter(self, runner, batch_idx: int, outputs: Any = None) -> None:
        """Advance."""
        self._after_iter(runner, batch_idx)

    def after_meta_epoch(self, runner) -> None:
        """Go back to the bar over the epoch."""
        self.before_train_epoch(runner)

    def before_val_epoch(self, runner) -> None:
        """Begin a bar over the validation set."""
        self._begin('val', len(runner.val_dataloader))

    def before_test_epoch(self, runner) -> None:
        """Begin a bar over the test set."""
        self._begin('test', len(runner.test_dataloader))

    def _begin(self, title: str, total: int, initial: int = 0) -> None:
        self._end()
        # a file has the log of the run already
        self.bar = progress_bar(total, title, self.file, initial, 'bar' if self.force else 'silent', is_main_process())

    def _after_iter(
        self, runner, batch_idx: int, data_batch: Any = None, outputs: Any = None, mode: str = 'train'
    ) -> None:
        if self.bar is not None:
            self.bar.update()

    def _after_epoch(self, runner, mode: str = 'train') -> None:
        self._end()

    def after_run(self, runner) -> None:
        """Close the bar of a run that ended early."""
        self._end()

    def _end(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
