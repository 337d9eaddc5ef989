"""Runs the worker, goes on where a file ended it, and prints a table:
``python tests/fuzz/fuzzing.py --inputs 2000``.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Dict, List, Sequence

FOLDER = Path(__file__).parent
WALL_SECONDS = 120  # without progress: waiting for something, since computing ends after five seconds of its own
NAMES = (
    'png image',
    'jpg image',
    'bmp image',
    'tif image',
    'pair of images',
    'image with alpha',
    'size of an image',
    'class map',
    'VOC xml',
    'YOLO text',
    'COCO json',
    'class names',
    'id list',
    'genotype',
    'latency table',
    'result',
    'verdict record',
    'json config',
    'journal',
    'yaml config',
    'rig file',
    'Python config',
    'checkpoint',
    'checkpoint to resume',
    'init_cfg',
    'MAE weights',
    'official TDFusion',
    'official TC-MoA',
    'official MoE-Fusion',
    'official TIM',
)


def fuzz(inputs: int, out: Path, seed: int = 0, names: Sequence[str] = NAMES, first: int = 0) -> List[dict]:
    """Feed every reader with so many damaged files.

    Returns:
        One dict per reader: ``inputs``, ``errors`` (documented ones), ``results``, ``failures`` as (index, what
        happened), ``crashes`` (process ended), ``hangs``, ``growth``, the most resident memory in bytes that one file
        took.
    """
    totals: Dict[str, dict] = {
        name: dict(reader=name, inputs=0, errors=0, results=0, failures=[], crashes=0, hangs=0, growth=0)
        for name in names
    }
    todo = dict.fromkeys(names, (first, inputs))
    while todo:
        (out / 'progress').unlink(missing_ok=True)
        code, lines = _run(out, seed, [f'{name}:{start}:{count}' for name, (start, count) in todo.items()])
        for line in lines:
            found = json.loads(line)
            total = totals[found['reader']]
            for key in ('inputs', 'errors', 'results', 'failures'):
                total[key] += found[key]
            total['growth'] = max(total['growth'], found['growth'])
            todo.pop(found['reader'])
        if not todo:
            break
        if code >= 0 or not (out / 'progress').exists():
            raise RuntimeError(f'the worker ended with {code}: {(out / "stderr").read_text(errors="replace")[-3000:]}')
        name, index = json.loads((out / 'progress').read_text())
        total, (start, count) = totals[name], todo[name]
        hang = code in (-signal.SIGPROF, -signal.SIGKILL)
        total['hangs' if hang else 'crashes'] += 1
        total['failures'].append((index, f'ended the process with signal {-code}'))
        total['inputs'] += index - start + 1
        total['errors'] += index - start  # what became of those is not known any more
        rest = start + count - index - 1
        if rest and total['crashes'] + total['hangs'] < 10:
            todo[name] = (index + 1, rest)
        else:
            del todo[name]
    return list(totals.values())


def _run(out: Path, seed: int, jobs: List[str]) -> tuple:
    """Exit code and printed lines of one worker, which is killed when it makes no progress."""
    env = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join([str(FOLDER), str(FOLDER.parents[1]), os.environ.get('PYTHONPATH', '')]),
    }
    worker = subprocess.Popen(
        [sys.executable, str(FOLDER / 'worker.py'), str(out), str(seed), *jobs],
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )

    def watch() -> None:
        last, since = None, time.monotonic()
        while worker.poll() is None:
            state = (out / 'progress').read_text() if (out / 'progress').exists() else None
            if state != last:
                last, since = state, time.monotonic()
            elif time.monotonic() - since > WALL_SECONDS and last is not None:
                worker.kill()
            time.sleep(1)

    threading.Thread(target=watch, daemon=True).start()
    printed = worker.communicate()[0]
    return worker.returncode, [line for line in printed.splitlines() if line.startswith('{"reader"')]


def table(totals: Sequence[dict]) -> str:
    """Markdown."""
    lines = [
        '| reader | files | documented errors | results | crashes | hangs | other | memory, at most |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for row in totals:
        other = len(row['failures']) - row['crashes'] - row['hangs']
        lines.append(
            f'| {row["reader"]} | {row["inputs"]} | {row["errors"]} | {row["results"]} | {row["crashes"]} | '
            f'{row["hangs"]} | {other} | '
            f'{row["growth"] / 2**20:.0f} MiB |'
        )
    return '\n'.join(lines)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--inputs', type=int, default=50)
    parser.add_argument('--first', type=int, default=0)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--readers', nargs='+', default=NAMES)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        totals = fuzz(args.inputs, Path(folder), args.seed, args.readers, args.first)
    for row in totals:
        for index, text in row['failures'][:3]:
            print(f'--- {row["reader"]}, file {index}:\n{text}', file=sys.stderr)
    print(table(totals))


if __name__ == '__main__':
    main()
