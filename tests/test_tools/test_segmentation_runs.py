"""Training and testing with a segmentor from the command line, on rendered pairs in the layout of MSRS."""

import csv
import itertools
import runpy

import pytest
import rendered_sets

_COUNT = itertools.count()
PARTS = ('train', 'val', 'test')


@pytest.fixture
def run(repo_dir, tmp_path):
    """Run a tool with a config on a few pairs."""
    rendered_sets.msrs(tmp_path / 'data', dict(train=8, test=2))

    def call(tool, config, *argv, extra=''):
        path = tmp_path / 'config.py'
        loaders = ''.join(
            f"{part}_dataloader = dict(num_workers=0, dataset=dict(data_root='{tmp_path}/data/MSRS/'))\n"
            for part in PARTS
        )
        path.write_text(
            f"_base_ = '{repo_dir}/configs/{config}.py'\n{loaders}{extra}\nexperiment_name = 'seg_run{next(_COUNT)}'\n"
            "train_cfg = dict(max_epochs=1, val_interval=1)\nlog_level = 'WARNING'\n"
        )
        return runpy.run_path(str(repo_dir / 'tools' / f'{tool}.py'))['main'](
            [str(path), *map(str, argv), '--work-dir', str(tmp_path / 'work')]
        )

    return call


def test_detection_and_segmentation_at_once(run, tmp_path, capsys):
    """mAP, mIoU and fusion metrics in one run of each tool."""
    run('train', 'moe_fusion_msrs_det_seg_light_from_scratch')
    shown = capsys.readouterr().out
    for part in ('training done', 'pascal_voc/mAP', 'seg/mIoU', 'seg/aAcc'):
        assert part in shown, shown
    run(
        'test',
        'moe_fusion_msrs_det_seg_light_from_scratch',
        tmp_path / 'work' / 'epoch_1.pth',
        '--per-image',
        tmp_path / 'images.csv',
    )
    shown = capsys.readouterr().out
    for part in ('test done', 'pascal_voc/mAP', 'seg/mIoU', 'fusion/EN'):
        assert part in shown, shown
    with open(tmp_path / 'images.csv', newline='') as file:
        assert len(list(csv.DictReader(file))) == 2


def test_segmentor_without_class_maps(run, capsys):
    """A detection pipeline with a segmentor among the tasks: one message that says what to do."""
    extra = (
        "_base_.train_pipeline.pop(2)\ntrain_dataloader.update(dataset=dict(train_dataloader['dataset'], "
        'pipeline=_base_.train_pipeline))'
    )
    with pytest.raises((SystemExit, ValueError)) as caught:
        run('train', 'moe_fusion_msrs_det_seg_light_from_scratch', extra=extra)
    text = capsys.readouterr().err + str(caught.value)
    assert (
        'EncoderDecoder needs gt_sem_seg' in text and "put dict(type='LoadClassMap') into the training pipeline" in text
    )
