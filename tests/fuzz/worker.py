"""Feeds damaged files to readers, in a process of its own with bounded memory and time:
``worker.py OUT SEED NAME:FIRST:COUNT ...``.

It writes ``OUT/progress`` before every file, so that whoever started it knows which one ended it, and a line of JSON on
stdout per reader.
"""

import json
import os
import resource
import signal
import sys
import traceback
import warnings
from pathlib import Path

CPU_SECONDS = 5  # for one file
MEMORY = 2**30  # beyond what the imports take
MAX_FAILURES = 20
MAX_FILE = 2**22


def main() -> None:
    """Feed the files."""
    out, seed, jobs = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    os.environ['MMFUSION_MAX_PIXELS'] = str(2**22)
    os.dup2(
        os.open(out / 'stderr', os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2
    )  # libpng and libtiff write there, pages of it
    from mmfusion.utils import setup_cpu_env

    setup_cpu_env()
    import cv2
    import torch

    from mmfusion.utils import register_all_modules
    from mmfusion.utils.errors import user_message

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    register_all_modules()
    import logging

    from mmengine.logging import MMLogger
    from readers import readers

    MMLogger.get_instance('fuzz').setLevel(logging.CRITICAL)
    warnings.simplefilter('ignore')
    os.chdir(out)
    known = readers(str(out / 'it_ran'))
    for name, reader in known.items():  # the libraries load what they need before memory is bounded
        for index, data in enumerate(reader.good):
            path = out / f'good{reader.suffix}'
            path.write_bytes(data)
            try:
                reader.read(str(path))
            except Exception as error:
                raise AssertionError(f'{name} does not take file {index}, which is not damaged') from error
    used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for job in jobs:
        name, first, count = job.split(':')
        feed(known[name], name, range(int(first), int(first) + int(count)), seed, out, user_message)


def resident(key: str, forget: bool = False) -> int:
    """Bytes of resident memory: now (``VmRSS``), or the most so far (``VmHWM``), which can be forgotten."""
    if forget:
        Path('/proc/self/clear_refs').write_text('5')
    return (
        next(
            int(line.split()[1]) for line in Path('/proc/self/status').read_text().splitlines() if line.startswith(key)
        )
        * 1024
    )


def feed(reader, name: str, indices: range, seed: int, out: Path, user_message) -> None:
    """Feed one reader and print what came out."""
    import random

    found = dict(reader=name, inputs=0, errors=0, results=0, failures=[])
    path = out / f'input{reader.suffix}'
    growth = 0
    for index in indices:
        path.unlink(missing_ok=True)
        path.write_bytes(reader.make(random.Random(f'{seed} {name} {index}'))[:MAX_FILE])
        (out / 'progress').write_text(json.dumps([name, index]))
        before = resident('VmRSS', forget=True)
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # the signal ends the process, even inside a decoder
        found['inputs'] += 1
        try:
            reader.read(str(path))
            found['results'] += 1
        except reader.errors as error:
            found['errors'] += 1
            if user_message(error) is None:  # the tools would show a traceback
                found['failures'].append((index, traceback.format_exc()[-1500:]))
        except BaseException:
            found['failures'].append((index, traceback.format_exc()[-1500:]))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            growth = max(growth, resident('VmHWM') - before)
        if (out / 'it_ran').exists():
            found['failures'].append((index, 'the file made the reader run its code'))
            (out / 'it_ran').rmdir()
        if len(found['failures']) > MAX_FAILURES:
            break
    print(json.dumps(dict(found, growth=growth)), flush=True)


if __name__ == '__main__':
    main()
