"""Errors that a user can fix, shown as one message without a traceback."""

import contextlib
import errno
import functools
import os
import re
import select
import signal
import sys
from typing import Callable, Iterator, Optional

from .interrupt import Terminated, describe, sigterm_as_exception

# a disk that is full or cannot be written: errors without the name of a file
_OF_NO_FILE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_BUILDING = (KeyError, TypeError, AssertionError, ValueError, OSError)
# mmengine ends such a sentence with a dump of whole sections of the config
_DUMP = re.compile(r', but got \w+=')


class UserError(RuntimeError):
    """Something the user can fix: a path, a key, a missing package. The message names it and says what to do."""

    exit_code = 2

    def __str__(self) -> str:
        return RuntimeError.__str__(self)  # that of a KeyError would put quotes around the message


class InputError(UserError, ValueError):
    """Data or a setting that does not do: a :class:`UserError` that a caller from Python may catch as a
    ``ValueError``.
    """


class ConfigError(InputError, TypeError):
    """A config that something cannot be built from; a ``ValueError`` and a ``TypeError``, as the class that refused it
    may have raised.
    """


class InputTypeError(UserError, TypeError):
    """A setting of a wrong kind: a :class:`UserError` that is a ``TypeError`` too."""


class InputKeyError(UserError, KeyError):
    """Something that a sample or a config should hold and does not: a :class:`UserError` that is a ``KeyError`` too."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that is not there: a :class:`UserError` that is a ``FileNotFoundError`` too."""


class WriteError(UserError, OSError):
    """A file that cannot be written: a :class:`UserError` that is an ``OSError`` too."""


class NonFiniteError(UserError):
    """A loss or a weight became NaN or infinite in training, which therefore stopped. The message says where."""

    exit_code = 1


@contextlib.contextmanager
def building(what: str = 'the config') -> Iterator[None]:
    """Context in which objects are built as a config says: what their classes answer to wrong arguments is an error of
    the config.

    Also a decorator of functions that do nothing else (``building()(function)``).

    Args:
        what: What says so, for the message.

    Raises:
        UserError: In place of a ``KeyError``, ``TypeError``, ``AssertionError``, ``ValueError`` or ``OSError``.

    Examples:
        >>> with building():
        ...     int('many')
        Traceback (most recent call last):
        ...
        mmfusion.utils.errors.ConfigError: the config cannot be built: invalid literal for int() with base 10: 'many'
    """
    try:
        yield
    except UserError:
        raise
    except _BUILDING as error:
        if _is_download(error):
            raise
        raise ConfigError(f'{what} cannot be built: {_DUMP.split(_text(error))[0] or type(error).__name__}') from error


def friendly_main(main: Callable) -> Callable:
    """Wrap a command's main function: errors in its input become one message on stderr and exit code 2. Call the
    result.

    Shown this way are :class:`UserError`, in a data worker too, errors of the operating system that name a file,
    weights that cannot be downloaded, and a GPU without enough memory. Everything else keeps its traceback, as does all
    when ``MMFUSION_DEBUG=1``. Ctrl-C and SIGTERM end the command with one line and exit code 130 or 143; a reader that
    leaves early (``mmfusion info | head -1``) ends it without a word, with 141.

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
                result = main(*args, **kwargs)
                sys.stdout.flush()
                return result
        except BrokenPipeError:
            if not _reader_is_gone():
                raise
            raise SystemExit(128 + signal.SIGPIPE) from None
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


def _reader_is_gone() -> bool:
    """Whether nobody reads the standard output any more; what is left of it is dropped then."""
    output = sys.stdout.fileno()
    poller = select.poll()
    poller.register(output, 0)
    if not any(event & select.POLLERR for _, event in poller.poll(0)):
        return False  # another pipe broke, such as that of a worker
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # python flushes once more when it ends
    return True


def user_message(error: BaseException) -> Optional[str]:
    """The message for the user, or None when the error is not one of input."""
    if isinstance(error, UserError):
        return _without_traceback(str(error))
    if _is_download(error):
        return (
            f'weights cannot be downloaded: {error}. On a machine without network, let init_cfg.checkpoint of the '
            f'network name a local file, or '
            "start from random weights: init_cfg=None, or type='mmfusion.PretrainedIfReachable' in "
            "place of 'Pretrained'"
        )
    if _is_out_of_memory(error):
        return f'{str(error).splitlines()[0]} Lower the batch size or the size of crops, or train with --amp'
    if isinstance(error, OSError) and (error.filename is not None or error.errno in _OF_NO_FILE):
        return str(error)
    return None


def _text(error: BaseException) -> str:
    # str(KeyError) is the repr of its message
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def _without_traceback(text: str) -> str:
    """The message of an error, also of one that a DataLoader worker sent over, which then stands at the end of its
    traceback.
    """
    if not text.startswith('Caught ') or 'Original Traceback' not in text:
        return text
    final = re.split(r'^  File .*\n(?:    .*\n)*', text, flags=re.M)[-1].strip()
    return re.sub(r'^[\w.]*(Error|Exception): ', '', final)


def _is_out_of_memory(error: BaseException) -> bool:
    torch = sys.modules.get('torch')  # not loaded: it has raised nothing
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def _is_download(error: BaseException) -> bool:
    from urllib.error import URLError

    return isinstance(error, URLError)
