"""FusionVisualizationHook: which files, at which size, and what happens when they cannot be written."""

import logging
import os
from types import SimpleNamespace

import cv2
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from mmfusion.engine.hooks.fusion_visualization_hook import FusionVisualizationHook
from mmfusion.registry import HOOKS
from mmfusion.structures import FusionDataSample
from mmfusion.visualization import to_picture


class Backends:
    dataset_meta = dict(classes=('person',), palette=[(9, 8, 7)], modalities=('visible', 'infrared'))

    def __init__(self):
        self.images = []

    def add_image(self, name, image, step):
        self.images.append((name, image.shape, step))


@pytest.fixture
def runner(tmp_path):
    return SimpleNamespace(work_dir=str(tmp_path), logger=logging.getLogger('hook_test'), visualizer=Backends(), iter=5)


def make_batch(ids=('a', 'b'), start=0, scale=0.5):
    inputs = dict(first=[torch.rand(3, 20, 30) for _ in ids], second=[torch.rand(1, 20, 30) for _ in ids])
    samples = []
    for i, name in enumerate(ids):
        ori = (round(20 / scale), round(30 / scale))
        sample = FusionDataSample(
            metainfo=dict(
                ori_shape=ori, img_shape=(20, 30), scale_factor=(scale, scale), sample_id=name, img_id=start + i
            )
        )
        sample.fused = PixelData(data=torch.rand(3, 20, 30))
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor([[4.0, 4.0, 20.0, 20.0]]), labels=torch.tensor([0]), scores=torch.tensor([0.8])
        )
        samples.append(sample)
    return dict(inputs=inputs), samples


def written(runner):
    return sorted(
        os.path.relpath(os.path.join(folder, file), runner.work_dir)
        for folder, _, files in os.walk(runner.work_dir)
        for file in files
    )


def test_writes_original_size_and_panels(runner):
    hook = HOOKS.build(dict(type='FusionVisualizationHook', panel=True))
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, *make_batch())
    assert written(runner) == [
        'fused/test/a.png',
        'fused/test/b.png',
        'fused/test_panels/a.png',
        'fused/test_panels/b.png',
    ]
    assert cv2.imread(f'{runner.work_dir}/fused/test/a.png').shape == (40, 60, 3)
    panel = cv2.imread(f'{runner.work_dir}/fused/test_panels/a.png')[..., ::-1]
    assert (
        panel.shape == (62, 188, 3) and (panel[22 + 15, 128 + 4] == (9, 8, 7)).all()
    )  # left edge of the box, in the class color


def test_network_size_writes_what_the_metrics_rate(runner):
    hook = FusionVisualizationHook(size='network')
    batch, samples = make_batch()
    hook.after_test_iter(runner, 0, batch, samples)
    assert (cv2.imread(f'{runner.work_dir}/fused/test/b.png')[..., ::-1] == to_picture(samples[1].fused.data)).all()


def test_interval_and_limits_count_over_batches(runner):
    hook = FusionVisualizationHook(interval=3, max_images=2, max_val_images=1)
    for phase in ('test', 'val'):
        getattr(hook, f'before_{phase}_epoch')(runner)
        for k in range(5):
            getattr(hook, f'after_{phase}_iter')(runner, k, *make_batch((f's{2 * k}', f's{2 * k + 1}'), 2 * k))
    assert written(runner) == ['fused/test/s0.png', 'fused/test/s3.png', 'fused/val/s0.png']
    hook.before_val_epoch(runner)  # the next validation starts anew
    hook.after_val_iter(runner, 0, *make_batch(('t0', 't1')))
    assert 'fused/val/t0.png' in written(runner)


def test_phases_and_absolute_folder(runner, tmp_path):
    hook = FusionVisualizationHook(out_dir=str(tmp_path / 'else'), phases='test')
    hook.after_val_iter(runner, 0, *make_batch())
    assert not written(runner)
    hook.after_test_iter(runner, 0, *make_batch())
    assert written(runner) == ['else/test/a.png', 'else/test/b.png']


def test_names_collide_without_loss(runner):
    hook = FusionVisualizationHook()
    hook.after_test_iter(runner, 0, *make_batch(('x/a', 'x_a', 'x/a'), 5))
    assert written(runner) == ['fused/test/x_a.png', 'fused/test/x_a_6.png', 'fused/test/x_a_7.png']


def test_samples_of_tasks_have_the_name_of_the_task(runner):
    """Sets beside each other may use the same names and numbers."""
    hook = FusionVisualizationHook()
    for task in ('focus', 'exposure'):
        batch, samples = make_batch(('a',))
        samples[0].set_metainfo(dict(fusion_task=task))
        hook.after_test_iter(runner, 0, batch, samples)
    assert written(runner) == ['fused/test/exposure_a.png', 'fused/test/focus_a.png']


def test_full_disk_is_reported_once_and_nothing_stops(runner, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'replace', full)
    hook = FusionVisualizationHook()
    with caplog.at_level(logging.INFO, 'hook_test'):
        hook.after_val_iter(runner, 0, *make_batch())
        hook.after_val_iter(runner, 1, *make_batch())
    assert len(caplog.records) == 1 and 'fused/val/a.png: No space left' in caplog.text and not written(runner)
    monkeypatch.undo()
    hook.before_val_epoch(runner)  # tries again in the next phase
    hook.after_val_iter(runner, 0, *make_batch())
    assert written(runner)


def test_nan_and_crops_are_told_once(runner, caplog):
    batch, samples = make_batch(('a', 'b', 'c', 'd'))
    for sample in samples[:2]:
        sample.fused.data[0, 0, 0] = float('nan')
    for sample in samples[2:]:
        sample.set_metainfo(dict(ori_shape=(80, 90)))
    FusionVisualizationHook().after_test_iter(runner, 0, batch, samples)
    assert written(runner) == ['fused/test/c.png', 'fused/test/d.png'] and cv2.imread(
        f'{runner.work_dir}/fused/test/c.png'
    ).shape == (20, 30, 3)
    assert len(caplog.records) == 2 and "'a' holds NaN" in caplog.text and 'crops' in caplog.text


def test_backends_get_panels(runner):
    hook = FusionVisualizationHook(images=False, to_backends=True)
    hook.after_val_iter(runner, 0, *make_batch())
    assert not written(runner) and runner.visualizer.images[0] == ('val/a', (62, 188, 3), 5)


@pytest.mark.parametrize('wrong', [dict(phases='train'), dict(interval=0), dict(size='big'), dict(titles=['one'])])
def test_bad_arguments(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FusionVisualizationHook(**wrong)
