"""Device, folders and the installed stack."""

import importlib.machinery
import os
import sys
import types

import pytest
import torch

from mmfusion.fileio.paths import ensure_writable_dir
from mmfusion.utils import UserError, check_mmcv_ops, collect_env, compat, select_device
from mmfusion.utils.compat import _as_tuple


def test_cpu_and_default_device():
    assert select_device('cpu') == torch.device('cpu')
    assert select_device().type == ('cuda' if torch.cuda.is_available() else 'cpu')


@pytest.mark.parametrize('name', ['cuda', 'cuda:0', 'cuda:3'])
def test_gpu_that_is_not_there(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(UserError, match=f"'{name}' was asked for, but there is no usable GPU.*--device cpu"):
        select_device(name)


def test_index_beyond_the_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert select_device('cuda:1') == torch.device('cuda:1')
    with pytest.raises(UserError, match=r'only 2 GPU\(s\)'):
        select_device('cuda:2')


@pytest.mark.parametrize('name', ['gpu', 'mps', 'cuda:x'])
def test_unknown_device(name):
    with pytest.raises(UserError, match=repr(name)):
        select_device(name)


def test_writable_dir_is_made_and_left_empty(tmp_path):
    path = ensure_writable_dir(tmp_path / 'a' / 'b')
    assert path.is_dir() and not list(path.iterdir())


def test_unwritable_dir(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='file.*it is a file'):
        ensure_writable_dir(tmp_path / 'file')
    with pytest.raises(UserError, match='cannot write into the folder'):
        ensure_writable_dir(tmp_path / 'file' / 'below')
    if os.path.isdir('/proc') and sys.platform == 'linux':  # nobody can create folders here, root included
        with pytest.raises(UserError, match='cannot write into the folder'):
            ensure_writable_dir('/proc/mmfusion')


def test_installed_stack_passes():
    check_mmcv_ops()


def test_mmcv_without_ops_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv._ext', None)  # importing it fails now, as for a module that is not there
    with pytest.raises(
        UserError,
        match=r'mmcv has no compiled ops.*\n  pip install .*--no-build-isolation.*--force-reinstall.*onedl-mmcv',
    ):
        check_mmcv_ops()


def test_ops_that_do_not_load(monkeypatch):
    real = compat.import_module

    def broken(name):
        if name == 'mmcv._ext':
            raise ImportError('undefined symbol: _ZN2at')
        return real(name)

    monkeypatch.setattr(compat, 'import_module', broken)
    with pytest.raises(UserError, match='do not load with this torch .undefined symbol'):
        check_mmcv_ops()


@pytest.mark.parametrize('name', ['mmengine', 'mmcv', 'mmdet', 'mmseg'])
def test_missing_package(monkeypatch, name):
    real = compat.find_spec
    monkeypatch.setattr(compat, 'find_spec', lambda module: None if module == name else real(module))
    with pytest.raises(UserError, match=f'{name} .onedl-.* is not installed. Run `make setup`'):
        check_mmcv_ops()


@pytest.mark.parametrize('version', ['2.1.0', '3.0.0'])
def test_wrong_version(monkeypatch, version):
    monkeypatch.setattr(
        compat.metadata,
        'version',
        lambda package: (
            version
            if package == 'onedl-mmcv'
            else {'onedl-mmengine': '0.10.12', 'onedl-mmdetection': '3.5.1', 'onedl-mmsegmentation': '1.4.2'}[package]
        ),
    )
    with pytest.raises(UserError, match=rf'mmcv {version} is installed, mmfusion needs >=2.3.0,<3.0.0'):
        check_mmcv_ops()


def test_version_of_a_package_under_its_upstream_name(monkeypatch):
    fake = types.ModuleType('mmcv')
    fake.__version__ = '1.7.0'
    fake.__spec__ = importlib.machinery.ModuleSpec('mmcv', None)
    monkeypatch.setitem(sys.modules, 'mmcv', fake)

    def not_found(package):
        raise compat.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(compat.metadata, 'version', not_found)
    assert compat._installed_version('mmcv', 'onedl-mmcv') == '1.7.0'


def test_version_order():
    assert _as_tuple('0.10.12') > _as_tuple('0.10.8') > _as_tuple('0.9')
    assert _as_tuple('2.3.6rc1') == (2, 3, 6)


def test_collect_env():
    env = collect_env()
    assert env['mmfusion'].startswith('0.') and env['mmcv'][0] == '2' and env['OMP_WAIT_POLICY']
