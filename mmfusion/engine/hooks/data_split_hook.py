"""Hash of the images that a result was measured on, logged with the result."""

from typing import Optional

from mmengine.hooks import Hook

from mmfusion.registry import HOOKS


@HOOKS.register_module()
class DataSplitHook(Hook):
    """Log the data set, its size and its ``split_hash`` after every validation and test.

    Two scores may be compared if their hashes agree. The hash is the sha256 of the sample names, see
    :class:`mmfusion.datasets.BasePairDataset`; checkpoints keep that of the training set in ``meta['dataset_meta']``.
    Data sets without a hash are passed over.
    """

    priority = 'VERY_LOW'  # after the metrics are logged

    def after_val_epoch(self, runner, metrics: Optional[dict] = None) -> None:
        """Log the validation set."""
        self._log(runner, runner.val_dataloader, 'val')

    def after_test_epoch(self, runner, metrics: Optional[dict] = None) -> None:
        """Log the test set."""
        self._log(runner, runner.test_dataloader, 'test')

    @staticmethod
    def _log(runner, dataloader, mode: str) -> None:
        dataset = dataloader.dataset
        split_hash = getattr(dataset, 'metainfo', {}).get('split_hash')
        if split_hash:
            runner.logger.info(
                f'{mode} results were measured on {len(dataset)} pairs of {type(dataset).__name__}, '
                f'split hash {split_hash}'
            )
