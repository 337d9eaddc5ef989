"""Training and testing of rows on pairs of a few pixels: equal budgets, pieces, processes, and what a folder or config
may not be."""

import copy
import json
from urllib.error import URLError

import numpy as np
import pytest
import tiny_runs
import torch
from mmengine.runner import checkpoint as mmengine_checkpoint
from tiny_config import write_tiny_config

from mmfusion.experiments.verdict import verdict
from mmfusion.experiments.verdict.cells import Cell, cell_config, check_labels, plan_cells, run_cells
from mmfusion.experiments.verdict.record import Record
from mmfusion.experiments.verdict.rows import ROWS, default_rows, missing_weights, row_config
from mmfusion.experiments.verdict.run import judge_folder
from mmfusion.registry import DATASETS, MODELS
from mmfusion.utils import UserError, load_config, safe_load


@pytest.fixture
def base(tmp_path):
    cfg = load_config(write_tiny_config(tmp_path), None)
    cfg.train_cfg.max_epochs = 1
    return cfg


@pytest.fixture
def pretrained(base, tmp_path):
    """The base with a checkpoint of its detector to start from, which knows other classes in another order."""
    from mmfusion.models.couplings import TaskNetwork

    torch.manual_seed(3)
    network = TaskNetwork(copy.deepcopy(base.model.tasks.det.to_dict())).network
    with torch.no_grad():  # a random detector is silent
        for parameter in network.bbox_head.rtm_cls.parameters():
            parameter.normal_(0, 0.3)
    path = tmp_path / 'det.pth'
    torch.save(
        dict(state_dict=network.state_dict(), meta=dict(dataset_meta=dict(classes=('person', 'car', 'lamp')))), path
    )
    base.model.tasks.det.init_cfg = dict(type='mmfusion.PretrainedTask', checkpoint=str(path))
    return base


def same_records(a, b):
    return a.names == b.names and all(np.array_equal(x, y) for x, y in zip((*a.truth, *a.found), (*b.truth, *b.found)))


def test_rows_share_everything_but_the_model(base, pretrained, tmp_path):
    assert default_rows(pretrained) == [
        'visible',
        'infrared',
        'average',
        'maximum',
        'early',
        'detached',
        'joint',
        'visible_untouched',
        'infrared_untouched',
        'average_untouched',
        'maximum_untouched',
        'frozen',
    ]
    for name in default_rows(pretrained):
        cfg = row_config(pretrained, name, 4, tmp_path)
        for key in (
            'train_dataloader',
            'test_dataloader',
            'train_cfg',
            'optim_wrapper',
            'param_scheduler',
            'custom_hooks',
        ):
            assert cfg[key] == base[key], (name, key)
        assert cfg.randomness == dict(seed=4) and cfg.model.tasks == base.model.tasks
    models = {name: row_config(pretrained, name, 0, tmp_path).model for name in default_rows(pretrained)}
    assert (
        models['early'].type == 'EarlyFusionCoupling'
        and models['frozen'].frozen_tasks == ('det',)
        and models['detached'].detach
    )
    assert all('frozen_tasks' not in model for name, model in models.items() if name != 'frozen')
    on_request = {name for name in ROWS if name.startswith(('laplacian', 'false_color'))}
    assert len(on_request) == 4 and not on_request & set(models)
    asked = row_config(pretrained, 'false_color_untouched', 0, tmp_path).model
    assert asked.fuser.type == 'FalseColorFuser' and asked.fusion_loss is None and asked.tasks == models['joint'].tasks
    frozen_base = copy.deepcopy(pretrained)
    frozen_base.model.frozen_tasks = ('det',)
    assert 'frozen_tasks' not in row_config(frozen_base, 'joint', 0, tmp_path).model


