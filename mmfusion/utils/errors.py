"""Errors that a user can mend, shown as one message without a traceback."""
import functools
import os
import re
import sys
import traceback
from typing import Callable, Optional, Sequence

from .interrupt import Terminated, describe, sigterm_as_exception

_CHECKED = (ValueError, TypeError, OSError, RuntimeError)
_CONFIG_ERRORS = (KeyError, TypeError, AssertionError, ValueError, OSError)
_WRONG_ARGUMENT = re.compile(r'\w+\(\) (got an unexpected keyword argument|missing \d+ required|got multiple values for)')


class UserError(RuntimeError):
    """Something the user can mend: a path, a key, a missing package. The message names it and says what to do."""

    exit_code = 2


class NonFiniteError(UserError):
    """A loss or a weight became NaN or infinite in training, which therefore stopped. The message says where."""

    exit_code = 1


def friendly_main(main: Callable) -> Callable:
    """Wrap a command's main function: errors in its input become one message on stderr and exit code 2. Call the result.

    Shown this way are :class:`UserError`, errors that mmfusion itself raises on bad input (``ValueError``, ``TypeError``, ``OSError``,
    ``RuntimeError`` raised by a line of the package, in a data worker too), configs that cannot be built, and weights that cannot be
    downloaded. Everything else keeps its traceback, as does all when ``MMFUSION_DEBUG=1``. Ctrl-C and SIGTERM end the command with one line and
    exit code 130 or 143.

    Examples:
        >>> @friendly_main
        ... def main():
        ...     raise UserError('no such file: a.png')
        >>> main()
        Traceback (most recent call last):
        ...
        SystemExit: 2
    """

    @functools.wraps(main)
    def wrapper(*args, **kwargs):
        try:
            with sigterm_as_exception():
                return main(*args, **kwargs)
        except (KeyboardInterrupt, Terminated) as stop:
            if os.environ.get('MMFUSION_DEBUG') == '1':
                raise
            line, code = describe(stop)
            if os.environ.get('RANK', '0') == '0':  # of several processes, one speaks
                print(f'\nmmfusion: {line}', file=sys.stderr, flush=True)
            raise SystemExit(code) from None
        except Exception as error:
            message = user_message(error)
            if message is None or os.environ.get('MMFUSION_DEBUG') == '1':
                raise
            print(f'\nmmfusion: error: {message}\n(MMFUSION_DEBUG=1 shows the traceback)', file=sys.stderr, flush=True)
            raise SystemExit(getattr(error, 'exit_code', 2)) from None

    return wrapper


def user_message(error: BaseException) -> Optional[str]:
    """The message for the user, or None when the error is not known to be one of input."""
    if isinstance(error, UserError):
        return str(error)
    worker = _unwrap_worker_error(error)
    if worker is not None:
        file, message = worker
        return message if _in_package(file) and isinstance(error, _CHECKED) else None
    frames = traceback.extract_tb(error.__traceback__)
    files = [frame.filename for frame in frames]
    if not files:
        return None
    # mmengine's Runner builds data loaders, loops and seeds without a registry
    if isinstance(error, TypeError) and _WRONG_ARGUMENT.search(_text(error)) and (_while_building(files) or _in_mmengine(files[-1])):
        return f'the config cannot be built: {_text(error)}'
    if isinstance(error, _CHECKED) and _in_package(files[-1]):
        return str(error)
    if isinstance(error, KeyError) and _in_package(files[-1]) and ' ' in _text(error):  # raised with a sentence, not by a lookup
        return _text(error)
    if _is_download(error):
        return (f"weights cannot be downloaded: {error}. On a machine without network, let init_cfg.checkpoint of the network name a local file, or "
                "start from random weights: init_cfg=None, or type='mmfusion.PretrainedIfReachable' in place of 'Pretrained'")
    if isinstance(error, _CONFIG_ERRORS) and _while_building(files):
        return f'the config cannot be built: {_text(error) or type(error).__name__}'
    if isinstance(error, _CONFIG_ERRORS) and _in_runner_setup(frames[-1]):
        return f"the config cannot be built: {_text(error).split(', but got')[0]}"  # what follows is a dump of whole sections
    return None


def _text(error: BaseException) -> str:
    # str(KeyError) is the repr of its message
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def _unwrap_worker_error(error: BaseException) -> Optional[tuple]:
    """(file that raised, message) of an error that a DataLoader worker sent over, which carries its traceback as text."""
    text = _text(error)
    if not text.startswith('Caught ') or 'Original Traceback' not in text:
        return None
    files = re.findall(r'^  File "([^"]+)", line \d+', text, flags=re.M)
    final = re.split(r'^  File .*\n(?:    .*\n)*', text, flags=re.M)[-1].strip()
    return (files[-1] if files else ''), re.sub(r'^[\w.]*(Error|Exception): ', '', final)


def _in_package(file: str) -> bool:
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return os.path.abspath(file).startswith(root + os.sep)


def _while_building(files: Sequence[str]) -> bool:
    """Whether the error came out of something that a registry was building from its config."""
    return any(os.sep.join(('mmengine', 'registry')) in file for file in files)


def _in_mmengine(file: str) -> bool:
    return f'{os.sep}mmengine{os.sep}' in file


def _in_runner_setup(frame: traceback.FrameSummary) -> bool:
    setup = frame.name == '__init__' or frame.name.startswith('build_')
    return setup and frame.filename.endswith(os.path.join('mmengine', 'runner', 'runner.py'))


def _is_download(error: BaseException) -> bool:
    from urllib.error import URLError
    return isinstance(error, URLError)
