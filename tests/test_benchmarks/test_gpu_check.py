"""The check on a GPU, run on the CPU as far as that goes."""

import json
import sys

import pytest

CHEAP = (
    'fuser-MoEFusion',
    'fuser-TCMoA',
    'train-moe_fusion_llvip_light-fp32',
    'train-moe_fusion_llvip_light-bf16',
    'meta-tdfusion_msrs_light',
    'tc_moa-base-checkpointed',
    'metrics',
    'inferencer',
    'two_processes',
    'compile-ReFusion',
    'data-1',
)


@pytest.fixture(scope='module')
def gpu(repo_dir):
    sys.path.insert(0, str(repo_dir / 'benchmarks'))
    try:
        import gpu
        import gpu_pieces
    finally:
        sys.path.pop(0)
    gpu.pieces = gpu_pieces
    return gpu


@pytest.mark.parametrize('name', CHEAP)
def test_piece(gpu, name):
    result = gpu.pieces.all_pieces()[name](gpu.pieces.Options('cpu', 2, 60, True))
    numbers = dict(gpu.flat(json.loads(json.dumps(result))))
    if name == 'two_processes':
        assert 'two CUDA devices' in numbers['skipped']
    elif name.startswith('fuser'):
        assert result['difference'] == 0
    elif name == 'metrics':
        assert result['largest_difference'] == 0 and result['images_per_s'] > 0
    elif name.startswith('compile'):
        assert result['compile']['difference'] < 1e-5
    else:
        assert any(key.endswith('pairs_per_s') and float(value) > 0 for key, value in numbers.items())


def test_every_fuser_and_precision_has_a_piece(gpu):
    names = set(gpu.pieces.all_pieces())
    assert {f'fuser-{name}' for name in gpu.pieces.fuser_names()} <= names and len(gpu.pieces.fuser_names()) > 8
    assert {
        f'train-{config}-{precision}' for config in gpu.pieces.JOINT for precision in ('fp32', 'fp16', 'bf16')
    } <= names


def test_a_difference_is_an_error(gpu, monkeypatch):
    from mmfusion.models.fusers import AverageFuser

    fuse = AverageFuser.fuse
    calls = []

    def other_on_the_second_device(self, first, second):
        calls.append(1)
        output = fuse(self, first, second)
        return output if len(calls) == 1 else output._replace(fused=output.fused + 0.01)

    monkeypatch.setattr(AverageFuser, 'fuse', other_on_the_second_device)
    monkeypatch.setattr(gpu.pieces.Options, 'cuda', False)
    with pytest.raises(RuntimeError, match='AverageFuser differs from the CPU'):
        # the CPU by its other name, so that both have a result
        gpu.pieces.against_cpu('AverageFuser', gpu.pieces.Options('cpu:0', 1, 60, True))


def test_results_are_kept_and_failures_are_not(gpu, tmp_path, monkeypatch, capsys):
    arguments = ['fuser-AverageFuser', 'fuser-MaximumFuser', '--device', 'cpu', '--quick', '--out', str(tmp_path)]
    ran = []

    def run(name, path, args):
        ran.append(name)
        if name == 'fuser-MaximumFuser' and len(ran) == 2:
            return dict(piece=name, settings=gpu.settings(args), error='Traceback\nout of memory')
        gpu.run_piece(name, args)
        return gpu.finished(path, args)

    monkeypatch.setattr(gpu, 'run_in_process', run)
    with pytest.raises(SystemExit) as end:
        gpu.main(arguments)
    printed = capsys.readouterr().out
    assert end.value.code == 1 and 'out of memory' in printed and 'failed: fuser-MaximumFuser' in printed
    assert gpu.main(arguments) is None and ran == ['fuser-AverageFuser', 'fuser-MaximumFuser', 'fuser-MaximumFuser']
    (tmp_path / 'fuser-AverageFuser.json').write_text('{"piece": ')  # cut off
    gpu.main(arguments)
    gpu.main([*arguments, '--steps', '7'])  # other settings
    assert ran[3:] == ['fuser-AverageFuser', 'fuser-AverageFuser', 'fuser-MaximumFuser']


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['fusers', '--device', 'cpu', '--quick'], 'no piece fusers; there are fuser-AverageFuser'),
        (['--device', 'cpu'], 'add --quick'),
    ],
)
def test_mistakes(gpu, arguments, words, capsys):
    with pytest.raises(SystemExit) as end:
        gpu.main(arguments)
    assert end.value.code == 2 and words in capsys.readouterr().err


def test_without_a_gpu_it_says_so(gpu, monkeypatch, capsys):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    with pytest.raises(SystemExit) as end:
        gpu.main([])
    assert end.value.code == 2 and 'finds no CUDA device' in capsys.readouterr().err


def test_a_piece_in_its_own_process(gpu, tmp_path):
    args = gpu.parse_args(
        ['fuser-AverageFuser', '--device', 'cpu', '--quick', '--out', str(tmp_path), '--limit', '300']
    )
    content = gpu.run_in_process('fuser-AverageFuser', tmp_path / 'fuser-AverageFuser.json', args)
    assert content['result']['difference'] == 0 and content['machine']['device'] == 'cpu', content
