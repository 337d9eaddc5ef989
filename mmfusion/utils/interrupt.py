"""SIGTERM and Ctrl-C as exceptions, so that a command ends with one line and whole files."""

import contextlib
import functools
import os
import signal
import threading
from typing import Iterator

#: What a command prints and how it exits, as shells report it: 128 and the number of the signal.
EXIT_CODES = {signal.SIGINT: 128 + signal.SIGINT, signal.SIGTERM: 128 + signal.SIGTERM}


class Terminated(BaseException):
    """The process was asked to end by SIGTERM; no ``except Exception`` holds it up."""


@functools.cache
def _restore_in_children() -> None:
    """From now on, a process forked while SIGTERM raises an exception begins with the system's own answer to it."""

    mask = threading.local()

    def hold():  # a signal that comes before the handler is changed waits, instead of being lost in the old one
        mask.former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def release():
        signal.pthread_sigmask(signal.SIG_SETMASK, mask.former)

    def restore():
        if getattr(signal.getsignal(signal.SIGTERM), 'of_a_command', False):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        release()

    if hasattr(os, 'register_at_fork'):
        os.register_at_fork(before=hold, after_in_parent=release, after_in_child=restore)


@contextlib.contextmanager
def sigterm_as_exception() -> Iterator[None]:
    """While the block runs, SIGTERM raises :class:`Terminated` in the main thread, as Ctrl-C raises KeyboardInterrupt.

    Processes that are forked meanwhile (data workers, pools) end by SIGTERM as ever: a handler in Python that comes
    while a worker is about to wait for a lock would not run before the lock is free, and who ends the pool would wait
    for the worker.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    _restore_in_children()

    def handle(number, frame):
        signal.signal(number, signal.SIG_IGN)  # one is enough: files are being put in order
        raise Terminated

    handle.of_a_command = True
    former = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former if former is not None else signal.SIG_DFL)


@contextlib.contextmanager
def remark(sentence) -> Iterator[None]:
    """Add what a user should know when the block is interrupted.

    Args:
        sentence: Function without arguments that returns it; it is called after the interrupt.
    """
    try:
        yield
    except (KeyboardInterrupt, Terminated) as stop:
        stop.add_note(sentence())
        raise


def describe(stop: BaseException) -> 'tuple[str, int]':
    """The line for the user, and the exit code."""
    number = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
    name = 'SIGTERM' if number == signal.SIGTERM else 'Ctrl-C'
    return '; '.join(
        [f'stopped by {name}', *(getattr(stop, '__notes__', None) or ['what has been written is whole'])]
    ), EXIT_CODES[number]
