"""Progress on a terminal, in a file, and nowhere."""

import io
import re

import numpy as np
import pytest

from mmfusion.apis import FusionInferencer
from mmfusion.utils.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(file, total, **options):
    with progress_bar(total, 'fusing', file, **options) as bar:
        for _ in range(total - options.get('initial', 0)):
            bar.update()
    return file.getvalue()


@pytest.mark.parametrize(('total', 'lines'), [(181, 10), (10, 10), (100, 10), (3, 3), (1, 1), (0, 0)])
def test_a_file_gets_ten_plain_lines_at_most(total, lines):
    text = run(io.StringIO(), total)
    assert '\r' not in text and text.count('\n') == lines
    if total:
        assert re.fullmatch(rf'fusing: {total} of {total}, \d\d:\d\d', text.splitlines()[-1])


def test_lines_name_what_is_done():
    numbers = [int(re.match(r'fusing: (\d+) of 181', line)[1]) for line in run(io.StringIO(), 181).splitlines()]
    assert numbers == [*range(19, 181, 19), 181]


def test_steps_of_an_earlier_run_are_not_shown_again():
    assert run(io.StringIO(), 20, initial=20) == ''
    assert run(io.StringIO(), 20, initial=18).splitlines() == ['fusing: 20 of 20, 00:00']


def test_a_terminal_gets_a_bar_that_is_taken_away():
    text = run(Terminal(), 181)
    assert '\n' not in text and text.count('\r') > 1 and '0/181' in text and text.endswith('\r')


@pytest.mark.parametrize('options', [dict(plain='silent'), dict(shown=False)])
def test_silence(options):
    assert run(io.StringIO(), 20, **options) == ''
    assert bool(run(Terminal(), 20, **options)) == options.get('shown', True)


def test_unknown_kind():
    with pytest.raises(ValueError, match="'tenths', 'silent' or 'bar', got 'dots'"):
        progress_bar(3, plain='dots')


def test_fusing_181_pictures_writes_ten_lines(capfd):
    pictures = [np.full((16, 16), index, np.uint8) for index in range(181)]
    FusionInferencer('AverageFuser')(pictures, pictures, batch_size=4)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) <= 10 and lines[-1].startswith('fusing: 181 of 181')


def test_no_bar_of_another_kind_is_left(repo_dir):
    """mmengine's bars write a line per step into a file."""
    for folder in ('mmfusion', 'tools', 'demo', 'docs'):
        for path in (repo_dir / folder).rglob('*.py'):
            text = path.read_text()
            assert not re.search(r'ProgressBar\(|track_\w*progress|\\r[\'"]', text), path
            assert path.name == 'progress.py' or not re.search(r'\btqdm\(', text), path
