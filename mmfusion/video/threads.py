"""Threads that decode and encode, stopped before the interpreter goes: one that is inside OpenCV then would take the
process down with an abort.
"""

import atexit
import weakref
from typing import Protocol


class Stoppable(Protocol):
    """What owns a thread."""

    def abandon(self) -> None:
        """Let the thread end, and wait for it a while. Nothing of its work is asked for any more."""


_running: 'weakref.WeakSet[Stoppable]' = weakref.WeakSet()


def stop_at_exit(owner: Stoppable) -> None:
    """Call ``abandon`` of what owns a thread when the interpreter ends, unless it is gone by then."""
    _running.add(owner)


@atexit.register
def _stop_all() -> None:
    for owner in list(_running):
        owner.abandon()
