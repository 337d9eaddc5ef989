#!/usr/bin/env python
"""A training step here against the same step in another checkout, in processes that take turns: ratio of CPU times of
one thread.

    git worktree add ../before 87af940
    python benchmarks/training_step.py ../before configs/tim_msrs_light.py
    python benchmarks/training_step.py ../before configs/tdfusion_msrs_light.py --meta

Both sides train the same config, that of this checkout (with --theirs that of the other one), with random weights, on
the same random pictures.
"""

import argparse
import copy
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def parse_args(argv=None):
    """Options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('other', help='root of the other checkout')
    parser.add_argument('config', help='config, relative to the root of this checkout')
    parser.add_argument('--theirs', action='store_true', help='take the config of the other checkout')
    parser.add_argument('--meta', action='store_true', help='the meta step instead of the training step')
    parser.add_argument('--shape', type=int, nargs=2, default=(192, 160), metavar=('H', 'W'))
    parser.add_argument('--batch-size', type=int, default=4)
    parser.add_argument('--rounds', type=int, default=6)
    parser.add_argument('--worker', action='store_true', help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def work(args):
    """Do one step for each line on stdin, and answer with its CPU seconds and the peak memory of the process in MiB."""
    from mmfusion.utils import load_config, register_all_modules, setup_cpu_env

    setup_cpu_env()
    import torch
    from mmengine.optim import build_optim_wrapper

    from mmfusion.registry import MODELS

    try:
        from mmfusion.profiling.synthetic import synthetic_batch
    except ImportError:  # older checkouts
        from mmfusion.apis.synthetic import synthetic_batch
    torch.set_num_threads(1)
    torch.manual_seed(0)
    register_all_modules()
    cfg = load_config(args.config)
    model = MODELS.build(cfg.model).train()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    batches = [synthetic_batch(tuple(args.shape), args.batch_size, seed=seed) for seed in range(2)]

    def step():
        first, second = (copy.deepcopy(batch) for batch in batches)
        if args.meta:
            model.meta_step(first, second, wrapper)
        else:
            model.train_step(first, wrapper)

    step()
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # whatever prints must not answer
    print('ready', file=answers, flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        step()
        elapsed = time.process_time() - start
        with open('/proc/self/status') as file:
            peak = next(int(line.split()[1]) / 1024 for line in file if line.startswith('VmHWM'))
        print(elapsed, peak, file=answers, flush=True)


def start(root, argv):
    """A worker on the code of a checkout, ready for its first step."""
    env = {**os.environ, 'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'}
    process = subprocess.Popen(
        [sys.executable, '-W', 'ignore', __file__, *argv, '--worker'],
        env=env,
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.strip() == 'ready':
            return process
    raise SystemExit(f'the worker in {root} ended with code {process.wait()}')


def main(argv=None):
    """Print the times of both sides and the ratio."""
    args = parse_args(argv)
    if args.worker:
        return work(args)
    other = Path(args.other).resolve()
    config = str((other if args.theirs else ROOT) / args.config)
    passed = [
        str(other),
        config,
        '--shape',
        *map(str, args.shape),
        '--batch-size',
        str(args.batch_size),
        *(['--meta'] if args.meta else []),
    ]
    workers = dict(before=start(other, passed), here=start(ROOT, passed))
    seconds, peak = {name: [] for name in workers}, {}
    for index in range(args.rounds):
        for name in sorted(workers, reverse=index % 2 == 1):
            workers[name].stdin.write('\n')
            workers[name].stdin.flush()
            elapsed, peak[name] = map(float, workers[name].stdout.readline().split())
            seconds[name].append(elapsed)
    for name, worker in workers.items():
        worker.stdin.close()
        worker.wait()
        print(
            f'{name:7} least {min(seconds[name]):.3f} s, median {statistics.median(seconds[name]):.3f} s, '
            f'peak {peak[name]:.0f} MiB'
        )
    ratios = [here / before for here, before in zip(seconds['here'], seconds['before'])]
    print(
        f'ratio of CPU times, median over rounds: {statistics.median(ratios):.3f} '
        f'({1 / statistics.median(ratios):.2f} times the pairs per second)'
    )
    return None


if __name__ == '__main__':
    main()
