"""The wheel and the sdist hold the package with its configs and tools."""

import subprocess
import sys
import tarfile
import zipfile

import yaml


def expected(repo_dir, folder, suffix='py'):
    """Path of every module (or other file) below a folder, relative to the repository."""
    return {
        str(path.relative_to(repo_dir)) for path in (repo_dir / folder).rglob(f'*.{suffix}') if '.mim' not in path.parts
    }


def package_files(repo_dir):
    """Modules, genotypes, and models with their cards."""
    return {name for suffix in ('py', 'json', 'safetensors') for name in expected(repo_dir, 'mmfusion', suffix)}


def test_wheel_contents(built, repo_dir):
    with zipfile.ZipFile(next(built.glob('*.whl'))) as wheel:
        names = set(wheel.namelist())
    assert package_files(repo_dir) <= names
    for folder in ('configs', 'tools'):
        assert {f'mmfusion/.mim/{name}' for name in expected(repo_dir, folder)} <= names
    assert any(name.endswith('dist-info/entry_points.txt') for name in names)
    assert {'mmfusion/.mim/model-index.yml', 'mmfusion/.mim/tools/dist_train.sh'} <= names
    assert not any(name.startswith(('tests/', 'configs/', 'tools/')) or '__pycache__' in name for name in names)
    assert any(name.endswith('LICENSE') for name in names)


def test_sdist_contents(built, repo_dir):
    with tarfile.open(next(built.glob('*.tar.gz'))) as sdist:
        names = {name.split('/', 1)[1] for name in sdist.getnames() if '/' in name}
    assert package_files(repo_dir) <= names
    assert {f'mmfusion/.mim/{name}' for name in expected(repo_dir, 'configs')} <= names
    assert {
        'requirements/runtime.txt',
        'requirements/constraints.txt',
        'LICENSE',
        'setup.py',
        'pyproject.toml',
    } <= names


def test_installed_wheel_has_its_configs(built, tmp_path):
    wheel = next(built.glob('*.whl'))
    subprocess.run(
        [
            sys.executable,
            '-m',
            'pip',
            'install',
            '-q',
            '--no-deps',
            '--no-index',
            '--target',
            str(tmp_path),
            str(wheel),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    code = (
        'import mmfusion, os; root = os.path.dirname(mmfusion.__file__); print(root); '
        'print(sorted(os.listdir(root + "/.mim")))'
    )
    result = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        env={'PYTHONPATH': str(tmp_path), 'PATH': '/usr/bin:/bin'},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    root, content = result.stdout.splitlines()
    assert (
        root == str(tmp_path / 'mmfusion')
        and 'configs' in content
        and 'tools' in content
        and 'model-index.yml' in content
    )


def test_configs_of_an_installed_wheel_go_by_name(built, tmp_path):
    with zipfile.ZipFile(next(built.glob('*.whl'))) as wheel:
        wheel.extractall(tmp_path / 'site')
        entries = wheel.read(next(name for name in wheel.namelist() if name.endswith('entry_points.txt'))).decode()
    assert 'mmfusion = mmfusion.cli.main:main' in entries
    (tmp_path / 'empty').mkdir()
    code = (
        'from mmfusion.utils.config import load_config; cfg = load_config("moe_fusion_llvip_light"); '
        'print(cfg.filename); '
        'from mmfusion.cli.main import main; main(["configs", "llvip_light"])'
    )
    result = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path / 'empty',
        env={'PYTHONPATH': str(tmp_path / 'site'), 'PATH': '/usr/bin:/bin'},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    path, name, *_ = result.stdout.splitlines()
    assert (
        path == str(tmp_path / 'site' / 'mmfusion' / '.mim' / 'configs' / 'moe_fusion_llvip_light.py')
        and name == 'moe_fusion_llvip_light'
    )


def test_installed_wheel_has_its_models(built, tmp_path, repo_dir):
    with zipfile.ZipFile(next(built.glob('*.whl'))) as wheel:
        wheel.extractall(tmp_path)
    code = (
        'from mmfusion.model_zoo import list_models; import hashlib; cards, problems = list_models(); '
        'assert not problems, problems\n'
        'for card in cards: assert hashlib.sha256(card.weights_file.read_bytes()).hexdigest() == card.sha256; '
        'print(card.weights_file)'
    )
    result = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={'PYTHONPATH': str(tmp_path), 'PATH': '/usr/bin:/bin', 'MMFUSION_MODELS': str(tmp_path / 'none')},
    )
    folder = tmp_path / 'mmfusion' / 'model_zoo' / 'weights'
    shipped = sorted(path.name for path in (repo_dir / 'mmfusion' / 'model_zoo' / 'weights').glob('*.safetensors'))
    assert shipped and result.stdout.splitlines() == [str(folder / name) for name in shipped]


def test_model_index_names_configs_that_exist(repo_dir):
    index = yaml.safe_load((repo_dir / 'model-index.yml').read_text())
    collections = {entry['Name'] for entry in index['Collections']}
    for model in index['Models']:
        assert (repo_dir / model['Config']).is_file(), model
        assert model['In Collection'] in collections, model
