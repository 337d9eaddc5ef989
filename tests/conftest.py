"""Shared fixtures. The OpenMP policy is set here, before any test module imports torch."""

import gc
import os
import random
import tempfile
from pathlib import Path

from mmfusion.utils.cpu_env import setup_cpu_env

setup_cpu_env()
if 'PYTEST_XDIST_WORKER' in os.environ:  # one thread for each worker, and for the processes that its tests start
    os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ['MMFUSION_HASHES'] = os.path.join(
    tempfile.gettempdir(), f'mmfusion-test-hashes-{os.getuid()}.json'
)  # not the user's
os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # cuBLAS is deterministic only with a fixed workspace

import numpy as np
import pytest
import torch
from plain_configs import leave_configs_as_they_are

REPO = Path(__file__).resolve().parents[1]


def pytest_configure(config):
    # two threads are what the reference machine has; more only make small tensors slower
    torch.set_num_threads(min(2, os.cpu_count() or 1, int(os.environ.get('OMP_NUM_THREADS', 2))))


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker('gpu'):
                item.add_marker(pytest.mark.skip(reason='no CUDA device'))


@pytest.fixture(scope='session', autouse=True)
def registered_modules():
    """mmfusion, mmdet and mmseg are registered once, before the first test."""
    from mmfusion.utils import register_all_modules

    register_all_modules()
    gc.collect()
    gc.freeze()  # mmengine collects garbage with each data set, which takes half a second beside all these modules


@pytest.fixture(autouse=True, scope='session')
def plain_configs():
    """Runs of this process write their config as it is."""
    with pytest.MonkeyPatch.context() as patch:
        leave_configs_as_they_are(patch)
        yield


@pytest.fixture(autouse=True)
def seeded(registered_modules):
    """Every test starts from the same random state and in the scope mmfusion, whatever ran before it."""
    from mmfusion.utils.setup_env import set_default_scope

    set_default_scope()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def repo_dir() -> Path:
    """Root of the checkout."""
    return REPO


@pytest.fixture(scope='session')
def shared_dir() -> Path:
    """Folder with reference vectors and real data next to the checkout; tests that need it are skipped without it."""
    path = REPO.parent / 'shared'
    if not path.is_dir():
        pytest.skip('the reference data (../shared) is not on this machine')
    return path


@pytest.fixture(scope='session')
def metrics_dir() -> Path:
    """Folder with reference values of the metrics: of the programs in use where the reference data is there, else those
    that ship.
    """
    path = REPO.parent / 'shared' / 'reference' / 'metrics'
    return path if path.is_dir() else REPO / 'tests' / 'data' / 'metrics'
