"""Fused images written while validating and testing."""

import os
from typing import Optional, Sequence

from mmengine.dist import get_dist_info
from mmengine.hooks import Hook

from mmfusion.fileio.image_writing import FileNames, write_image
from mmfusion.registry import HOOKS
from mmfusion.structures import TASK_KEY
from mmfusion.visualization import view_sample


@HOOKS.register_module()
class FusionVisualizationHook(Hook):
    """Write the fused images of validation and test as png, and on request a panel with both sources and the predicted
    boxes.

    Files are ``{out_dir}/{val|test}/{sample_id}.png`` and ``{out_dir}/{val|test}_panels/{sample_id}.png``; a validation
    overwrites those of the one before. A sample that names its fusion task has the task's name before its own; two
    samples of the same name get their ``img_id`` appended. Each file is whole or absent. When a file cannot be written
    (disk full, no permission), one error naming it is logged and the rest of the phase goes on without pictures:
    neither training nor the metrics are lost.

    Args:
        out_dir: Folder, relative to the runner's ``work_dir``.
        phases: Out of ``'val'`` and ``'test'``.
        images: Write the fused images.
        panel: Write the panels.
        interval: Write every n-th sample of the data set.
        max_images: At most so many samples of a test; None for all.
        max_val_images: At most so many samples of each validation; None for all.
        size: ``'original'`` resizes back to the size of the source files where the pipeline resized (a pipeline that
            cropped keeps its size); ``'network'`` writes what the network made.
        score_thr: Boxes with a lower score are not drawn.
        titles: Three titles for the panel; the data set's modalities and ``fused`` when missing.
        to_backends: Also send the panels to the visualizer's backends (TensorBoard).

    Raises:
        ValueError: An argument is out of range.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        out_dir: str = 'fused',
        phases: Sequence[str] = ('val', 'test'),
        images: bool = True,
        panel: bool = False,
        interval: int = 1,
        max_images: Optional[int] = None,
        max_val_images: Optional[int] = 8,
        size: str = 'original',
        score_thr: float = 0.3,
        titles: Optional[Sequence[str]] = None,
        to_backends: bool = False,
    ) -> None:
        phases = (phases,) if isinstance(phases, str) else tuple(phases)
        if set(phases) - {'val', 'test'}:
            raise ValueError(f"FusionVisualizationHook: phases may hold 'val' and 'test', got {list(phases)}")
        if interval < 1:
            raise ValueError(f'FusionVisualizationHook: interval must be at least 1, got {interval}')
        if size not in ('original', 'network'):
            raise ValueError(f"FusionVisualizationHook: size must be 'original' or 'network', got {size!r}")
        if titles is not None and len(titles) != 3:
            raise ValueError(
                f'FusionVisualizationHook: titles must be three (first, second, fused), got {list(titles)}'
            )
        self.out_dir, self.phases = out_dir, phases
        self.images, self.panel, self.to_backends = images, panel, to_backends
        self.interval, self.limits = interval, {'val': max_val_images, 'test': max_images}
        self.size, self.score_thr, self.titles = size, score_thr, titles
        self._start()

    def _start(self) -> None:
        self._seen = 0
        self._names = FileNames()
        self._stopped = False
        self._told = set()

    def before_val_epoch(self, runner) -> None:
        """Forget the samples of the validation before."""
        self._start()

    def before_test_epoch(self, runner) -> None:
        """Forget the samples of the test before."""
        self._start()

    def after_val_iter(
        self, runner, batch_idx: int, data_batch: Optional[dict] = None, outputs: Optional[Sequence] = None
    ) -> None:
        """Write the pictures of one validation batch."""
        self._write_batch(runner, 'val', data_batch, outputs)

    def after_test_iter(
        self, runner, batch_idx: int, data_batch: Optional[dict] = None, outputs: Optional[Sequence] = None
    ) -> None:
        """Write the pictures of one test batch."""
        self._write_batch(runner, 'test', data_batch, outputs)

    def _write_batch(self, runner, phase: str, data_batch: dict, outputs: Sequence) -> None:
        if phase not in self.phases or self._stopped:
            return
        rank, world_size = get_dist_info()
        inputs = data_batch['inputs']
        for sample, first, second in zip(outputs, inputs['first'], inputs['second']):
            index = self._seen * world_size + rank  # mmengine's sampler deals the samples out in turns
            self._seen += 1
            limit = self.limits[phase]
            if index % self.interval or (limit is not None and index // self.interval >= limit):
                continue
            try:
                self._write_sample(runner, phase, index, sample, first, second)
            except OSError as error:
                self._stopped = True
                runner.logger.error(f'{error}. No more pictures are written in this {phase}; everything else goes on.')
                return

    def _write_sample(self, runner, phase: str, index: int, sample, first, second) -> None:
        name = str(sample.get('sample_id', sample.get('img_id', index)))
        if TASK_KEY in sample:  # sets beside each other may use the same names
            name = f'{sample.get(TASK_KEY)}_{name}'
        if 'fused' not in sample:
            self._tell(runner, 'none', f'{type(runner.model).__name__} makes no fused image, so none is written')
            return
        if not sample.fused.data.isfinite().all():
            self._tell(
                runner,
                'nan',
                f'the fused image of {name!r} holds NaN or infinite values and is not written (likewise '
                f'all others that do)',
            )
            return
        with_sources = self.panel or self.to_backends
        view = view_sample(sample, first if with_sources else None, second if with_sources else None, self.size)
        if self.size == 'original' and not view.original:
            self._tell(
                runner, 'size', f'the pipeline crops (sample {name!r}), so pictures keep the size of the network input'
            )
        folder = os.path.join(runner.work_dir, self.out_dir, phase)
        file = self._names(name, sample.get('img_id', index)) + '.png'
        if self.images:
            write_image(os.path.join(folder, file), view.fused)
        if with_sources:
            panel = view.panel(runner.visualizer.dataset_meta, self.score_thr, self.titles)
            if self.panel:
                write_image(os.path.join(f'{folder}_panels', file), panel)
            if self.to_backends:
                runner.visualizer.add_image(f'{phase}/{os.path.splitext(file)[0]}', panel, runner.iter)

    def _tell(self, runner, topic: str, message: str) -> None:
        if topic not in self._told:
            self._told.add(topic)
            runner.logger.warning(message)
