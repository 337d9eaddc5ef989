"""Metric that keeps a few numbers of each test sample, by which it can be told later whether a network still answers
the same.
"""

from typing import Dict, Sequence

from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmfusion.registry import METRICS


@METRICS.register_module()
class SampleFacts(BaseMetric):
    """Describe the outputs for every test sample by a few numbers; adds nothing to the metrics.

    Attributes:
        facts: After the test, by name of sample: ``fused`` (mean and standard deviation of the fused image in [0, 1]),
            ``boxes`` (how many, sum of their scores, mean of their coordinates in pixels) and ``classes`` (pixels of
            each class), as far as there are such outputs. Only in the main process.
    """

    default_prefix = 'facts'

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.facts: Dict[str, dict] = {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Describe the samples of one batch."""
        self.results += [
            (str(sample.get('sample_id', sample.get('img_id'))), describe_outputs(sample)) for sample in data_samples
        ]

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Keep what was collected; there is no metric."""
        self.facts = dict(results)
        return {}


def describe_outputs(sample: dict) -> Dict[str, list]:
    """Numbers of the outputs for one sample; see :class:`SampleFacts`."""
    facts: Dict[str, list] = {}
    if 'fused' in sample:
        fused = sample['fused']['data'].double()
        facts['fused'] = [fused.mean().item(), fused.std(correction=0).item()]
    if 'pred_instances' in sample:
        found = sample['pred_instances']
        boxes = found['bboxes'].double()
        facts['boxes'] = [len(boxes), found['scores'].double().sum().item(), boxes.mean().item() if len(boxes) else 0.0]
    if 'pred_sem_seg' in sample:
        classes: Tensor = sample['pred_sem_seg']['data'].flatten().long()
        facts['classes'] = classes.bincount().tolist()
    return facts
