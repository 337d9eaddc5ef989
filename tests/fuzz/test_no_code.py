"""No file runs code: a pickle that would make a folder lies where each reader looks, and the folder never appears.

A config in Python is a program and is meant to run; everything else is data.
"""

import io
import itertools
import os
import pickle
import runpy

import cv2
import numpy as np
import pytest
import torch
from mutators import Evil
from readers import readers
from tiny_config import write_tiny_config

from mmfusion.utils import UserError

_COUNT = itertools.count()


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """Folder that the code would make. torch is not told to refuse everywhere, as it is not in a notebook that never
    called a tool.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', raising=False)
    folder = tmp_path / 'it_ran'
    yield folder
    assert not folder.exists(), 'the file made its reader run its code'


def evil_files(marker):
    """Pickles of every kind that somebody may find in the place of a file."""
    bad, state = Evil(str(marker)), {'layer.weight': torch.rand(3, 2), 'layer.bias': torch.rand(3)}
    files = {f'pickle {protocol}': pickle.dumps(bad, protocol) for protocol in range(6)}
    for name, content in dict(
        alone=bad,
        beside=dict(state_dict=state, meta=bad, optimizer={}, message_hub={}),
        inside=dict(state_dict=dict(state, x=bad)),
        key=dict(state, bad=bad),
    ).items():
        for legacy in (False, True):
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=not legacy)
            files[f'{name}{" legacy" if legacy else ""}'] = file.getvalue()
    file = io.BytesIO()
    np.save(file, np.array([bad], object), allow_pickle=True)
    files['npy'] = file.getvalue()
    return files


def test_the_files_would_run_code(tmp_path, monkeypatch):
    """What follows proves nothing about files that are harmless."""
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', raising=False)
    marker = tmp_path / 'it_ran'
    for name, data in evil_files(marker).items():
        if name == 'npy':
            np.load(io.BytesIO(data), allow_pickle=True)
        elif name.startswith('pickle'):
            pickle.loads(data)
        else:
            torch.load(io.BytesIO(data), weights_only=False)
        marker.rmdir()


def test_readers_of_files(tmp_path, marker):
    answers = {}
    for name, reader in readers(str(marker)).items():
        for kind, data in evil_files(marker).items():
            path = tmp_path / f'file{reader.suffix}'
            path.write_bytes(data)
            try:
                reader.read(str(path))
                answers[name, kind] = 'taken'
            except reader.errors as error:
                answers[name, kind] = str(error)
            assert not marker.exists(), (name, kind)
    taken = {name for (name, _), answer in answers.items() if answer == 'taken'}
    assert taken <= {
        'journal',
        'class names',
        'id list',
    }  # a journal leaves out what it cannot read; a pickle may be text, and so a name
    assert 'could run code' in answers['checkpoint', 'beside'] and 'os.mkdir' in answers[
        'checkpoint', 'beside'
    ].replace('posix', 'os')


@pytest.mark.parametrize(
    'text',
    [
        'model: !!python/object/apply:os.mkdir [it_ran]',
        'model: !!python/object/new:os.mkdir [it_ran]',
        'model: !!python/name:os.mkdir',
    ],
)
@pytest.mark.parametrize('place', ['config', 'base'])
def test_yaml(tmp_path, marker, text, place):
    from mmfusion.utils import load_config

    (tmp_path / 'a.yaml').write_text(text)
    (tmp_path / 'b.py').write_text("_base_ = 'a.yaml'")
    with pytest.raises(UserError, match='could not determine a constructor for the tag'):
        load_config(tmp_path / ('a.yaml' if place == 'config' else 'b.py'))


def run(repo_dir, tool, *arguments):
    """Call a tool as the command line does, and return its exit code."""
    try:
        runpy.run_path(str(repo_dir / tool))['main'](list(map(str, arguments)))
    except SystemExit as ended:
        return ended.code
    return 0


@pytest.fixture
def evil(tmp_path, marker):
    """A file for each kind of checkpoint."""
    paths = {}
    for kind in ('alone', 'beside', 'inside', 'inside legacy', 'pickle 2'):
        paths[kind] = tmp_path / f'{kind.replace(" ", "_")}.pth'
        paths[kind].write_bytes(evil_files(marker)[kind])
    return paths


FUSION = """
_base_ = './tiny.py'
model = dict(_delete_=True, type='FusionOnly', fuser=dict(type='MoEFusion', base_channels=2, expert_channels=2, decoder_channels=(2, ),
    local_grid=(2, 2), global_grid=(2, 2)), fusion_loss=dict(loss_max=dict(type='MaxIntensityLoss')))
