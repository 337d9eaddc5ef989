"""Quality of the fused images during validation and testing."""

import os
import warnings
from typing import Dict, List, Optional, Sequence

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from torch import Tensor

from mmfusion.fileio import write_csv, write_json
from mmfusion.registry import METRICS
from mmfusion.structures import TASK_KEY, valid_window
from mmfusion.utils.errors import InputError, InputKeyError

from ..protocols import evaluate_metrics, expand_names, get_metric, get_protocol, prepare_images
from ..reports.summary import Summary, caution_lines, cautions, format_value, heading, title

ID_KEYS = ('sample_id', 'img_id')


@METRICS.register_module()
class FusionMetric(BaseMetric):
    """Rate every fused image with a list of metrics by one protocol and report the means over images.

    Images are rated as 8-bit images, rounded half up, in the color that the protocol takes (BT.601 luma, or every
    channel), at the size the network worked at, against the sources of the same size: a pipeline that resizes changes
    the values. Results are named ``fusion/EN`` and so on. Where a value is undefined (a fused image with NaN, an image
    smaller than the metric's window) it becomes NaN, is left out of the mean, and is counted in a warning.

    Of a pair that was registered on loading (``valid_map``) the largest rectangle in which both sources show something
    is rated; where that is less than 16 pixels wide or high, every value is undefined.

    The printed table names the protocol, and for each metric the spread and the worst and the best image. With a log
    file, the same goes into ``fusion_metrics.json`` beside it, named after the prefix. Two protocols in one evaluator
    need two prefixes.

    With ``fusion_task`` only the samples of one task of a ``FusionTasksDataset`` are rated: one FusionMetric for each
    task, with metrics of its own.

    Args:
        metrics: Names out of the protocol's table, in the order of the printed table; ``'all'`` stands for all but the
            slow ones.
        protocol: Name of the protocol, which fixes gray conversion, log base, windows and sums; written next to every
            result.
        out_csv: File for the values of every image, one row each, with the values per source; written atomically by the
            main process. A relative path is taken from the working directory of the process.
        per_source: Also report the means of the values per source, as ``fusion/MI_first``.
        collect_device: Where distributed results are gathered, ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the result names; by default ``'fusion'``, or the name of the task.
        fusion_task: Name of the task whose samples count; all when None.

    Raises:
        KeyError: The protocol or a metric is unknown; the message lists what there is.
        ValueError: The list of metrics is empty or names a metric twice; at the end, that no sample was of the task.
    """

    default_prefix = 'fusion'

    def __init__(
        self,
        metrics: Sequence[str] = ('EN', 'SD', 'SF', 'AG', 'MI', 'SSIM'),
        protocol: str = 'default',
        out_csv: Optional[str] = None,
        per_source: bool = False,
        collect_device: str = 'cpu',
        prefix: Optional[str] = None,
        fusion_task: Optional[str] = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix or fusion_task)
        self.metrics = tuple(expand_names(metrics, protocol))
        self.protocol = protocol
        self.out_csv = out_csv
        self.per_source = per_source
        self.fusion_task = fusion_task

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Rate one batch.

        Args:
            data_batch: ``inputs`` holds ``first`` and ``second``: N images (C, H, W) each, uint8 or floating in [0, 1].
            data_samples: N samples as dicts, with ``fused``.

        Raises:
            KeyError: A sample has no fused image.
            ValueError: Fused image and sources differ in size.
        """
        inputs = data_batch['inputs']
        for first, second, sample in zip(inputs['first'], inputs['second'], data_samples):
            if self.fusion_task is not None and sample.get(TASK_KEY) != self.fusion_task:
                # keeps its place: processes hand their rows in as many as they had samples, and in turn
                self.results.append({TASK_KEY: sample.get(TASK_KEY)})
                continue
            if 'fused' not in sample:
                raise InputKeyError(
                    f'sample {sample_name(sample)!r} has no fused image; FusionMetric needs a coupling that '
                    f'predicts `fused`'
                )
            fused = sample['fused']['data']
            if fused.shape[-2:] != first.shape[-2:] or fused.shape[-2:] != second.shape[-2:]:
                raise InputError(
                    f'sample {sample_name(sample)!r}: the fused image is {tuple(fused.shape[-2:])}, its sources are '
                    f'{tuple(first.shape[-2:])} and {tuple(second.shape[-2:])}'
                )
            row = {key: sample[key] for key in ID_KEYS if key in sample}
            window = valid_window(sample['valid_map']['data']) if 'valid_map' in sample else None
            images = [fused, first.to(fused.device), second.to(fused.device)]
            if window is not None:
                images = [window.cut(image) for image in images]
            usable = window is None or window.usable
            row['values'] = self.rate(*images) if usable else dict.fromkeys(self.metrics, float('nan'))
            self.results.append(row)

    def rate(self, fused: Tensor, first: Tensor, second: Tensor) -> Dict[str, float]:
        """All values of one image; arguments (C, H, W) on one device. Undefined values are NaN."""
        if not torch.isfinite(fused).all():
            return dict.fromkeys(self.metrics, float('nan'))
        images = prepare_images([image.unsqueeze(0) for image in (fused, first, second)], self.protocol)
        return {
            key: value.item() for key, value in evaluate_metrics(self.metrics, *images, protocol=self.protocol).items()
        }

    def compute_metrics(self, results: List[dict]) -> Dict[str, float]:
        """Average over images, print the table and write the files; runs on the main process with the results of all.

        Args:
            results: Rows of :meth:`process`, in the order of the data set.

        Returns:
            Mean by metric name; NaN where no image had a value.
        """
        results = self._of_task(results)
        summary = Summary(self.metrics, self.protocol)
        for row in results:
            summary.add(sample_name(row), row['values'])
        for sentence in summary.warnings():
            warnings.warn(sentence, stacklevel=2)
        logger = MMLogger.get_current_instance()
        if self.out_csv:
            keys = [column.key for column in summary.columns()]
            ids = [key for key in ID_KEYS if any(key in row for row in results)]
            write_csv(
                self.out_csv,
                (
                    {
                        **{key: row.get(key, '') for key in ids},
                        'protocol': self.protocol,
                        **{key: row['values'].get(key, float('nan')) for key in keys},
                    }
                    for row in results
                ),
                [*ids, 'protocol', *keys],
            )
            print_log(f'fusion metrics of {len(results)} images written to {os.path.abspath(self.out_csv)}', logger)
        task = f'{self.fusion_task}: ' if self.fusion_task else ''
        print_log(task + format_summary(summary, self.per_source), logger)
        self._write_json(summary, logger)
        statistics = summary.statistics()
        return {column.key: statistics[column.key].mean for column in summary.columns(self.per_source)}

    def _of_task(self, results: List[dict]) -> List[dict]:
        """Rows that were rated."""
        rated = [row for row in results if 'values' in row]
        if self.fusion_task is not None and not rated:
            found = sorted({str(row[TASK_KEY]) for row in results})
            raise InputError(
                f'FusionMetric: none of {len(results)} samples is of fusion_task={self.fusion_task!r}, '
                f'their tasks are {found}; '
                'name a task of the FusionTasksDataset in the test dataloader'
            )
        return rated

    def _write_json(self, summary: Summary, logger: MMLogger) -> None:
        """Keep the table beside the log file of the run, where there is one: scalars of a run have no place for the
        protocol's name.
        """
        if not logger.log_file:
            return
        statistics = {
            key: {
                name: None if number != number else number for name, number in value._asdict().items()
            }  # JSON has no NaN
            for key, value in summary.statistics().items()
        }
        content = dict(
            protocol=self.protocol,
            title=get_protocol(self.protocol).title,
            images=summary.n_images,
            metrics=statistics,
            cautions=cautions(self.metrics, self.protocol),
        )
        if self.fusion_task:
            content['fusion_task'] = self.fusion_task
        name = f'{(self.prefix or "fusion").replace(os.sep, "_")}_metrics.json'
        write_json(os.path.join(os.path.dirname(logger.log_file), name), content)


def format_summary(summary: Summary, per_source: bool = False) -> str:
    """Table for the log: protocol, then mean, standard deviation, worst and best image of each metric, then what to
    know about them.
    """
    statistics, rows = summary.statistics(), [('', 'mean', 'std', 'worst', 'best', '')]
    for column in summary.columns(per_source):
        spec, values = get_metric(column.metric, summary.protocol), statistics[column.key]
        extremes = (
            f'{format_value(value)} ({name})' if name else '-'
            for name, value in ((values.worst, values.worst_value), (values.best, values.best_value))
        )
        rows.append(
            (
                column.key,
                format_value(values.mean),
                format_value(values.std),
                *extremes,
                f'{title(column, spec)}, {spec.better} is better',
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = [heading(summary.protocol, summary.n_images)]
    lines += [
        '  '.join(
            (
                '',
                row[0].ljust(widths[0]),
                row[1].rjust(widths[1]),
                row[2].rjust(widths[2]),
                row[3].ljust(widths[3]),
                row[4].ljust(widths[4]),
                row[5],
            )
        ).rstrip()
        for row in rows
    ]
    return '\n'.join(lines + [f'  {text}' for text in caution_lines(summary.metrics, summary.protocol)])


def sample_name(sample: dict) -> str:
    """What a sample is called in messages and tables."""
    return str(next((sample[key] for key in ID_KEYS if key in sample), '?'))
