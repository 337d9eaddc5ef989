"""Data sets below a folder ``data``: rendered ones for everybody, and a part of the real ones where it lies beside the
checkout.
"""

from pathlib import Path

import pytest
import rendered_sets

SHARED = Path(__file__).resolve().parents[3] / 'shared'


@pytest.fixture(scope='session')
def rendered_dir(tmp_path_factory):
    """A folder whose ``data`` holds rendered pairs in the official layouts."""
    root = tmp_path_factory.mktemp('rendered')
    for render in rendered_sets.SETS.values():
        render(root / 'data')
    return root


@pytest.fixture(params=['rendered', *(['real'] if SHARED.is_dir() else [])])
def sets_kind(request):
    """``'rendered'``, or ``'real'``."""
    return request.param


@pytest.fixture
def sets_dir(sets_kind, rendered_dir):
    """A folder whose ``data`` holds the sets."""
    return rendered_dir if sets_kind == 'rendered' else SHARED
