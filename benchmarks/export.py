"""Exported graphs beside the networks that they were made from: differences, size of the file, time and memory.

    OMP_NUM_THREADS=1 python benchmarks/export.py moe_fusion plain_conv tdfusion average_msrs_det:det

A task network of a config stands behind a colon; it has the weights that it begins with. The time is a ratio of CPU
times to the eager network, the best of turns in one process, with the threads that OMP_NUM_THREADS says; memory is the
peak of a process that holds numpy and onnxruntime alone.

    OMP_NUM_THREADS=1 python benchmarks/export.py moe_fusion --profile 12

says where onnxruntime spends that time instead: shares of its kinds of operators and the slowest ones of them, with
their shapes, by its own profile.
"""

import argparse
import bisect
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence

HOLDING = ('If', 'Loop', 'Scan')  # their time is that of the operators inside
HEAD = (
    '| model | fuser | open sizes | largest difference | file | time to eager | memory, 480x640 | memory, '
    '1536x2048 in tiles of 512 |'
)
PEAK = """
import sys
import numpy as np
from mmfusion.runtime import RuntimeModel
path, height, width, tile = sys.argv[1], *map(int, sys.argv[2:])
model = RuntimeModel(path, threads=1)
rng = np.random.default_rng(0)
pair = [rng.integers(0, 256, (height, width, channels), dtype=np.uint8) for channels in model.info.channels]
model(*pair, tile=tile or None)
print(next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')) / 1024)
"""


class Operator(NamedTuple):
    """A node of a graph as onnxruntime runs it: its name there, its kind, the least milliseconds of all runs,
    shapes.
    """

    name: str
    kind: str
    ms: float
    shapes: str


def in_turns(runs: Sequence[Callable[[], object]], repeats: int) -> List[float]:
    """Least CPU time of each, in turns after one that does not count."""
    times: List[List[float]] = [[] for _ in runs]
    for turn in range(repeats + 1):
        for run, seconds in zip(runs, times):
            start = time.process_time()
            run()
            if turn:
                seconds.append(time.process_time() - start)
    return [min(seconds) for seconds in times]


def profile(path: str, size: Sequence[int], repeats: int) -> List[Operator]:
    """Operators of a file as onnxruntime runs them, the slowest first. Those inside of branches and loops stand for
    what holds them.
    """
    import onnxruntime
    import torch

    from mmfusion.export.checking import example_pictures

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / 'profile')
        session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
        channels = [entry.shape[3] for entry in session.get_inputs()]
        pictures = example_pictures((1, *size), channels, 'uint8')
        for _ in range(repeats + 1):
            session.run(None, dict(zip(('first', 'second'), pictures)))
        events = json.loads(Path(session.end_profiling()).read_text())
    starts = sorted(event['ts'] for event in events if event['name'] == 'model_run')
    found: Dict[str, dict] = {}
    for event in events:
        name, is_kernel, _ = event['name'].partition('_kernel_time')
        run = bisect.bisect(starts, event['ts']) - 1  # the first one does not count
        if is_kernel and run > 0 and event['args']['op_name'] not in HOLDING:
            entry = found.setdefault(name, dict(args=event['args'], ms=[0.0] * repeats))
            entry['ms'][run - 1] += event['dur'] / 1e3
    operators = [
        Operator(name, entry['args']['op_name'], min(entry['ms']), _shapes(entry['args']))
        for name, entry in found.items()
    ]
    return sorted(operators, key=lambda operator: -operator.ms)


def _shapes(args: dict) -> str:
    """Shapes of what an operator reads and writes, without numbers and lists."""
    sides = [
        ' '.join(
            'x'.join(map(str, shape))
            for entry in args[f'{side}_type_shape']
            for shape in entry.values()
            if len(shape) > 1
        )
        for side in ('input', 'output')
    ]
    return ' to '.join(sides)