def test_weights_that_may_be_absent_must_be_there_for_untouched_networks(base, tmp_path, monkeypatch):

    def unreachable(*args, **kwargs):
        raise URLError('no network')

    monkeypatch.setattr(mmengine_checkpoint, 'load_url', unreachable)
    assert missing_weights(base) == ['det'] and 'frozen' not in default_rows(base)
    base.model.tasks.det.init_cfg = dict(
        type='mmfusion.PretrainedTask', checkpoint=str(tmp_path / 'none.pth'), if_absent='random'
    )
    assert missing_weights(base) == ['det']
    base.model.tasks.det.init_cfg.checkpoint = 'https://example.org/det.pth'
    assert missing_weights(base) == ['det']
    monkeypatch.setattr(mmengine_checkpoint, 'load_url', lambda *args, **kwargs: dict(state_dict={}))
    assert missing_weights(base) == []
    assert 'if_absent' not in row_config(base, 'average_untouched', 0, tmp_path).model.tasks.det.init_cfg
    assert row_config(base, 'average', 0, tmp_path).model.tasks.det.init_cfg.if_absent == 'random'


def test_plan():
    cells = plan_cells(['visible', 'joint', 'visible_untouched'], [0, 1])
    assert cells == [
        Cell('visible_untouched', 0),
        Cell('visible', 0),
        Cell('joint', 0),
        Cell('visible', 1),
        Cell('joint', 1),
    ]


def test_from_a_config_to_a_page(base, tmp_path):
    root = tmp_path / 'runs'
    rows = ['visible', 'early', 'joint']
    result = verdict(base, root, rows, seeds=[0], resamples=100)
    assert (
        result.missing == []
        and result.page.exists()
        and result.table.exists()
        and 'trained with one seed' in result.report.sentence
    )
    record = Record.load(root / 'joint_seed0' / 'record.npz')
    dataset = DATASETS.build(base.test_dataloader.dataset)
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        mine = record.truth.image == index
        assert record.names[index] == info['sample_id'] and tuple(record.sizes[index]) == (64, 64)
        assert record.truth.box[mine].tolist() == [each['bbox'] for each in info['instances']]
        assert record.truth.label[mine].tolist() == [each['bbox_label'] for each in info['instances']]
        assert record.truth.score[mine].tolist() == [each['ignore_flag'] for each in info['instances']]
    assert record.pictures.shape == (2, 5) and np.isfinite(record.pictures).all()
    assert Record.load(root / 'early_seed0' / 'record.npz').pictures is None
    assert Record.load(root / 'visible_seed0' / 'record.npz').pictures[:, 3] == pytest.approx(
        1
    )  # correlation with the first source
    assert sorted(file.name for file in (root / 'joint_seed0' / 'pictures').iterdir()) == [
        f'{name}.jpg' for name in record.names
    ]
    assert len(list((root / 'sources').iterdir())) == 4 and not (root / 'early_seed0' / 'pictures').exists()
    # again: nothing is trained, and the answer is the same without the config
    before = {file: file.stat().st_mtime_ns for file in root.glob('*/record.npz')}
    assert run_cells(base, plan_cells(rows, [0]), root) == []
    assert before == {file: file.stat().st_mtime_ns for file in root.glob('*/record.npz')}
    assert judge_folder(root, resamples=100).sentences == result.report.sentences
    # a cell that lost its record is tested again, not trained again
    (root / 'joint_seed0' / 'record.npz').unlink()
    checkpoint = root / 'joint_seed0' / 'epoch_1.pth'
    trained = checkpoint.stat().st_mtime_ns
    assert run_cells(base, plan_cells(rows, [0]), root) == []
    assert (
        same_records(record, Record.load(root / 'joint_seed0' / 'record.npz'))
        and checkpoint.stat().st_mtime_ns == trained
    )
    # another config may not come into this folder
    other = copy.deepcopy(base)
    other.optim_wrapper.optimizer.lr = 1
    with pytest.raises(UserError, match=r'belongs to another run \(schedule differ\)'):
        verdict(other, root, rows, seeds=[0])


