"""Ctrl-C and SIGTERM end a command with one line, the exit code that shells expect, and no traceback."""

import os
import signal
import subprocess
import sys

import pytest

from mmfusion.utils.interrupt import Terminated, remark, sigterm_as_exception

PROGRAM = """
import os, sys, time
from mmfusion.utils import friendly_main
from mmfusion.utils.interrupt import remark

@friendly_main
def main():
    child = os.fork() if 'fork' in sys.argv else None
    if child == 0:
        time.sleep(60)
        os._exit(0)
    with remark(lambda: 'run it again to go on'):
        try:
            print(child, flush=True)
            time.sleep(60)
        except Exception:
            print('caught', flush=True)
        finally:
            print('files in order', flush=True)

main()
"""


def started(repo_dir, *argv, **environment):
    process = subprocess.Popen(
        [sys.executable, '-c', PROGRAM, *argv],
        cwd=repo_dir,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, 'PYTHONPATH': str(repo_dir), **environment},
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # shells let what they start in the background ignore it
    )
    return process, process.stdout.readline().strip()


@pytest.mark.parametrize(('number', 'line', 'code'), [(signal.SIGINT, 'Ctrl-C', 130), (signal.SIGTERM, 'SIGTERM', 143)])
def test_one_line_and_the_exit_code(number, line, code, repo_dir):
    process, _ = started(repo_dir)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, 'files in order\n')
    assert err == f'\nmmfusion: stopped by {line}; run it again to go on\n'


def test_of_several_processes_one_speaks(repo_dir):
    process, _ = started(repo_dir, RANK='1')
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[1] == '' and process.returncode == 143


def test_debugging_shows_the_traceback(repo_dir):
    process, _ = started(repo_dir, MMFUSION_DEBUG='1')
    process.send_signal(signal.SIGTERM)
    assert 'Terminated' in process.communicate(timeout=60)[1]


def test_forked_processes_end_as_ever(repo_dir):
    process, child = started(repo_dir, 'fork')
    os.kill(int(child), signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err.count('mmfusion'), 'Traceback' in err) == (143, 1, False)


def test_the_former_handler_comes_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated) as caught, sigterm_as_exception(), remark(lambda: 'a'), remark(lambda: 'b'):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before and caught.value.__notes__ == ['b', 'a']


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='processes are not forked here')
def test_a_forked_process_answers_sigterm_without_python():
    """A pool is ended by SIGTERM; a worker that was about to wait for a lock must not first wait for it."""

    def answer_in_child():
        child = os.fork()
        if child == 0:
            os._exit(0 if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    with sigterm_as_exception():
        assert answer_in_child() == 0
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    former = signal.signal(signal.SIGTERM, lambda number, frame: None)  # what others set is left alone
    try:
        assert answer_in_child() == 1
    finally:
        signal.signal(signal.SIGTERM, former)
