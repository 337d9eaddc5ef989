import subprocess
import sys

import pytest


def run_python(code: str, **env) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-W', 'always', '-c', code], capture_output=True, text=True, timeout=120,
                          env={'PATH': '/usr/bin:/bin', **env}, check=False)


def test_importing_mmfusion_and_its_utils_loads_nothing_heavy():
    code = ('import sys, mmfusion, mmfusion.utils; '
            "print(sorted({'torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'numpy', 'cv2'} & set(sys.modules)))")
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