@pytest.mark.slow
def test_pieces_and_processes_add_up_to_the_same(base, tmp_path):
    """Trained epoch by epoch, and in two processes at once, rows predict the same as in one go."""
    base.train_cfg.max_epochs = 2
    rows = ['average', 'joint']
    cells = plan_cells(rows, [0])
    assert run_cells(base, cells, tmp_path / 'whole') == []
    first = verdict(base, tmp_path / 'pieces', rows, seeds=[0], minutes=1e-6)
    assert first.missing == cells and first.report is None and first.page is None
    assert run_cells(base, cells, tmp_path / 'pieces', workers=2) == []
    for row in rows:
        assert same_records(
            *(Record.load(tmp_path / name / f'{row}_seed0' / 'record.npz') for name in ('whole', 'pieces'))
        )
    assert (tmp_path / 'pieces' / 'joint_seed0' / 'output.log').exists()


def test_untouched_and_frozen_networks_stay_as_loaded(pretrained, tmp_path):
    root = tmp_path / 'runs'
    rows = ['average_untouched', 'frozen']
    cells = plan_cells(rows, [0, 1])
    assert cells == [Cell('average_untouched', 0), Cell('frozen', 0), Cell('frozen', 1)]
    assert run_cells(pretrained, cells[:2], root) == []
    assert json.loads((root / 'average_untouched_seed0' / 'result.json').read_text())['epochs'] == 0
    loaded = safe_load(pretrained.model.tasks.det.init_cfg.checkpoint)['state_dict']
    state = safe_load(root / 'frozen_seed0' / 'epoch_1.pth')['state_dict']
    assert all(torch.equal(state[f'tasks.det.network.{key}'], value) for key, value in loaded.items())
    # what was tested is the network of the checkpoint
    record = Record.load(root / 'average_untouched_seed0' / 'record.npz')
    assert len(record.found.image) > 0
    model = MODELS.build(cell_config(pretrained, cells[0], root, False).model)
    for task in model.tasks.values():
        task.network.class_names = ('person', 'car', 'lamp')
    model.init_weights()
    model.eval()
    from mmengine.runner import Runner

    loader = Runner.build_dataloader(pretrained.test_dataloader)
    with torch.no_grad():
        samples = [sample for batch in loader for sample in model.test_step(batch)]
    scores = np.concatenate([sample.pred_instances.scores.numpy() for sample in samples])
    np.testing.assert_allclose(np.sort(record.found.score), np.sort(scores), rtol=1e-5)


def test_tasks_alone(base, tmp_path):
    """A row of one task has the data and labels of the joint training, and neither network nor metrics of the other."""
    base.model.tasks.seg = copy.deepcopy(tiny_runs.SEGMENTOR)
    base.model.tasks.seg.decode_head.num_classes = 4
    base.model.task_weights = dict(seg=2.0)
    for part in ('train', 'val', 'test'):
        base[f'{part}_dataloader'].dataset.pipeline.insert(1, dict(type='LoadClassMap'))
    base.test_evaluator = base.val_evaluator = [*base.test_evaluator, dict(type='SegIoUMetric')]
    assert not {'detection_alone', 'segmentation_alone'} & set(default_rows(base))
    rows = ['detection_alone', 'segmentation_alone', 'joint']
    detection, segmentation, joint = (row_config(base, name, 0, tmp_path) for name in rows)
    assert list(detection.model.tasks) == ['det'] and list(segmentation.model.tasks) == ['seg']
    assert detection.model.task_weights == {} and segmentation.model.task_weights == dict(seg=2.0)
    assert detection.train_dataloader == segmentation.train_dataloader == joint.train_dataloader
    assert [metric.type for metric in segmentation.test_evaluator] == ['FusionMetric', 'SegIoUMetric']
    result = verdict(base, tmp_path / 'runs', rows, seeds=[0], resamples=100)
    assert result.missing == [] and [task.task for task in result.report.tasks] == ['detection', 'segmentation']
    assert [list(task.study.rows) for task in result.report.tasks] == [
        ['joint', 'detection_alone'],
        ['joint', 'segmentation_alone'],
    ]
    assert 'segmentation alone' in result.page.read_text()
    base.model.tasks.pop('seg')
    with pytest.raises(UserError, match="row 'detection_alone' is the joint training of several tasks without"):
        verdict(base, tmp_path / 'other', ['detection_alone', 'joint'])