val_cfg = val_dataloader = val_evaluator = None
test_evaluator = [dict(type='FusionMetric', metrics=['EN'])]
"""


@pytest.fixture
def config(tmp_path):
    write_tiny_config(tmp_path)
    (tmp_path / 'fusion.py').write_text(FUSION)
    return tmp_path / 'fusion.py'


def named():
    return f'experiment_name=no_code_{next(_COUNT)}'


@pytest.mark.parametrize('kind', ['beside', 'inside legacy'])
def test_training_and_testing(repo_dir, tmp_path, marker, evil, config, capsys, kind):
    work = tmp_path / 'work'
    work.mkdir()
    (work / 'last_checkpoint').write_text(str(evil[kind]))
    common = [config, '--work-dir', work, '--cfg-options']
    calls = [
        ('tools/train.py', *common, f'load_from={evil[kind]}'),
        ('tools/train.py', *common[:3], '--resume', evil[kind], '--cfg-options'),
        ('tools/train.py', *common, 'resume=True', f'load_from={evil[kind]}'),
        ('tools/test.py', config, evil[kind], *common[1:]),
    ]
    for tool, *arguments in calls:
        assert run(repo_dir, tool, *arguments, named()) == 2, arguments
        message = capsys.readouterr().err
        assert 'could run code, so it is not loaded' in message and 'Traceback' not in message, arguments
        assert not marker.exists(), arguments
    # a checkpoint that nobody named is passed over, and the training begins anew
    assert run(repo_dir, 'tools/train.py', *common[:3], '--resume', '--cfg-options', named()) == 0
    message = capsys.readouterr().out
    assert 'could run code, so it is not loaded' in message and 'training starts from the beginning' in message
    assert not marker.exists()


def test_init_cfg_of_fuser_and_task_network(repo_dir, tmp_path, marker, evil, config, capsys):
    init = f"init_cfg=dict(type='Pretrained', checkpoint='{evil['inside']}')"
    networks = dict(
        part=f'backbone=dict({init})', prefix=f'backbone=dict({init[:-1]}, prefix="backbone."))', whole=init
    )
    for name, network in networks.items():
        (tmp_path / f'{name}.py').write_text(f"_base_ = './tiny.py'\nmodel = dict(tasks=dict(det=dict({network})))\n")
        assert (
            run(
                repo_dir,
                'tools/train.py',
                tmp_path / f'{name}.py',
                '--work-dir',
                tmp_path / 'work',
                '--cfg-options',
                named(),
            )
            == 2
        ), name
        message = capsys.readouterr().err
        assert 'could run code, so it is not loaded' in message and not marker.exists(), name


def test_fusing_comparing_and_drawing(repo_dir, tmp_path, marker, evil, config, capsys):
    for name in 'ab':
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / '0.png'), np.full((32, 32), 9, np.uint8))
    genotype = tmp_path / 'genotype.json'
    genotype.write_bytes(evil['pickle 2'].read_bytes())
    pictures = [tmp_path / 'a' / '0.png', tmp_path / 'b' / '0.png']
    evil_file = evil['beside']
    refused = 'could run code, so it is not loaded'
    fuser = f"dict(_delete_=True, type='TCMoA', arch='tiny', mae='{evil_file}')"
    (tmp_path / 'mae.py').write_text(f"_base_ = './fusion.py'\nmodel = dict(fuser={fuser})\n")
    for message, tool, *arguments in [
        (refused, 'demo/image_demo.py', *pictures, '--config', config, '--weights', evil_file),
        (
            refused,
            'tools/downstream.py',
            tmp_path / 'tiny.py',
            '--fusion',
            config,
            '--weights',
            evil_file,
            '--work-dir',
            tmp_path / 'down',
        ),
        (
            refused,
            'tools/analysis_tools/adaptation_curves.py',
            repo_dir / 'configs' / 'tim_meta_init.py',
            '--init',
            f'x={evil_file}',
            '--seeds',
            0,
            '--work-dir',
            tmp_path / 'curves',
        ),
        ('is not JSON', 'tools/analysis_tools/draw_genotype.py', genotype, tmp_path / 'a.png'),
        ('has no readable image header', 'demo/image_demo.py', evil_file, pictures[0]),
        (
            'has no readable image header',
            'tools/analysis_tools/benchmark_metrics.py',
            '--images',
            evil_file,
            *pictures,
            '--repeats',
            1,
        ),
        (refused, 'tools/train.py', tmp_path / 'mae.py', '--work-dir', tmp_path / 'work', '--cfg-options', named()),
    ]:
        assert run(repo_dir, tool, *arguments) == 2, (tool, arguments)
        assert message in capsys.readouterr().err, (tool, arguments)
        assert not marker.exists(), (tool, arguments)


@pytest.mark.parametrize(
    'tool',
    [('moe_fusion_official',), ('tdfusion_official',), ('tc_moa_official', 'base'), ('tim_official', 'light')],
    ids=lambda tool: tool[0],
)
def test_converters(repo_dir, tmp_path, marker, evil, capsys, tool):
    name, *kind = tool
    for path in evil.values():
        assert run(repo_dir, f'tools/model_converters/{name}.py', *kind, path, tmp_path / 'out.pth') == 2
        assert path.name in capsys.readouterr().err
        assert not marker.exists() and not (tmp_path / 'out.pth').exists()


def test_a_journal_and_stored_results(repo_dir, tmp_path, marker, evil, capsys):
    for name in ('fused', 'first', 'second'):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / '0.png'), np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8))
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'journal.jsonl').write_bytes(evil['pickle 2'].read_bytes() + b'\n')
    folders = [tmp_path / name for name in ('fused', 'first', 'second')]
    assert (
        run(
            repo_dir,
            'tools/analysis_tools/eval_fusion.py',
            *folders,
            '--metrics',
            'EN',
            '--out',
            tmp_path / 'out',
            '--workers',
            1,
        )
        == 0
    )
    assert 'EN' in capsys.readouterr().out


def test_predictions_are_written_and_never_read(repo_dir):
    """``tools/test.py --out`` writes a pickle for other programs; nothing here opens one."""
    for path in (repo_dir / 'mmfusion').rglob('*.py'):
        assert 'pickle.load' not in path.read_text(), path


def test_torch_may_be_told_to_refuse_everywhere(monkeypatch):
    """The tools set this before anything is loaded, for libraries that call ``torch.load`` themselves."""
    from mmfusion.utils import setup_cpu_env

    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', raising=False)
    setup_cpu_env()
    assert os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] == '1'
