"""Runs that are killed, and started again with the same command, end as undisturbed ones, bit by bit.

``pytest -m slow tests/test_kill.py`` kills every kind of run 50 times (``MMFUSION_KILLS`` says otherwise) at seeded
moments spread over its duration, every fifth time in the middle of something that it does to a file.
``MMFUSION_KILL_TABLE`` names a file for the table.
"""

import csv
import hashlib
import json
import os
import pickle
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from kill_server import KillServer
from mmengine.logging import HistoryBuffer
from tiny_runs import write_run

from mmfusion.fileio import partial_files
from mmfusion.utils import newest_checkpoint, safe_load

KILLS = int(os.environ.get('MMFUSION_KILLS', 50))
TIMES = ('time', 'data_time', 'memory')  # what a run measures of the machine


@pytest.fixture(scope='module')
def server():
    server = KillServer()
    yield server
    server.close()


@pytest.fixture(scope='module')
def inputs(tmp_path_factory, server):
    """Configs, pairs, and a checkpoint and fused images made once."""
    folder = tmp_path_factory.mktemp('inputs')
    best = 'default_hooks = dict(checkpoint=dict(max_keep_ckpts=1, save_best="seg/mIoU"))\n'
    (folder / 'search').mkdir()
    configs = {
        'train': write_run(folder, 'joint', 3, best),
        'compare': shutil.copy(write_run(folder, 'joint', 2), folder / 'compare.py'),
        'search': write_run(
            folder / 'search', 'search', 2, 'custom_hooks = [*_base_.custom_hooks, dict(type="ArchitectureHook")]\n'
        ),
    }
    configs['train'] = write_run(folder, 'joint', 3, best)
    assert server.run('train.py', configs['train'], '--work-dir', folder / 'made', log=folder / 'log')['code'] == 0, (
        folder / 'log'
    ).read_text()
    for index in range(40):
        for name in ('vi', 'ir', 'fused'):
            (folder / 'scored' / name).mkdir(parents=True, exist_ok=True)
            picture = (
                folder
                / 'MSRS'
                / 'train'
                / ('ir' if name == 'ir' else 'vi')
                / f'train{(index + (name == "fused")) % 6}.png'
            )
            shutil.copy(picture, folder / 'scored' / name / f'{index}.png')
    from test_tools.test_tdfusion_official import filled, official_fuser

    torch.manual_seed(0)
    torch.save(dict(state_dict=filled(official_fuser())), folder / 'official.pth')
    return folder, configs


def training(inputs, work):
    return 'train.py', [inputs[1]['train'], '--work-dir', work, '--resume']


def testing(inputs, work):
    outputs = ['--out', work / 'predictions.pkl', '--per-image', work / 'images.csv', '--show-dir', work / 'shown']
    return 'test.py', [inputs[1]['train'], inputs[0] / 'made' / 'epoch_3.pth', '--work-dir', work, *outputs]


testing.__test__ = False  # a procedure, though its name begins like that of a test


def comparing(inputs, work):
    return 'analysis_tools/compare_fusers.py', [
        inputs[1]['compare'],
        '--variants',
        'average',
        'joint',
        '--seeds',
        '0',
        '--work-dir',
        work,
    ]


def downstream(inputs, work):
    return 'downstream.py', [inputs[1]['compare'], '--fusion', 'MaximumFuser', '--work-dir', work, '--device', 'cpu']


def searching(inputs, work):
    return 'search.py', [inputs[1]['search'], '--work-dir', work, '--resume']


def scoring(inputs, work):
    folders = [inputs[0] / 'scored' / name for name in ('fused', 'vi', 'ir')]
    return 'analysis_tools/eval_fusion.py', [
        *folders,
        '--metrics',
        'EN',
        'MI',
        'SSIM',
        'Qabf',
        '--workers',
        '1',
        '--out',
        work,
    ]


def converting(inputs, work):
    return 'model_converters/tdfusion_official.py', [inputs[0] / 'official.pth', work / 'converted.pth']


PROCEDURES = [training, testing, comparing, downstream, searching, scoring, converting]


