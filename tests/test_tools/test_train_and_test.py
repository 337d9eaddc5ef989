"""The two main commands from end to end, on a configuration of a few seconds."""

import csv
import itertools
import os
import pickle
import runpy
import subprocess
import sys

import pytest
import torch
from tiny_config import write_tiny_config

_COUNT = itertools.count()


@pytest.fixture(scope='session')
def command(repo_dir):
    """Run the main function of a tool in this process."""

    def run(tool, *argv):
        # mmengine names its logger and message hub after config and second; two runs of one test may share a second
        options = ['--cfg-options', f'experiment_name=run{next(_COUNT)}']
        argv = [str(arg) for arg in argv]
        argv = [*argv, *options] if '--cfg-options' not in argv else [*argv, options[1]]
        return runpy.run_path(str(repo_dir / 'tools' / f'{tool}.py'))['main'](argv)

    return run


@pytest.fixture(scope='module')
def trained(tmp_path_factory, command):
    """Config, and the work dir of a run over two epochs."""
    folder = tmp_path_factory.mktemp('trained')
    config = write_tiny_config(folder)
    command('train', config, '--work-dir', folder / 'work')
    return config, folder / 'work'


def state_dict(path):
    from mmfusion.utils import safe_load

    return safe_load(path)['state_dict']


