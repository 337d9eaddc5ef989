import platform
import subprocess
import sys

import pytest

from mmfusion.utils import cpu_env


def run_python(code: str, **env) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-W', 'always', '-c', code],
        capture_output=True,
        text=True,
        timeout=120,
        env={'PATH': '/usr/bin:/bin', **env},
        check=False,
    )


def test_importing_mmfusion_and_its_utils_loads_nothing_heavy():
    code = (
        'import sys, mmfusion, mmfusion.utils; '
        "print(sorted({'torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'numpy', 'cv2'} & set(sys.modules)))"
    )
    result = run_python(code)
    assert result.stdout.strip() == '[]', result.stdout + result.stderr


def test_policy_is_set_before_torch_and_the_user_choice_is_kept():
    code = "from mmfusion.utils import setup_cpu_env; setup_cpu_env(); import os; print(os.environ['OMP_WAIT_POLICY'])"
    assert run_python(code).stdout.strip() == 'PASSIVE'
    assert run_python(code, OMP_WAIT_POLICY='ACTIVE').stdout.strip() == 'ACTIVE'
    spin = code.replace("os.environ['OMP_WAIT_POLICY']", "os.environ.get('GOMP_SPINCOUNT')")
    assert run_python(spin).stdout.strip() == '2000'
    assert run_python(spin, GOMP_SPINCOUNT='7').stdout.strip() == '7'
    assert run_python(spin, OMP_WAIT_POLICY='ACTIVE').stdout.strip() == 'None'


def test_warns_when_torch_came_first():
    code = "import sys; sys.modules['torch'] = sys; from mmfusion.utils import setup_cpu_env; setup_cpu_env()"
    assert 'torch was imported before' in run_python(code).stderr
    assert 'torch was imported before' not in run_python(code, OMP_WAIT_POLICY='PASSIVE').stderr


def test_unknown_name_of_the_lazy_package_is_an_attribute_error():
    import mmfusion.utils

    with pytest.raises(AttributeError, match='no_such_thing'):
        _ = mmfusion.utils.no_such_thing
    assert 'load_config' in dir(mmfusion.utils)


KEPT_AFTER_FREE = """
import ctypes, sys
{setup}

def resident():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * 4096 / 2**20

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
before = resident()
block = libc.malloc(80 * 2**20)
ctypes.memset(block, 1, 80 * 2**20)
libc.free(block)
print(resident() - before > 40)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='the allocator of glibc')
@pytest.mark.parametrize(
    'setup, env, kept',
    [
        ('import mmfusion.utils; mmfusion.utils.setup_cpu_env()', {}, 'True'),
        ('import mmfusion.utils; mmfusion.utils.setup_cpu_env()', {'MMFUSION_MALLOC': 'default'}, 'False'),
        ('import mmfusion, mmfusion.utils', {}, 'False'),
    ],
)
def test_freed_memory_is_kept_only_after_the_call(setup, env, kept):
    result = run_python(KEPT_AFTER_FREE.format(setup=setup), **env)
    assert result.stdout.strip() == kept, result.stderr


def test_unknown_choice_of_allocator_is_refused():
    result = run_python('from mmfusion.utils import setup_cpu_env; setup_cpu_env()', MMFUSION_MALLOC='jemalloc')
    assert result.returncode and "MMFUSION_MALLOC must be 'keep'" in result.stderr


def test_other_libraries_keep_their_allocator(monkeypatch):
    monkeypatch.setattr(cpu_env.platform, 'libc_ver', lambda: ('', ''))
    monkeypatch.setattr(cpu_env.ctypes, 'CDLL', lambda name: pytest.fail('no call into an unknown library'))
    assert cpu_env.keep_freed_memory() is False