def content(path):
    """What a file says, without what depends on when and where it was made."""
    if path.suffix == '.pth':
        loaded = safe_load(path)
        hub = loaded.pop('message_hub', dict(log_scalars={}, runtime_info={}))
        meta = loaded.pop('meta')
        scalars = {key: value for key, value in hub['log_scalars'].items() if key.split('/')[-1] not in TIMES}
        info = {
            key: hub['runtime_info'].get(key)
            for key in ('epoch', 'iter', 'best_score', 'keep_ckpt_ids', 'validated_step')
        }
        best = os.path.basename(hub['runtime_info'].get('best_ckpt') or '')
        return [loaded, meta.get('epoch'), meta.get('iter'), scalars, info, best]
    if path.suffix == '.pkl':
        return pickle.loads(path.read_bytes())
    if path.suffix == '.json':
        return without_paths(json.loads(path.read_text()))
    if path.suffix == '.csv':
        return list(csv.reader(path.read_text().splitlines()))
    return path.read_bytes()


def without_paths(node):
    if isinstance(node, dict):
        return {
            key: without_paths(value) for key, value in node.items() if key not in ('folder', 'loaders', 'task_sha256')
        }
    return [without_paths(value) for value in node] if isinstance(node, list) else node


def digest(node):
    """Hash of nested values, tensors and arrays by their bits."""
    found = hashlib.sha256(type(node).__name__.encode())
    if isinstance(node, dict):
        parts = [part for key in sorted(node, key=str) for part in (str(key).encode(), digest(node[key]))]
    elif isinstance(node, (list, tuple)):
        parts = map(digest, node)
    elif isinstance(node, torch.Tensor):
        parts = [str((node.dtype, tuple(node.shape))).encode(), node.detach().contiguous().numpy().tobytes()]
    elif isinstance(node, np.ndarray):
        parts = [str((node.dtype, node.shape)).encode(), node.tobytes()]
    elif isinstance(node, HistoryBuffer):
        parts = [digest(part) for part in node.data]
    else:
        parts = [node if isinstance(node, bytes) else repr(node).encode()]
    for part in parts:
        found.update(part)
    return found.digest()


def results(work):
    """Digest of every result below a folder, by name; logs and their folders are no results, and manifests state the
    time.
    """
    skipped = ('.log', '.py', '.jsonl', '.tmp')
    files = [
        path
        for path in sorted(work.rglob('*'))
        if path.is_file()
        and path.suffix not in skipped
        and path.name not in ('last_checkpoint', 'manifest.json', 'places.json')
    ]
    names = [path.relative_to(work) for path in files]
    return {
        str(name): digest(content(path))
        for name, path in zip(names, files)
        if not any(part[:8].isdigit() for part in name.parts[:-1])
    }


def moments(kind, whole, count):
    """When to kill: seeded, one in each part of the duration, every fifth in the middle of something done to a file."""
    rng = random.Random(f'{kind} {count}')
    for index in range(count):
        place = (index + rng.random()) / count
        if index % 5 == 4:
            yield dict(event=1 + int(rng.random() * whole['events']))
        else:
            yield dict(cpu=place * whole['cpu'])


def write_row(kind, **row):
    path = os.environ.get('MMFUSION_KILL_TABLE')
    if path:
        with open(path, 'a') as file:
            file.write(json.dumps(dict(kind=kind, **row)) + '\n')


