"""The verdict on data whose answer is known by construction, with real trainings: minutes each on two quiet cores."""

import itertools
from pathlib import Path

import noise_source  # noqa: F401  registers the transform
import pytest

from mmfusion.experiments.verdict import make_report, verdict
from mmfusion.experiments.verdict.cells import plan_cells, read_records
from mmfusion.experiments.verdict.run import row_facts
from mmfusion.utils import load_config

BASES = Path(__file__).parents[2] / 'configs' / '_base_'
CONFIG = f"""
_base_ = [
    '{BASES}/default_runtime.py', '{BASES}/datasets/demo_pairs.py', '{BASES}/detectors/fcos_small.py',
    '{BASES}/schedules/warmup_cosine.py'
]
detector = _base_.detector
detector.bbox_head.num_classes = 3
model = dict(type='JointCoupling', fuser=dict(type='AverageFuser'), tasks=dict(det=detector))
size = (96, 128)
train_dataloader = dict(dataset=dict(length=240, size=size))
val_dataloader = dict(dataset=dict(length=80, size=size))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=10, val_interval=10)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
log_level = 'WARNING'
"""


@pytest.fixture
def base(tmp_path):
    path = tmp_path / 'demo.py'
    path.write_text(CONFIG)
    return load_config(path, None)


def answer(result):
    assert result.missing == []
    return result.report.tasks[0].judgments['trained']


@pytest.mark.slow
def test_fusion_helps_on_the_demo_pairs(base, tmp_path):
    """Three of five objects show in one source only, so that neither suffices."""
    found = answer(
        verdict(base, tmp_path / 'runs', ['visible', 'infrared', 'average'], seeds=(0, 1, 2), resamples=1000)
    )
    assert found.kind == 'fusion' and found.fused == 'average', found.sentence


@pytest.mark.slow
def test_infrared_alone_where_the_visible_image_is_noise(base, tmp_path):
    for loader in (base.train_dataloader, base.test_dataloader):
        steps = loader.dataset.pipeline
        loader.dataset.pipeline = [steps[0], dict(type='NoiseForFirst'), *steps[1:]]
    found = answer(
        verdict(base, tmp_path / 'runs', ['visible', 'infrared', 'average', 'maximum'], seeds=(0, 1, 2), resamples=1000)
    )
    assert found.kind == 'single' and found.single == 'infrared' and found.sentence.startswith('Infrared do'), (
        found.sentence
    )


@pytest.mark.slow
def test_seeds_of_one_row_do_not_differ_from_each_other(base, tmp_path):
    """Six trainings of one row, parted into two "rows" of three in all ten ways."""
    seeds = range(6)
    verdict(base, tmp_path / 'runs', ['average'], seeds=seeds, resamples=100)
    records = read_records(tmp_path / 'runs', plan_cells(['average'], list(seeds)))['average']
    facts = row_facts(['infrared', 'average'])
    called = 0
    for first in itertools.combinations(seeds, 3):
        if 0 in first:
            parts = dict(
                infrared={seed: records[seed] for seed in first},
                average={seed: records[seed] for seed in seeds if seed not in first},
            )
            report = make_report(parts, facts, resamples=500, examples=0)
            called += report.tasks[0].comparisons[0].different
    # At a rate of 5 %, two or more of ten are called in 9 of 100 cases if they were independent; they share trainings.
    assert called <= 2
