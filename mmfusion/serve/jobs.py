"""A queue of jobs, one at a time, each of which can be canceled."""

import logging
import secrets
import threading
import time
from collections import OrderedDict
from typing import Any, Callable, Optional, Tuple

from mmengine.logging import print_log

from mmfusion.utils.errors import UserError

from .errors import NotHere


class Canceled(Exception):
    """The job was canceled while it ran."""


class Job:
    """One job.

    Args:
        work: Called with the job; what it returns is the result. It calls :meth:`check` often.
        total: Steps that it has.
        end: Called without arguments when the job has ended, however it ended.

    Attributes:
        state: ``'queued'``, ``'running'``, ``'done'``, ``'failed'`` or ``'canceled'``.
        done: Steps that are done.
        tiles: Of a step that works in tiles, how many of them are done and how many there are; None of others.
        result: What ``work`` returned.
        error: One line for the visitor, of a failed job.
        asked: Time at which somebody last asked for it.
    """

    def __init__(self, work: Callable[['Job'], Any], total: int, end: Callable[[], None] = lambda: None) -> None:
        self.key = secrets.token_urlsafe(16)
        self.work, self.total, self.end = work, total, end
        self.state, self.done, self.result, self.error = 'queued', 0, None, ''
        self.tiles: Optional[Tuple[int, int]] = None
        self.asked = time.monotonic()
        self.canceled, self.ended = threading.Event(), threading.Event()

    def count_tiles(self, done: int, number: int) -> None:
        """Note how far the current step is."""
        self.tiles = done, number

    def check(self) -> None:
        """Go on, or not.

        Raises:
            Canceled: The job was canceled.
        """
        if self.canceled.is_set():
            raise Canceled


class JobQueue:
    """Jobs in the order in which they came, in one thread of their own.

    Args:
        forget: Called with each job that is forgotten, to remove what it left.
    """

    def __init__(self, forget: Callable[[Job], None] = lambda job: None) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._changed = threading.Condition()
        self._forget, self._closed = forget, False
        self._thread = threading.Thread(target=self._run, name='mmfusion-jobs', daemon=True)
        self._thread.start()

    def add(self, job: Job) -> str:
        """Put a job at the end; its name cannot be guessed."""
        with self._changed:
            self._jobs[job.key] = job
            self._changed.notify_all()
        return job.key

    def __getitem__(self, key: str) -> Job:
        """The job of a name.

        Raises:
            NotHere: There is none, or no more.
        """
        with self._changed:
            job = self._find(key)
            job.asked = time.monotonic()
            return job

    def waiting_before(self, job: Job) -> int:
        """Number of jobs that come before a queued one."""
        with self._changed:
            if job.state != 'queued':
                return 0
            others = list(self._jobs.values())
            return sum(other.state in ('queued', 'running') for other in others[: others.index(job)])

    def cancel(self, key: str) -> None:
        """Cancel a job: a queued one ends at once, a running one at its next check, an ended one is left as it is.

        Raises:
            NotHere: There is none.
        """
        with self._changed:
            job = self._find(key)
            job.canceled.set()
            if job.state != 'queued':
                return
            job.state = 'canceled'
        self._finish(job)

    def remove_older(self, seconds: float) -> None:
        """Forget ended jobs that nobody asked for in so many seconds."""
        limit = time.monotonic() - seconds
        with self._changed:
            old = [job for job in self._jobs.values() if job.ended.is_set() and job.asked <= limit]
            for job in old:
                del self._jobs[job.key]
        for job in old:
            self._forget(job)

    def close(self, timeout: Optional[float] = 10) -> None:
        """Cancel everything and end the thread."""
        with self._changed:
            self._closed = True
            keys = list(self._jobs)
            self._changed.notify_all()
        for key in keys:
            self.cancel(key)
        self._thread.join(timeout)
        self.remove_older(-1)

    def _find(self, key: str) -> Job:
        if key not in self._jobs:
            raise NotHere(key)
        return self._jobs[key]

    def _next(self) -> Optional[Job]:
        with self._changed:
            while True:
                job = next((job for job in self._jobs.values() if job.state == 'queued'), None)
                if self._closed or job is not None:
                    break
                self._changed.wait()
            if self._closed:
                return None
            job.state = 'running'
            return job

    def _run(self) -> None:
        while True:
            job = self._next()
            if job is None:
                return
            try:
                job.result = job.work(job)
                state = 'done'
            except Canceled:
                state = 'canceled'
            except UserError as error:
                job.error, state = str(error), 'failed'
            except Exception as error:  # a fault of ours ends one job, not the page
                print_log(f'{type(error).__name__} while fusing: {error}', 'current', logging.ERROR)
                job.error, state = f'{type(error).__name__}; the terminal of mmfusion serve says more', 'failed'
            with self._changed:
                job.state = state
            self._finish(job)

    @staticmethod
    def _finish(job: Job) -> None:
        job.end()
        job.ended.set()