@pytest.mark.slow
@pytest.mark.parametrize('procedure', PROCEDURES, ids=lambda procedure: procedure.__name__)
def test_killed_runs_end_as_undisturbed_ones(procedure, server, inputs, tmp_path):
    kind, losses, killed, inside = procedure.__name__, [], 0, 0
    work = tmp_path / 'run'  # always the same place, since some results name it

    def run(**moment):
        work.mkdir(exist_ok=True)
        tool, args = procedure(inputs, work)
        return server.run(tool, *args, log=tmp_path / 'log', **moment)

    whole = run()
    assert whole['code'] == 0, (tmp_path / 'log').read_text()
    expected = results(work)
    assert expected
    for index, moment in enumerate(moments(kind, whole, KILLS)):
        if index and index % 10 == 0:
            write_row(f'{kind}, so far', runs=index, killed=killed, inside_files=inside, losses=losses)
        shutil.rmtree(work)
        first = run(**moment)
        killed += first['code'] == -signal.SIGKILL
        inside += first['code'] == -signal.SIGKILL and 'event' in moment
        folders = {path.parent for path in work.rglob('*.pth')}
        damaged = [
            text for folder in folders for text in newest_checkpoint(folder)[1] if 'is damaged' in text
        ]  # not: weights only
        second = run()
        found = results(work)
        left = [path for folder in {work, *filter(Path.is_dir, work.rglob('*'))} for path in partial_files(folder)]
        left = [
            path for path in left if not Path(path).parent.name[:8].isdigit()
        ]  # what a log's folder keeps is no result
        if damaged or second['code'] != 0 or found != expected or left:
            different = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
            losses.append(dict(moment, damaged=damaged, code=second['code'], different=different, left=left))
    write_row(
        kind, runs=KILLS, killed=killed, inside_files=inside, losses=losses, cpu=whole['cpu'], events=whole['events']
    )
    assert not losses, (losses[:5], (tmp_path / 'log').read_text()[-3000:])
    assert killed >= 0.8 * KILLS  # some moments come after the end: a run does not always need the same time
    shutil.rmtree(work)


@pytest.mark.slow
@pytest.mark.parametrize('procedure', PROCEDURES, ids=lambda procedure: procedure.__name__)
def test_a_full_disk_at_every_write(procedure, server, inputs, tmp_path):
    """One line that names the file, exit code 2; with room again, the same command ends as if nothing had been."""
    work, log = tmp_path / 'run', tmp_path / 'log'

    def run(**options):
        work.mkdir(exist_ok=True)
        tool, args = procedure(inputs, work)
        log.write_bytes(b'')
        return server.run(tool, *args, log=log, **options)

    assert run()['code'] == 0, log.read_text()
    expected, failures, bad = results(work), 0, []
    for room in range(200):
        shutil.rmtree(work)
        first, shown = run(room=room), log.read_text()
        if 'No space left' not in shown:
            assert first['code'] == 0
            break
        failures += 1
        clean = first['code'] == 2 and 'mmfusion: error: cannot write' in shown and 'Traceback' not in shown
        second = run()
        if not clean and first['code'] != 0 or second['code'] != 0 or results(work) != expected:
            bad.append((room, first['code'], shown[-600:], second['code']))
    write_row(f'{procedure.__name__}, disk full', runs=failures, losses=[entry[0] for entry in bad])
    assert failures and not bad, bad[:3]


@pytest.mark.slow
@pytest.mark.parametrize(('number', 'code'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize(
    'procedure', [training, comparing, downstream, searching, scoring], ids=lambda procedure: procedure.__name__
)
def test_asked_to_end(procedure, number, code, server, inputs, tmp_path):
    """One line, whole checkpoints, the exit code of the signal; the same command goes on."""
    work, log = tmp_path / 'run', tmp_path / 'log'

    def run(**options):
        work.mkdir(exist_ok=True)
        tool, args = procedure(inputs, work)
        log.write_bytes(b'')
        return server.run(tool, *args, log=log, **options)

    whole = run()
    expected, stopped = results(work), 0
    for moment in moments(f'{procedure.__name__} {code}', whole, 5):
        shutil.rmtree(work)
        first, shown = run(number=number, **moment), log.read_text()
        if first['code'] != 0:
            stopped += 1
            assert first['code'] == code and 'Traceback' not in shown and shown.count('mmfusion: stopped by') == 1, (
                shown[-2000:]
            )
        assert not [sentence for path in work.rglob('*.pth') for sentence in newest_checkpoint(path.parent)[1]]
        assert run()['code'] == 0
        assert results(work) == expected
    write_row(f'{procedure.__name__}, {signal.Signals(number).name}', runs=5, killed=stopped, losses=[])
    assert stopped >= 3
