"""The sweep over the networks of mmdet and mmseg: its list, its page, and that it finds what it is meant to find."""

import copy
import importlib.util
import json
import mmap
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import tiny_models
import torch

from mmfusion.experiments.task_sweep import (
    FAMILIES,
    OUTSIDE,
    Family,
    chosen,
    faults,
    read_results,
    status,
    sweep,
)
from mmfusion.experiments.task_sweep.attempt import attempt
from mmfusion.experiments.task_sweep.judgment import UPSTREAM
from mmfusion.experiments.task_sweep.page import in_order, networks_table, reason
from mmfusion.experiments.task_sweep.run import RESULTS_FILE, own_family, versions
from mmfusion.experiments.task_sweep.small import config_path, shrink, task_network
from mmfusion.models.couplings import TaskNetwork
from mmfusion.utils import UserError

NETWORKS = dict(rtmdet='mmdet', faster_rcnn='mmdet', segmentor='mmseg')


@pytest.fixture(scope='module')
def script(repo_dir):
    """The module that writes the page."""
    spec = importlib.util.spec_from_file_location('task_network_table', repo_dir / 'docs' / 'task_network_table.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def rows(script):
    """What was recorded, in the order of the families."""
    return in_order(read_results(script.RECORD))


def config_folders(package):
    root = Path(find_spec(package).origin).parent / '.mim' / 'configs'
    return {path.name for path in root.iterdir() if path.is_dir() and path.name not in ('_base_', '__pycache__')}


@pytest.mark.parametrize('package', ['mmdet', 'mmseg'])
def test_every_folder_of_configs_is_a_family_or_said_to_be_outside(package):
    named = {family.config.split('/')[0] for family in FAMILIES.values() if family.package == package}
    assert named | set(OUTSIDE[package]) == config_folders(package)
    assert not named & set(OUTSIDE[package])


def test_every_family_has_its_config():
    assert all(config_path(family).is_file() for family in FAMILIES.values())
    assert len({family.config for family in FAMILIES.values()}) == len(FAMILIES) >= 70


def test_page_is_that_of_the_record(script, rows):
    assert script.PAGE.read_text() == script.page(rows), 'run python docs/task_network_table.py'
    assert set(read_results(script.RECORD)) <= set(FAMILIES)
    assert all(row['config'] == FAMILIES[row['name']].config for row in rows)


def test_every_family_is_on_the_page_once(script):
    tables = script.PAGE.read_text().split('## What is not here')[0]
    assert {family.config for family in FAMILIES.values() if tables.count(f'`{family.config}`') != 1} == set()


def test_record_is_of_the_pinned_versions(rows, repo_dir):
    pinned = dict(re.findall(r'^([\w-]+)==(\S+)$', (repo_dir / 'requirements' / 'constraints.txt').read_text(), re.M))
    for row in rows:
        assert row['versions'] == {name: pinned[name] for name in row['versions']}, 'run the sweep again'


def test_nothing_fails_that_works_alone_and_what_fails_is_explained(rows):
    # TridentNet's first loss is not finite from the weights that it starts with here; why is not known yet.
    assert [row['name'] for row in rows if status(row) == 'fails'] == ['TridentNet']
    for row in rows:
        if status(row) == UPSTREAM:
            assert reason(row).why
    assert sum(status(row).startswith('works') for row in rows) >= 64


def config_of(network, tmp_path):
    """A config file with a tiny network."""
    cfg = tiny_models.TASKS[network]()
    cfg['type'] = cfg['type'].split('.')[1]
    path = tmp_path / f'{network}.py'
    path.write_text(f'model = {cfg!r}\n')
    return path


def attempted(network, tmp_path):
    path = config_of(network, tmp_path)
    family = own_family(path)
    assert family == Family(network, NETWORKS[network], str(path))
    return dict(attempt(family, tmp_path), name=network, config=path.name)


@pytest.mark.parametrize('network', NETWORKS)
def test_tiny_network_works(network, tmp_path):
    row = attempted(network, tmp_path)
    assert status(row) == 'works', (row, faults(row))
    assert row['train']['gradient'] > 0 and row['train']['losses']
    assert row['train']['backbone'] == row['predict']['backbone'] == ['same']


def wrong_channels(preprocess):
    return lambda self, image, *args, **kwargs: preprocess(self, image.flip(1), *args, **kwargs)


def late_scale(preprocess):
    return lambda self, image, *args, **kwargs: preprocess(self, image * 0.99, *args, **kwargs)


def moved_labels(preprocess):
    def moved(self, image, data_samples, training):
        inputs, samples = preprocess(self, image, data_samples, training)
        for sample in samples:
            sample.gt_instances.bboxes = sample.gt_instances.bboxes + 1
            sample.gt_sem_seg.data = sample.gt_sem_seg.data.roll(1, -1) if 'gt_sem_seg' in sample else None
        return inputs, samples

    return moved


@pytest.mark.parametrize(
    'change, found',
    [(wrong_channels, 'inputs differ'), (late_scale, 'inputs differ'), (moved_labels, 'gt_sem_seg')],
)
def test_what_a_coupling_does_wrong_is_found(change, found, tmp_path, monkeypatch):
    monkeypatch.setattr(TaskNetwork, 'preprocess', change(TaskNetwork.preprocess))
    row = attempted('segmentor', tmp_path)
    assert status(row) == 'fails' and any(found in fault for fault in faults(row)), row


def test_a_fuser_without_gradient_is_found(tmp_path, monkeypatch):
    loss = TaskNetwork.loss
    monkeypatch.setattr(TaskNetwork, 'loss', lambda self, image, samples: loss(self, image.detach(), samples))
    row = attempted('segmentor', tmp_path)
    assert status(row) == 'fails'
    assert 'the gradient of the fuser is 0.0' in faults(row) or 'error' in row


def test_what_fails_alone_too_fails_upstream(tmp_path, monkeypatch):
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead

    def broken(*args, **kwargs):
        raise RuntimeError('no such operation')

    monkeypatch.setattr(BaseDecodeHead, 'loss', broken)
    row = attempted('segmentor', tmp_path)
    assert status(row) == UPSTREAM and row['error']['message'] == 'no such operation'
    row['alone'] = None
    assert status(row) == 'fails' and 'no such operation' in '\n'.join(networks_table([row]))


def test_published_configs_become_small_and_keep_their_layers():
    network = task_network(FAMILIES['Mask2Former (panoptic)'])
    head = network['panoptic_head']
    assert (head['num_things_classes'], head['num_stuff_classes']) == (3, 1)
    assert head['loss_cls']['class_weight'] == [1.0] * 4 + [0.1]
    assert network['panoptic_fusion_head']['num_things_classes'] == 3 and network['backbone']['init_cfg'] is None
    network = task_network(FAMILIES['HTC'])
    assert {head['num_classes'] for head in network['roi_head']['bbox_head']} == {3}
    assert network['roi_head']['semantic_head']['num_classes'] == 4
    before = tiny_models.segmentor()
    network = copy.deepcopy(before)
    shrink(network, 4)
    assert network['decode_head'] == dict(before['decode_head'], num_classes=4)


def test_names_and_configs_are_chosen(tmp_path):
    path = config_of('rtmdet', tmp_path)
    assert [family.name for family in chosen(['FCN', str(path)])] == ['FCN', 'rtmdet']
    assert len(chosen(None)) == len(FAMILIES)
    with pytest.raises(UserError, match="'FCM' is neither a config file nor one of ATSS"):
        chosen(['FCM'])
    path.write_text("model = dict(type='LinearRegression')\n")
    with pytest.raises(UserError, match="type 'LinearRegression', which is no network of mmdet or mmseg"):
        chosen([str(path)])


def test_finished_networks_are_kept_and_hanging_ones_ended(tmp_path, monkeypatch):
    path = tmp_path / RESULTS_FILE
    done = dict(name='FCN', versions=versions(), reached='end')
    path.write_text(json.dumps(dict(done, name='ATSS', versions={})) + '\n' + json.dumps(done) + '\n{"name": "SE')
    assert set(read_results(path)) == {'FCN', 'ATSS'}
    tried = []

    def fake(family, folder):
        tried.append(family.name)
        return dict(reached='end')

    monkeypatch.setattr(
        'mmfusion.experiments.task_sweep.run.in_a_process', lambda family, folder, minutes, memory: fake(family, folder)
    )
    sweep([FAMILIES['FCN'], FAMILIES['ATSS'], FAMILIES['SETR']], tmp_path)
    assert tried == ['ATSS', 'SETR']  # that of other versions, and the one that was cut off
    assert set(read_results(path)) == {'FCN', 'ATSS', 'SETR'}


def test_a_process_that_hangs_or_dies_is_a_result(tmp_path, monkeypatch):
    import os
    import time

    from mmfusion.experiments.task_sweep import run as module

    monkeypatch.setattr('mmfusion.experiments.task_sweep.run.attempt', lambda *_: time.sleep(60))
    row = module.in_a_process(FAMILIES['FCN'], tmp_path, 0.005, 100)
    assert row['error']['type'] == 'TimeLimit' and status(dict(row, name='FCN')) == 'fails'
    monkeypatch.setattr('mmfusion.experiments.task_sweep.run.attempt', lambda *_: os._exit(3))
    assert module.in_a_process(FAMILIES['FCN'], tmp_path, 1, 100)['error']['message'] == 'the process ended with 3'


def test_memory_has_a_limit(tmp_path, monkeypatch):
    from mmfusion.experiments.task_sweep import run as module

    def greedy(*_):
        try:
            torch.empty(2**33)
        except RuntimeError:
            return dict(reached='refused')

    monkeypatch.setattr('mmfusion.experiments.task_sweep.run.attempt', greedy)
    assert module.in_a_process(FAMILIES['FCN'], tmp_path, 1, 8)['reached'] == 'refused'


def test_what_the_parent_holds_does_not_count(tmp_path, monkeypatch):
    from mmfusion.experiments.task_sweep import run as module

    held = mmap.mmap(-1, 2**30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # set aside, never touched
    monkeypatch.setattr(module, 'attempt', lambda *_: dict(reached=str(torch.ones(2**24).sum().item())))
    assert module.in_a_process(FAMILIES['FCN'], tmp_path, 1, 0.5)['reached'] == str(float(2**24))
    held.close()


@pytest.mark.slow
def test_all_networks_do_what_the_page_says(rows, tmp_path):
    present = [row for row in rows if not FAMILIES[row['name']].requires or find_spec(FAMILIES[row['name']].requires)]
    found = sweep([FAMILIES[row['name']] for row in present], tmp_path)
    assert {row['name']: status(row) for row in found} == {row['name']: status(row) for row in present}