def test_configs_that_are_no_base(base, tmp_path):
    without_task = copy.deepcopy(base)
    without_task.model.pop('tasks')
    with pytest.raises(UserError, match='no task network in model.tasks'):
        verdict(without_task, tmp_path / 'a')
    for_tests = copy.deepcopy(base)
    for_tests.pop('train_dataloader')
    with pytest.raises(UserError, match='the config has no train_dataloader'):
        verdict(for_tests, tmp_path / 'a')
    with pytest.raises(
        UserError, match="row 'frozen' leaves the task networks as loaded, but nothing gives det weights"
    ):
        verdict(base, tmp_path / 'a', ['average', 'frozen'])
    with pytest.raises(UserError, match="unknown row 'both'"):
        verdict(base, tmp_path / 'a', ['both'])
    with pytest.raises(UserError, match="row 'meta' needs the config of a MetaCoupling"):
        verdict(base, tmp_path / 'a', ['meta'])
    fixed = copy.deepcopy(base)
    fixed.model.fuser = dict(type='AverageFuser')
    assert not any(ROWS[name].learned for name in default_rows(fixed))
    with pytest.raises(UserError, match="row 'joint' needs a fuser that can learn, and AverageFuser has no parameters"):
        verdict(fixed, tmp_path / 'a', ['joint'])
    for options, message in (
        (dict(seeds=[]), 'seeds must be'),
        (dict(seeds=[-1]), 'seeds must be'),
        (dict(workers=0), 'workers must be'),
        (dict(metric='AP'), 'metric must be'),
        (dict(resamples=5), 'at least 100'),
        (dict(size_edges=(96, 32)), 'size edges'),
    ):
        with pytest.raises(UserError, match=message):
            verdict(base, tmp_path / 'a', ['average'], **options)
    assert not (tmp_path / 'a').exists()
    search = copy.deepcopy(base)
    search.model.type = 'EarlyFusionCoupling'
    with pytest.raises(UserError, match='starts from the config of a JointCoupling or MetaCoupling or BilevelCoupling'):
        verdict(search, tmp_path / 'a')
    with pytest.raises(UserError, match='holds no verdict'):
        judge_folder(tmp_path)
    (tmp_path / 'verdict.json').write_text('{"rows": [')
    with pytest.raises(UserError, match='verdict.json is damaged'):
        judge_folder(tmp_path)


def test_a_test_set_without_labels(base):
    base.test_dataloader.dataset.update(num_objects=(0, 0))
    with pytest.raises(UserError, match='DemoPairs has no boxes in any of 2 pairs'):
        check_labels(base)


def too_large(base):
    """The base with a batch that its pairs do not fill."""
    base.train_dataloader.batch_size = 64
    base.train_dataloader.drop_last = True
    return base


def test_a_failing_cell_says_why(base, tmp_path):
    with pytest.raises(UserError, match='make no batch of batch_size=64'):
        run_cells(too_large(base), plan_cells(['average', 'visible'], [0]), tmp_path / 'runs')


@pytest.mark.slow
def test_a_failing_cell_of_another_process_is_named(base, tmp_path):
    with pytest.raises(UserError, match=r'(average|visible)_seed0: .*make no batch of batch_size=64'):
        run_cells(too_large(base), plan_cells(['average', 'visible'], [0]), tmp_path / 'runs', workers=2)
    assert 'make no batch' in next(tmp_path.glob('runs/*/output.log')).read_text()
