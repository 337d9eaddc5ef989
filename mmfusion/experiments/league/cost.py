"""Costs of a method: parameters, operations, peak memory, and time beside a reference that takes turns with it."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, Dict

import torch

import mmfusion
from mmfusion.fileio import write_json
from mmfusion.fileio.reading import parse_json, read_record
from mmfusion.models.couplings import BaseCoupling
from mmfusion.profiling.flops import count_flops
from mmfusion.profiling.synthetic import synthetic_batch
from mmfusion.profiling.timing import describe_machine, extra_memory, measure, ratio
from mmfusion.utils import UserError, register_all_modules
from mmfusion.utils.errors import user_message

from .methods import build_method
from .settings import Cost, Method

_WARM_SIZE = (32, 32)


def cost_facts(cost: Cost, device: str) -> dict:
    """What costs depend on besides the method; the machine is noted with the result."""
    return dict(image_size=list(cost.image_size), repeats=cost.repeats, reference=cost.reference, device=device)


def measure_cost(method: Method, cost: Cost, device: str = 'cpu') -> Dict[str, object]:
    """Measure in a process of its own, where nothing else has used memory, on one thread.

    Returns:
        ``parameters``; ``gmac`` of one pair; ``memory``: bytes that fusing one pair takes beyond the loaded network,
        None when unknown; ``cpu_ms`` (``gpu_ms`` on a GPU): median time of one pair; ``times``: median over rounds of
        that time over the reference's; ``rounds``: that of each round; ``machine``.

    Raises:
        UserError: The method cannot run, or the process was ended from outside.
    """
    work = dict(method=method._asdict(), cost=cost._asdict(), device=device)
    package = str(Path(mmfusion.__file__).resolve().parents[1])
    paths = os.pathsep.join([package, *filter(None, [os.environ.get('PYTHONPATH')])])
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / 'cost.json'
        answer = subprocess.run(
            [sys.executable, '-m', __name__, str(result)],
            input=json.dumps(work),
            capture_output=True,
            text=True,
            env=dict(os.environ, PYTHONPATH=paths),
        )
        if answer.returncode or not result.exists():
            lines = answer.stderr.strip().splitlines()
            why = lines[-1] if lines else 'it was ended from outside, perhaps for want of memory'
            raise UserError(f'costs of {method.name} cannot be measured: {why}')
        found = read_record(result, 'run the command again')
    if 'error' in found:
        raise UserError(found['error'])
    return found


def measure_here(method: Method, cost: Cost, device: str) -> Dict[str, object]:
    """The same in this process."""
    torch.set_num_threads(1)
    register_all_modules()
    width, height = cost.image_size
    coupling = build_method(method, device)
    fuse(coupling, _WARM_SIZE, device)()  # libraries load what they need
    memory = extra_memory(fuse(coupling, (height, width), device), device)
    counts = count_operations(coupling, cost)
    reference = build_method(Method('reference', 'reference', model=cost.reference), device)
    functions = dict(method=fuse(coupling, (height, width), device), reference=fuse(reference, (height, width), device))
    timings = measure(functions, cost.repeats, warmup=1, device=device)
    kind = 'gpu' if timings['method'].gpu else 'cpu'
    return {
        **counts,
        'memory': memory,
        f'{kind}_ms': timings['method'].median(kind) * 1e3,
        'times': ratio(timings['method'], timings['reference'], kind),
        'rounds': [a / b for a, b in zip(getattr(timings['method'], kind), getattr(timings['reference'], kind)) if b],
        'machine': describe_machine(device),
    }


def count_operations(coupling: BaseCoupling, cost: Cost) -> Dict[str, float]:
    """Parameters, and billions of multiplications with additions of one pair."""
    width, height = cost.image_size
    parts = count_flops(coupling, (height, width))
    return dict(parameters=sum(part.parameters for part in parts), gmac=sum(part.flops for part in parts) / 2e9)


def fuse(coupling: BaseCoupling, size: tuple, device: str) -> Callable[[], object]:
    """One call's worth of fusing: colors taken apart and put back as for a picture, nothing read or written."""
    data = coupling.data_preprocessor(synthetic_batch(size), False)
    inputs = {name: image.to(device) for name, image in data['inputs'].items()}

    @torch.no_grad()
    def run() -> object:
        return coupling.fuse(inputs).image

    return run


def main() -> None:
    """Measure what stands on stdin, and write the result into the file that is named."""
    work = parse_json(sys.stdin.read())
    try:
        result = measure_here(Method(**work['method']), Cost(**work['cost']), work['device'])
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        result = dict(error=message)
    write_json(sys.argv[1], result)


if __name__ == '__main__':
    main()
