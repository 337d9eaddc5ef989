"""docs/en/bad_inputs.md: every row comes out again when it is provoked."""

import re
import sys

import pytest


@pytest.fixture(scope='module')
def script(repo_dir):
    """The module that writes the page, with its cases."""
    sys.path.insert(0, str(repo_dir / 'docs'))
    import bad_inputs
    import bad_inputs_cases  # noqa: F401 - fills the table of cases

    yield bad_inputs
    sys.path.remove(str(repo_dir / 'docs'))


@pytest.fixture(scope='module')
def page(script):
    return script.PAGE.read_text()


def rows_in(page, name):
    body = re.search(rf'<!-- table {name},[^\n]*-->\n(.*?)<!-- end -->', page, re.S)[1]
    return [
        tuple(cell.strip() for cell in re.split(r'(?<!\\)\|', line)[1:-1]) for line in body.strip().splitlines()[2:]
    ]


def test_every_case_has_its_row(script, page):
    for name, cases in script.CASES.items():
        assert [row[0] for row in rows_in(page, name)] == [one.what for one in cases], 'run python docs/bad_inputs.py'
    assert set(re.findall(r'<!-- table (\w+),', page)) == set(script.CASES)
    assert sum(map(len, script.CASES.values())) >= 40


def test_every_error_is_answered(script, page):
    """A message, and the exit code that belongs to it; a traceback would be an error that nobody foresaw."""
    unanswered = script.UNANSWERED.split(': ')[-1]
    for name in script.CASES:
        for what, message, code, left in rows_in(page, name):
            assert code in ('0', '1', '2', '130') and left, what
            assert (message or code == '0') and not message.startswith(f'`{unanswered}'), what


def provoked(script, page, only_fast):
    different = []
    for name, cases in script.CASES.items():
        wanted = [one for one in cases if one.fast or not only_fast]
        shown = dict(zip((one.what for one in cases), rows_in(page, name)))
        for one, row in zip(wanted, script.rows(name, wanted)):
            if row != shown[one.what]:
                different.append(f'{one.what}:\n  page  {shown[one.what]}\n  found {row}')
    return different


def test_fast_rows_come_out_again(script, page):
    assert not (different := provoked(script, page, True)), 'run python docs/bad_inputs.py\n' + '\n'.join(different)


@pytest.mark.slow
def test_all_rows_come_out_again(script, page):
    assert not (different := provoked(script, page, False)), 'run python docs/bad_inputs.py\n' + '\n'.join(different)
