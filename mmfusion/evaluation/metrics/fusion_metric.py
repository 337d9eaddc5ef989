"""Quality of the fused images during validation and testing."""
import os
import warnings
from typing import Dict, List, Optional, Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from torch import Tensor

from mmfusion.evaluation.functional import evaluate_metric, expand_names, get_metric, to_grey
from mmfusion.registry import METRICS

from .csv_file import write_csv

ID_KEYS = ('sample_id', 'img_id')


@METRICS.register_module()
class FusionMetric(BaseMetric):
    """Rate every fused image with a list of metrics and report the means over images.

    Images are rated as 8-bit grey (BT.601 luma, rounded half up) at the size the network worked at, against the sources of the same size:
    a pipeline that resizes changes the values. Results are named ``fusion/EN`` and so on.
    Where a value is undefined (a fused image with NaN, an image smaller than the metric's window) it becomes NaN, is left out of the mean,
    and is counted in a warning.

    Args:
        metrics: Short names out of the protocol's table, in the order of the printed table.
        protocol: Name of the protocol, which fixes grey conversion, log base, windows and sums; written next to every result.
        out_csv: File for the values of every image, one row each, with the values per source; written atomically by the main process.
            A relative path is taken from the working directory of the process.
        per_source: Also report the means of the values per source, as ``fusion/MI_first``.
        collect_device: Where distributed results are gathered, ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the result names, ``'fusion'`` by default.

    Raises:
        KeyError: The protocol or a metric is unknown.
        ValueError: The list of metrics is empty or names a metric twice.
    """

    default_prefix = 'fusion'

    def __init__(self,
                 metrics: Sequence[str] = ('EN', 'SD', 'SF', 'AG', 'MI', 'SSIM'),
                 protocol: str = 'default',
                 out_csv: Optional[str] = None,
                 per_source: bool = False,
                 collect_device: str = 'cpu',
                 prefix: Optional[str] = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.metrics = tuple(expand_names(metrics, protocol))
        self.protocol = protocol
        self.out_csv = out_csv
        self.per_source = per_source

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
            if 'fused' not in sample:
                raise KeyError(f'sample {_name(sample)} has no fused image; FusionMetric needs a coupling that predicts `fused`')
            fused = sample['fused']['data']
            if fused.shape[-2:] != first.shape[-2:] or fused.shape[-2:] != second.shape[-2:]:
                raise ValueError(f'sample {_name(sample)}: the fused image is {tuple(fused.shape[-2:])}, its sources are {tuple(first.shape[-2:])} '
                                 f'and {tuple(second.shape[-2:])}')
            row = {key: sample[key] for key in ID_KEYS if key in sample}
            row['values'] = self.rate(fused, first.to(fused.device), second.to(fused.device))
            self.results.append(row)

    def rate(self, fused: Tensor, first: Tensor, second: Tensor) -> Dict[str, float]:
        """All values of one image; arguments (C, H, W) on one device. Undefined values are NaN."""
        if not torch.isfinite(fused).all():
            return {name: float('nan') for name in self.metrics}
        images = [to_grey(image).unsqueeze(0) for image in (fused, first, second)]
        values: Dict[str, float] = {}
        for name in self.metrics:
            if min(images[0].shape[-2:]) < get_metric(name, self.protocol).min_size:
                values[name] = float('nan')
            else:
                values.update({key: value.item() for key, value in evaluate_metric(name, *images, protocol=self.protocol).items()})
        return values

    def compute_metrics(self, results: List[dict]) -> Dict[str, float]:
        """Average over images, print the table and write the csv file; runs on the main process with the results of all.

        Args:
            results: Rows of :meth:`process`, in the order of the data set.

        Returns:
            Mean by metric name; NaN where no image had a value.
        """
        found = dict.fromkeys(key for row in results for key in row['values'])
        keys = [key for name in self.metrics for key in dict.fromkeys([name, *found]) if key.split('_')[0] == name]
        table = {key: np.array([row['values'].get(key, np.nan) for row in results]) for key in keys}
        means = {key: float(np.mean(values[~np.isnan(values)])) if (~np.isnan(values)).any() else float('nan') for key, values in table.items()}
        self._warn_undefined(table, results)
        if self.out_csv:
            rows = [{**{key: row.get(key, '') for key in ID_KEYS}, 'protocol': self.protocol, **{key: table[key][i] for key in keys}}
                    for i, row in enumerate(results)]
            write_csv(self.out_csv, rows)
            print_log(f'fusion metrics of {len(rows)} images written to {os.path.abspath(self.out_csv)}', MMLogger.get_current_instance())
        reported = {key: value for key, value in means.items() if self.per_source or key in self.metrics}
        print_log(self._table(reported, len(results)), MMLogger.get_current_instance())
        return reported

    def _warn_undefined(self, table: Dict[str, np.ndarray], results: List[dict]) -> None:
        groups: Dict[tuple, List[str]] = {}  # metrics that fail on the same images share one warning
        for name in self.metrics:
            groups.setdefault(tuple(np.flatnonzero(np.isnan(table[name]))), []).append(name)
        for bad, names in groups.items():
            if bad:
                size = max(get_metric(name, self.protocol).min_size for name in names)
                warnings.warn(
                    f'{", ".join(names)} undefined for {len(bad)} of {len(results)} images (first: {", ".join(_name(results[i]) for i in bad[:3])}), '
                    f'left out of the mean: the fused image holds NaN or is smaller than {size}x{size} pixels',
                    stacklevel=2)

    def _table(self, means: Dict[str, float], n_images: int) -> str:
        lines = [f'Fusion metrics, mean over {n_images} images, protocol {self.protocol!r}']
        for key, value in means.items():
            spec = get_metric(key.split('_')[0], self.protocol)
            arrow = 'higher is better' if spec.higher_is_better else 'lower is better'
            against = ' against ' + key.split('_')[1] if '_' in key else ''
            lines.append(f'  {key:<12}{value:>10.4f}  {spec.title.split(",")[0] if against else spec.title}{against}'
                         f'{f" [{spec.unit}]" if spec.unit else ""}, {arrow}')
        return '\n'.join(lines)


def _name(sample: dict) -> str:
    return repr(next((sample[key] for key in ID_KEYS if key in sample), '?'))
