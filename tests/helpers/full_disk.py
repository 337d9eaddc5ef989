"""A disk that fills up at the n-th write, for tests of what is left then."""

import errno
import os

from mmfusion.fileio import whole


class FullDisk:
    """Counts the writes of :mod:`mmfusion.fileio` from now on; the one after ``room`` finds the disk full, and so do
    all others.

    Attributes:
        room: Writes that still succeed.
    """

    def __init__(self, monkeypatch, room: int) -> None:
        self.room = room
        monkeypatch.setattr(whole, 'open', lambda *args, **kwargs: _File(open(*args, **kwargs), self), raising=False)  # noqa: SIM115


class _File:
    def __init__(self, file, disk):
        self._file, self._disk = file, disk

    def write(self, data):
        if self._disk.room <= 0:
            self._file.write(data[: len(data) // 2])  # as much as still fitted
            self._file.flush()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._disk.room -= 1
        return self._file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self._file.close()

    def __getattr__(self, name):
        return getattr(self._file, name)