def fails(capsys, command, *argv):
    """Run a command that must fail on its input; return the message."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        command(*argv)
    shown = capsys.readouterr()
    assert caught.value.code == 2 and 'Traceback' not in shown.err, shown.err
    return shown.err


def test_train_prints_results_and_places(trained, command, tmp_path, capsys):
    config, _ = trained
    capsys.readouterr()
    command('train', config, '--work-dir', tmp_path / 'work', '--tensorboard', '--auto-scale-lr')
    shown = capsys.readouterr().out
    for part in (
        'training done',
        'pascal_voc/mAP',
        'fusion/EN',
        str(tmp_path / 'work'),
        'epoch_2.pth',
        '2 pictures in',
    ):
        assert part in shown, shown
    assert list((tmp_path / 'work').rglob('events.out.tfevents*'))
    assert len(list((tmp_path / 'work' / 'fused' / 'val').glob('*.png'))) == 2


def test_stopped_and_resumed_training_is_exact(trained, command, tmp_path):
    config, work = trained
    stopped = write_tiny_config(
        tmp_path, "custom_hooks = [dict(type='EpochSeedHook'), dict(type='StopAfterHook', minutes=1e-5)]\n"
    )
    command('train', stopped, '--work-dir', tmp_path / 'work')
    assert not (tmp_path / 'work' / 'epoch_2.pth').exists()
    command('train', config, '--work-dir', tmp_path / 'work', '--resume')
    resumed, whole = state_dict(tmp_path / 'work' / 'epoch_2.pth'), state_dict(work / 'epoch_2.pth')
    assert resumed.keys() == whole.keys() and len(whole) > 100
    for key, value in whole.items():
        assert torch.equal(value, resumed[key]), key


def test_amp_on_the_cpu_uses_bfloat16_and_resuming_nothing_starts_anew(trained, command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    command(
        'train',
        trained[0],
        '--work-dir',
        tmp_path / 'work',
        '--amp',
        '--resume',
        '--cfg-options',
        'train_cfg.max_epochs=1',
    )
    shown = capsys.readouterr().out
    assert 'bfloat16' in shown and 'starts from the beginning' in shown  # there is nothing to resume
    amp = state_dict(tmp_path / 'work' / 'epoch_1.pth')
    exact = state_dict(trained[1] / 'epoch_1.pth')
    assert all(torch.isfinite(value).all() and value.dtype == exact[key].dtype for key, value in amp.items())
    assert any(not torch.equal(value, exact[key]) for key, value in amp.items())


def test_test_command_writes_all_it_is_asked_for(trained, command, tmp_path, capsys):
    config, work = trained
    capsys.readouterr()
    command(
        'test',
        config,
        work / 'epoch_2.pth',
        '--work-dir',
        tmp_path / 'work',
        '--out',
        tmp_path / 'out' / 'results.pkl',
        '--show-dir',
        tmp_path / 'show',
        '--per-image',
        tmp_path / 'images.csv',
    )
    shown = capsys.readouterr().out
    for part in ('test done', 'pascal_voc/mAP', 'fusion/EN', 'results.pkl', 'images.csv', str(tmp_path / 'show')):
        assert part in shown, shown
    assert len(list((tmp_path / 'show' / 'test').glob('*.png'))) == 2
    with open(tmp_path / 'images.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 and float(rows[0]['EN']) > 0 and rows[0]['protocol'] == 'default'
    (stored,) = (tmp_path / 'work').rglob('fusion_metrics.json')
    assert '"protocol": "default"' in stored.read_text()
    predictions = pickle.loads((tmp_path / 'out' / 'results.pkl').read_bytes())
    assert len(predictions) == 2 and 'pred_instances' in predictions[0] and 'fused' not in predictions[0]


def test_checkpoint_of_another_model(trained, command, tmp_path, capsys):
    config, work = trained
    other = write_tiny_config(tmp_path, "model['fuser']['base_channels'] = 8\n")
    message = fails(capsys, command, 'test', other, work / 'epoch_2.pth', '--work-dir', tmp_path / 'work')
    assert 'another model' in message and 'fuser.' in message and 'checkpoint (' in message
    message = fails(capsys, command, 'train', other, '--work-dir', tmp_path / 'work', '--resume', work / 'epoch_1.pth')
    assert 'another model' in message
    assert not list((tmp_path / 'work').glob('*.pth'))


def test_start_weights_of_another_model(trained, command, tmp_path, capsys):
    torch.save(dict(state_dict=dict(a=torch.zeros(3))), tmp_path / 'other.pth')
    message = fails(
        capsys,
        command,
        'train',
        trained[0],
        '--work-dir',
        tmp_path / 'work',
        '--cfg-options',
        f'load_from={tmp_path}/other.pth',
    )
    assert 'other.pth: not one of its weights fits' in message


def test_checkpoint_that_cannot_be_resumed(trained, command, tmp_path, capsys):
    torch.save(dict(state_dict=state_dict(trained[1] / 'epoch_1.pth')), tmp_path / 'weights.pth')
    message = fails(
        capsys, command, 'train', trained[0], '--work-dir', tmp_path / 'work', '--resume', tmp_path / 'weights.pth'
    )
    assert 'cannot be resumed from' in message and 'load_from=' in message


@pytest.mark.parametrize(
    ('argv', 'parts'),
    [
        (['train', 'no_such.py'], ['config not found: no_such.py']),
        (['train', '{config}', '--work-dir', '/proc/mmfusion'], ["cannot write into the folder '/proc/mmfusion'"]),
        (['train', '{config}', '--work-dir', '{tmp}', '--resume', 'gone.pth'], ['checkpoint not found: gone.pth']),
        (
            ['train', '{config}', '--work-dir', '{tmp}', '--cfg-options', 'train_cfg.max_epoch=1'],
            ['max_epoch', "Did you mean 'max_epochs'"],
        ),
        (
            ['train', '{config}', '--work-dir', '{tmp}', '--cfg-options', 'load_from=gone.pth'],
            ['checkpoint not found: gone.pth'],
        ),
        (
            ['train', '{config}', '--work-dir', '{tmp}', '--cfg-options', 'model.fuser.type=MoEFusoin'],
            ['MoEFusoin is not in the'],
        ),
        (
            ['train', '{config}', '--work-dir', '{tmp}', '--cfg-options', 'model.los=1'],
            ['config cannot be built', "'los'"],
        ),
        (
            ['train', '{config}', '--work-dir', '{tmp}', '--cfg-options', 'load_from={config}'],
            ['tiny.py is not a checkpoint'],
        ),
        (
            [
                'train',
                '{config}',
                '--work-dir',
                '{tmp}',
                '--cfg-options',
                'train_dataloader.drop_last=True',
                'train_dataloader.batch_size=8',
            ],
            ['4 pairs make no batch of batch_size=8', 'drop_last=False'],
        ),
        (
            ['train', '{config}', '--work-dir', '{tmp}', '--cfg-options', 'model.tasks.det.bbox_head.num_classes=2'],
            ['train_dataloader has 3 classes (person, car, lamp)', 'model.tasks.det has num_classes=2'],
        ),
        (
            ['train', '{config}', '--work-dir', '{tmp}', '--cfg-options', 'train_dataloader.bathces=8'],
            ['config cannot be built', "'bathces'"],
        ),
        (
            ['train', '{config}', '--work-dir', '{tmp}', '--cfg-options', 'train_dataloader.dataset.lenght_=8'],
            ['config cannot be built', "'lenght_'"],
        ),
        (
            ['train', '{config}', '--work-dir', '{tmp}', '--cfg-options', 'param_scheduler.0.facto=8'],
            ['config cannot be built', "'facto'"],
        ),
        (
            ['train', '{config}', '--work-dir', '{tmp}', '--cfg-options', 'randomness.sed_=8'],
            ['config cannot be built', "'sed_'"],
        ),
        (
            ['train', '{config}', '--work-dir', '{tmp}', '--cfg-options', 'device=cuda'],
            ["the key 'device' has no effect", '--device cuda'],
        ),
        (['test', '{config}', 'gone.pth'], ['checkpoint not found: gone.pth']),
        (
            ['test', '{config}', '{config}', '--work-dir', '{tmp}', '--out', 'a.txt'],
            ['--out a.txt: the name must end with .pkl or .pickle'],
        ),
        (
            ['test', '{config}', '{config}', '--work-dir', '{tmp}', '--show-dir', '/proc/mmfusion'],
            ['cannot write into the folder'],
        ),
        (['test', '{config}', '{config}', '--work-dir', '{tmp}'], ['tiny.py is not a checkpoint']),
    ],
)
def test_bad_input_is_one_message(trained, command, tmp_path, capsys, argv, parts):
    message = fails(capsys, command, *[arg.format(config=trained[0], tmp=tmp_path) for arg in argv])
    for part in parts:
        assert part in message, message
    assert len(message.strip().splitlines()) <= 3
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_gpu_that_is_not_there(trained, command, tmp_path, capsys):
    message = fails(capsys, command, 'train', trained[0], '--work-dir', tmp_path / 'work', '--device', 'cuda')
    assert 'no usable GPU' in message and '--device cpu' in message
    assert not (tmp_path / 'work').exists()


def test_device_cpu_hides_the_gpus_and_policy_is_set_in_time(repo_dir):
    code = (
        "import os, sys; from mmfusion.cli.arguments import prepare_process; prepare_process(['config.py', "
        "'--device', 'cpu', '--amp']); "
        "assert 'torch' not in sys.modules; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['OMP_WAIT_POLICY'])"
    )
    environment = {
        key: value for key, value in os.environ.items() if key not in ('OMP_WAIT_POLICY', 'CUDA_VISIBLE_DEVICES')
    }
    result = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=repo_dir,
        timeout=60,
    )
    assert result.stdout.split() == ['-1', 'PASSIVE']


@pytest.mark.slow
def test_two_processes_on_the_cpu(trained, tmp_path, repo_dir):
    """tools/dist_train.sh and dist_test.sh with gloo."""
    config, _ = trained
    environment = {
        **os.environ,
        'PORT': '29611',
        'PATH': f'{os.path.dirname(sys.executable)}:{os.environ["PATH"]}',
        'CUDA_VISIBLE_DEVICES': '-1',
    }
    work = tmp_path / 'work'
    for argv in (
        ['dist_train.sh', config, 2, '--work-dir', work],
        ['dist_test.sh', config, work / 'epoch_2.pth', 2, '--work-dir', work],
    ):
        result = subprocess.run(
            ['bash', str(repo_dir / 'tools' / argv[0]), *map(str, argv[1:])],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert result.returncode == 0, result.stderr[-3000:]
        assert result.stdout.count(' done\n') == 1  # only the first process prints
    assert len(list((work / 'fused' / 'test').glob('*.png'))) == 2
