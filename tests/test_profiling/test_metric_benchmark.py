"""Timing metrics: what is timed is right, and the literal formulation that it is timed against computes the same."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from mmfusion.evaluation.protocols import evaluate_metrics
from mmfusion.profiling.metric_benchmark import TOTAL, Cost, format_costs, synthetic_triple, time_metrics
from mmfusion.utils import UserError


@pytest.fixture(scope='module')
def references():
    spec = importlib.util.spec_from_file_location(
        'reference_metrics', Path(__file__).parents[2] / 'benchmarks' / 'reference_metrics.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.REFERENCES


@pytest.mark.parametrize('shape', [(96, 110), (75, 64)])
def test_literal_formulation_computes_the_same(references, shape):
    images = synthetic_triple(shape, seed=3)
    arrays = [image[0, 0].numpy().astype(np.float32) for image in images]
    got = evaluate_metrics(list(references), *images, protocol='cddfuse')
    for name, reference in references.items():
        # float32 arithmetic in the literal SSIM, whose constants are as small as its rounding errors, and in the means
        # of the others
        assert got[name].item() == pytest.approx(float(reference(*arrays)), rel=1e-4 if name == 'SSIM' else 1e-6), name


def test_made_up_images_look_like_scenes():
    fused, first, second = synthetic_triple((60, 81), seed=1)
    assert fused.shape == first.shape == second.shape == (1, 1, 60, 81) and fused.dtype == torch.uint8
    assert (synthetic_triple((60, 81), seed=1)[1] == first).all() and (
        synthetic_triple((60, 81), seed=2)[1] != first
    ).any()
    assert 0.05 < (first == 0).double().mean() < 0.2 and first.max() == 255
    levels = first[0, 0].double()
    assert (levels[:, 1:] - levels[:, :-1]).abs().mean() < levels.std() / 2  # neighbors are alike


def test_times_of_every_metric_and_of_all():
    costs = time_metrics(synthetic_triple((48, 48)), ['EN', 'MI'], repeats=3)
    assert list(costs) == ['EN', 'MI', TOTAL] and all(0 < cost.best <= cost.median for cost in costs.values())
    with pytest.raises(UserError, match="no metric 'XYZ'"):
        time_metrics(synthetic_triple((48, 48)), ['XYZ'])


def test_table():
    lines = format_costs({'EN': Cost(1.234, 2.0), TOTAL: Cost(3.0, 4.0)}, 'default').splitlines()
    assert lines[1].split()[:4] == ['EN', '1.23', '2.00', 'entropy'] and 'all of them in one call' in lines[2]
