"""What could be imported, built and run with version 0.1.0 still can: the list was made from its tree."""

import importlib
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import mmfusion.registry
from mmfusion.moved import MODULES

NAMES = json.loads((Path(__file__).parent / 'data' / 'public_names.json').read_text())


@pytest.mark.parametrize('module', NAMES['modules'])
def test_public_names_can_be_imported(module):
    found = importlib.import_module(module)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)
        absent = [name for name in NAMES['modules'][module].split() if not hasattr(found, name)]
    assert not absent


@pytest.mark.parametrize('registry', NAMES['registered'])
def test_registered_types_can_be_built_by_name(registry):
    registered = getattr(mmfusion.registry, registry)
    assert [name for name in NAMES['registered'][registry].split() if registered.get(f'mmfusion.{name}') is None] == []


def test_configs_and_programs_have_their_names(repo_dir):
    absent = [name for name in NAMES['configs'] if not (repo_dir / 'configs' / name).is_file()]
    absent += [name for name in NAMES['programs'] if not (repo_dir / name).is_file()]
    assert not absent


@pytest.mark.parametrize('former', MODULES)
def test_a_former_name_warns_and_gives_the_same_thing(former):
    today = importlib.import_module(MODULES[former])
    name = next(
        name
        for name, value in vars(today).items()
        if not name.startswith('_') and getattr(value, '__module__', '').startswith('mmfusion')
    )
    with pytest.warns(DeprecationWarning, match=f'{former}.{name} is {today.__name__}.{name} now'):
        value = getattr(importlib.import_module(former), name)
    assert value is getattr(today, name)


def test_an_unknown_name_of_a_former_module():
    former = next(iter(MODULES))
    with pytest.raises(AttributeError, match=f'{former}.*nothing_of_this_name'):
        importlib.import_module(former).nothing_of_this_name  # noqa: B018


@pytest.mark.parametrize(
    'former,name',
    [
        ('mmfusion.evaluation.metrics.csv_file', 'whole_file'),
        ('mmfusion.utils', 'ensure_writable_dir'),
        ('mmfusion.visualization', 'write_image'),
    ],
)
def test_the_warning_names_the_line_of_the_caller(former, name, tmp_path):
    program = tmp_path / 'old_user.py'
    program.write_text(f'import os\nfrom {former} import {name}\n')
    answer = subprocess.run(
        [sys.executable, '-W', 'always::DeprecationWarning:__main__', program], capture_output=True, text=True
    )
    assert answer.returncode == 0 and f'{program}:2: DeprecationWarning' in answer.stderr


def test_filters_without_a_metric_warn_and_work():
    import numpy as np
    import torch

    from mmfusion.evaluation.functional.common import filters

    image = torch.rand(1, 1, 9, 8, dtype=torch.float64)
    taps = filters.gaussian_taps(3, 1.0)
    with pytest.warns(
        DeprecationWarning,
        match='filters.filter2d is mmfusion.evaluation.functional.common.former_filters.filter2d now',
    ):
        found = filters.filter2d(image, np.outer(taps, taps))
    with pytest.warns(DeprecationWarning, match='gaussian_filter_valid'):
        smooth = filters.gaussian_filter_valid(image, 3, 1.0)
    torch.testing.assert_close(found, filters.separable_filter(image, taps))
    assert torch.equal(smooth, filters.separable_filter(image, taps))


def test_a_moved_name_may_have_another_name_today():
    from mmfusion.models.fusers.tc_moa import mae_weights
    from mmfusion.utils.conversion import read_official

    with pytest.warns(
        DeprecationWarning, match='mae_weights.read_state is mmfusion.utils.conversion.read_official now'
    ):
        assert mae_weights.read_state is read_official