def print_profile(name: str, operators: Sequence[Operator], number: int) -> None:
    """Shares of the kinds of operators, and the slowest ones."""
    total = sum(operator.ms for operator in operators)
    kinds: Dict[str, float] = {}
    for operator in operators:
        kinds[operator.kind] = kinds.get(operator.kind, 0.0) + operator.ms
    shares = sorted(kinds.items(), key=lambda entry: -entry[1])[:8]
    print(f'{name}: {total:.0f} ms; ' + ', '.join(f'{kind} {100 * ms / total:.0f} %' for kind, ms in shares))
    for operator in operators[:number]:
        print(f'  {operator.ms:7.1f} ms  {operator.kind:18} {operator.shapes}  ({operator.name})', flush=True)


def peak_memory(path: str, height: int, width: int, tile: int) -> float:
    """MB that a process without torch takes at most for one pair."""
    done = subprocess.run(
        [sys.executable, '-c', PEAK, path, *map(str, (height, width, tile))], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def export(name: str, folder: str):
    """Coupling of a model, names of the task networks behind the colon, and report of the export."""
    import torch

    from mmfusion.apis import build_coupling
    from mmfusion.export import export_model

    path = str(Path(folder) / f'{name.replace(":", "_")}.onnx')
    model, *tasks = name.split(':')
    torch.manual_seed(0)
    built = build_coupling(model).coupling
    return built, tasks, export_model(built if tasks else model, path, tasks=tasks)


def measure(name: str, folder: str, size: Sequence[int], repeats: int) -> dict:
    """Export a model and compare."""
    import torch

    from mmfusion.export.checking import example_pictures
    from mmfusion.export.graph import FusionGraph
    from mmfusion.runtime import RuntimeModel

    built, tasks, report = export(name, folder)
    path = report.path
    graph = FusionGraph(built, tasks).eval()
    runtime = RuntimeModel(path, threads=torch.get_num_threads())
    pictures = example_pictures((1, *size), (3, 1), 'uint8')
    tensors = [torch.from_numpy(picture) for picture in pictures]
    with torch.no_grad():
        eager, exported = in_turns(
            [lambda: graph(*tensors), lambda: runtime._run(pictures[0][0], pictures[1][0])], repeats
        )
    return dict(
        model=name,
        fuser=report.info.fuser,
        difference=max(check.difference for check in report.checks),
        megabytes=report.size / 1e6,
        smallest=report.info.smallest,
        eager_ms=eager * 1e3,
        exported_ms=exported * 1e3,
        ratio=exported / eager,
        peak_mb=peak_memory(path, *size, 0),
        peak_tiled_mb=None if tasks else peak_memory(path, 1536, 2048, 512),
        dynamic=f'N, H, W from {report.info.smallest}',
        threads=torch.get_num_threads(),
    )


def _megabytes(value: Optional[float]) -> str:
    return 'not cut' if value is None else f'{value:.0f} MB'


def main() -> None:
    """Measure every model named, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('models', nargs='+', help='names of trained models, configs or fusers')
    parser.add_argument('--size', type=int, nargs=2, default=(480, 640), metavar=('H', 'W'))
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument(
        '--profile', type=int, metavar='N', help='print shares of the kinds of operators and the N slowest ones instead'
    )
    parser.add_argument('--json', help='write the figures to this file too')
    args = parser.parse_args()
    if args.profile is not None:
        with tempfile.TemporaryDirectory() as folder:
            for name in args.models:
                *_, report = export(name, folder)
                print_profile(name, profile(report.path, args.size, args.repeats), args.profile)
        return
    rows = []
    print(HEAD + '\n' + '|---' * HEAD.count(' | ') + '|---|')
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models:
            rows.append(measure(name, folder, args.size, args.repeats))
            row = rows[-1]
            print(
                f'| `{row["model"]}` | {row["fuser"]} | {row["dynamic"]} | {row["difference"]:.1e} | '
                f'{row["megabytes"]:.2f} MB | '
                f'{row["ratio"]:.2f} | {row["peak_mb"]:.0f} MB | {_megabytes(row["peak_tiled_mb"])} |',
                flush=True,
            )
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=2) + '\n')


if __name__ == '__main__':
    main()
