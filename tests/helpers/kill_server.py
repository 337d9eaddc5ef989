"""Runs tools in children of one warm process, and kills them at a given moment.

Importing torch and mmdet takes longer than a tiny run, so a server imports everything once and forks a child for each
attempt. It reads requests and writes answers as lines of JSON; :class:`KillServer` is its other side.
"""

import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).parents[2]
_TICK = os.sysconf('SC_CLK_TCK')


class KillServer:
    """A warm process that runs tools."""

    def __init__(self):
        environment = {
            **os.environ,
            'PYTHONPATH': f'{REPO}:{REPO / "tests" / "helpers"}:{REPO / "tests" / "twins"}',
            'OMP_NUM_THREADS': '1',
            'MKL_NUM_THREADS': '1',
        }
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=REPO,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == 'ready'

    def run(self, tool, *args, log, cpu=None, event=None, number=signal.SIGKILL, room=None):
        """Run a tool; see :func:`attempt` for what comes back.

        Args:
            tool: Path below ``tools``.
            args: Its command line.
            log: File for what it prints.
            cpu: Send the signal when the process has used so many seconds.
            event: Send the signal in the middle of the n-th thing that is done to a file.
            number: Number of the signal.
            room: The disk is full after so many things were written.
        """
        request = dict(
            tool=tool, args=list(map(str, args)), log=str(log), cpu=cpu, event=event, number=int(number), room=room
        )
        self._process.stdin.write(json.dumps(request) + '\n')
        self._process.stdin.flush()
        return self._read()

    def _read(self):
        return json.loads(self._process.stdout.readline())

    def close(self):
        """End the server."""
        self._process.stdin.close()
        self._process.wait()


def attempt(request):
    """Fork, run, watch.

    Returns:
        dict: ``code`` (exit code, negative for a signal), ``cpu`` (seconds used), ``events`` (things done to files).
    """
    shared = mmap.mmap(-1, 8)
    pid = os.fork()
    if pid == 0:
        _child(request, shared)
    limit, used, status = request['cpu'], 0.0, None
    while status is None:
        done, state = os.waitpid(pid, os.WNOHANG)
        if done:
            status = state
            break
        used = _cpu(pid)
        if limit is not None and used >= limit:
            os.kill(pid, request['number'])
            limit = None
        time.sleep(0.002)
    return dict(code=os.waitstatus_to_exitcode(status), cpu=used, events=struct.unpack('q', shared[:8])[0])


def _cpu(pid):
    fields = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _child(request, shared):
    code = 1
    try:
        with open(request['log'], 'ab', buffering=0) as log:
            os.dup2(log.fileno(), 1), os.dup2(log.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = os.fdopen(1, 'w', closefd=False), os.fdopen(2, 'w', closefd=False)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells let background processes ignore
        _watch_files(request, shared)
        import runpy

        runpy.run_path(str(REPO / 'tools' / request['tool']))['main'](request['args'])
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def _watch_files(request, shared):
    """Count what is done to files; strike at the one that was asked for."""
    import errno

    from mmfusion.fileio import whole

    room = request['room']

    def happen():
        (count,) = struct.unpack('q', shared[:8])
        shared[:8] = struct.pack('q', count + 1)
        return count + 1 == request['event']

    def strike():
        os.kill(os.getpid(), request['number'])

    class File:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            nonlocal room
            if room is not None:
                room -= 1
                if room < 0:
                    self.file.write(data[: len(data) // 2])
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if happen():
                self.file.write(data[: len(data) // 2])
                self.file.flush()
                strike()
            return self.file.write(data)

        def __enter__(self):
            return self

        def __exit__(self, *args):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

    whole.open = lambda *args, **kwargs: File(open(*args, **kwargs))  # noqa: SIM115

    def watch(name):
        call = getattr(os, name)

        def watched(*args, **kwargs):
            if happen():
                strike()
            return call(*args, **kwargs)

        setattr(os, name, watched)

    for name in ('replace', 'remove', 'fsync'):
        watch(name)


def _warm_up():
    """Import all that a run needs, and leave out what only describes it: formatting a config takes longer than these
    runs.
    """
    import torch
    import torch._dynamo  # the first optimizer would

    torch.set_num_threads(1)
    import mmengine.runner.runner
    from mmengine.config import Config

    from mmfusion.utils import register_all_modules

    register_all_modules()
    import mmfusion.cli.conversion
    import mmfusion.evaluation.folders.evaluation
    import mmfusion.evaluation.folders.report
    import mmfusion.experiments.comparison
    import mmfusion.experiments.downstream
    import mmfusion.running.search
    import mmfusion.running.testing  # noqa: F401

    Config.pretty_text = property(lambda self: f'config = {self.to_dict()!r}\n')
    mmengine.runner.runner.collect_env = dict


def _serve():
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what imports print is no answer
    _warm_up()
    print(json.dumps('ready'), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(attempt(json.loads(line))), file=answers, flush=True)


if __name__ == '__main__':
    _serve()
