"""Write the tables of docs/en/bad_inputs.md: ``python docs/bad_inputs.py`` after a change of messages. A test provokes
them all again.

Every row is provoked: a folder is prepared, a tool is called as the command line calls it, and what it printed, its
exit code and the files that are new afterwards are written down. All run in one process, since starting one takes
longer than most of them.
"""

import contextlib
import io
import os
import re
import runpy
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set

DOCS = Path(__file__).resolve().parent
REPO = DOCS.parent
PAGE = DOCS / 'en' / 'bad_inputs.md'
sys.path[:0] = [path for path in (str(DOCS), str(REPO)) if path not in sys.path]

HEAD = ('what', 'message', 'exit code', 'left on disk')
LONGEST = 330
UNANSWERED = 'mmfusion: error: traceback'


class Case(NamedTuple):
    """One thing that can be wrong.

    Attributes:
        what: What the user did.
        prepare: Makes the files in the current folder and returns the tool and its arguments.
        fast: Provoked in the default tests too.
    """

    what: str
    prepare: Callable[[], Sequence[object]]
    fast: bool = False


class Outcome(NamedTuple):
    """What came of it.

    Attributes:
        message: First line of the message, shortened.
        code: Exit code.
        left: New and changed files, in a phrase.
    """

    message: str
    code: int
    left: str


CASES: Dict[str, List[Case]] = {}


def case(table: str, what: str, fast: bool = False) -> Callable:
    """Add a function that prepares a case to a table."""

    def add(prepare: Callable[[], Sequence[object]]) -> Callable:
        CASES.setdefault(table, []).append(Case(what, prepare, fast))
        return prepare

    return add


def provoke(one: Case) -> Outcome:
    """Prepare a case in an empty folder, call the tool, and describe what came of it."""
    here, printed, errors = os.getcwd(), io.StringIO(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        folder = os.path.realpath(folder)
        os.chdir(folder)
        try:
            tool, *arguments = one.prepare()
            before = files()
            redirect_logs(errors)
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors), warnings.catch_warnings():
                warnings.simplefilter('ignore')
                try:
                    code = call(tool, arguments)
                finally:
                    close_logs()
            left = describe(before)
        finally:
            os.chdir(here)
    message = first_line(errors.getvalue(), printed.getvalue(), code).replace(f'{folder}/', '').replace(f'{REPO}/', '')
    message = re.sub(r'\d+ frames until', 'the frames until', message)  # as many as this machine was quick enough for
    return Outcome(message, code, left)


def call(tool: object, arguments: Sequence[object]) -> int:
    """Exit code of a tool, or of a function that stands for one. An error that it does not answer is printed as Python
    would print its last line.
    """
    try:
        main = tool if callable(tool) else runpy.run_path(str(REPO / tool))['main']
        main(list(map(str, arguments)))
    except SystemExit as ended:
        return 0 if ended.code is None else ended.code
    except (Exception, KeyboardInterrupt) as error:
        print(f'{UNANSWERED}: {type(error).__name__}: {error}', file=sys.stderr)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def redirect_logs(stream: io.StringIO) -> None:
    """Let loggers that are there already, which keep the stream that they began with, write to another one."""
    from mmengine.logging import MMLogger

    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            if not hasattr(handler, 'baseFilename'):
                handler.stream = stream


def close_logs() -> None:
    """Close the log files of runs, whose folder goes away."""
    from mmengine.logging import MMLogger

    for logger in list(MMLogger._instance_dict.values()):
        for handler in list(logger.handlers):
            if hasattr(handler, 'baseFilename'):
                handler.close()
                logger.removeHandler(handler)


def first_line(errors: str, printed: str, code: int) -> str:
    """The message: that of mmfusion, of argparse, or what was said of something passed over."""
    answers = (r'mmfusion: error: (.*?)\n(?:\(MMFUSION_DEBUG|$)', r'mmfusion: (stopped.*)', r'error: (.*)')
    found = next(
        (found for pattern in answers if (found := re.search(pattern, errors, re.S if '?' in pattern else 0))), None
    )
    text = found[1] if found else next((line for line in (errors + '\n' + printed).splitlines() if MARK in line), '')
    text = re.sub(r'^.*? - (WARNING|INFO) - ', '', re.sub(r'\x1b\[[0-9;]*m', '', text))
    line, *more = text.strip().splitlines() or ['']
    if len(line) > LONGEST:
        line, more = line[:LONGEST].rsplit(' ', 1)[0], ['cut']
    return line.strip() + (' ...' if more else '')


#: What a line that is no error holds, where a case ends well; set by those.
MARK = '\0'


def marked(text: str) -> None:
    """Show the line that holds ``text`` in place of an error."""
    global MARK
    MARK = text


def files() -> Dict[str, tuple]:
    """Size and time of change of every file below the current folder."""
    return {
        str(path.relative_to('.')): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in Path('.').rglob('*')
        if path.is_file()
    }


def describe(before: Dict[str, tuple]) -> str:
    """What is new or changed, logs counted as one."""
    after = files()
    new: Set[str] = {name for name, state in after.items() if before.get(name) != state}
    gone = sorted(set(before) - set(after))
    logs = {name for name in new if re.search(r'(^|/)\d{8}_\d{6}(/|$)|\.log$|vis_data/', name)}
    names = sorted(new - logs - {name for name in new if '__pycache__' in name})
    parts = [f'`{name}`' for name in names]
    parts += ['the log'] if logs else []
    parts += [f'`{name}` is gone' for name in gone]
    return ', '.join(parts) or 'nothing new'


def rows(name: str, cases: Optional[Sequence[Case]] = None) -> Iterator[tuple]:
    """Cells of a table."""
    for one in CASES[name] if cases is None else cases:
        marked('\0')
        outcome = provoke(one)
        text = outcome.message.replace('`', "'").replace('|', '\\|')
        yield one.what, f'`{text}`' if text else '', str(outcome.code), outcome.left


def main() -> None:
    """Provoke everything and write the page."""
    import bad_inputs_cases  # noqa: F401 - fills CASES
    from metric_tables import replace_tables, table

    tables = {name: table(HEAD, list(rows(name))) for name in CASES}
    PAGE.write_text(replace_tables(PAGE.read_text(), tables))
    print(f'wrote {sum(map(len, CASES.values()))} rows of {PAGE}')


if __name__ == '__main__':
    sys.modules['bad_inputs'] = sys.modules['__main__']  # the cases import this module
    from mmfusion.utils import setup_cpu_env

    setup_cpu_env()
    main()
