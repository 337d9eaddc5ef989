#!/usr/bin/env python
"""Resident and peak memory over a long training run, with glibc's allocator as it is and with freed memory kept.

    python benchmarks/memory_over_steps.py configs/moe_fusion_demo.py
    python benchmarks/memory_over_steps.py configs/moe_fusion_msrs_light.py --steps 500 --every 25 --workers 2 --json \
        work_dirs/memory.json

Each setting trains in a process of its own, with the data set and the pipeline of the config, from random weights; as
in a real run, data workers start anew with every epoch. Printed as csv, every so many steps: resident set and peak of
the training process, and what its workers have of their own (pages shared with it do not count). Linux only.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from mmfusion.cli.arguments import add_cfg_options, parse_with_options  # noqa: E402
from mmfusion.utils import UserError, friendly_main, setup_cpu_env  # noqa: E402

SETTINGS = ('default', 'keep')
FIELDS = ('setting', 'step', 'resident_mib', 'peak_mib', 'workers_mib')
#: Steps before which caches, statistics of optimizers and the first epoch's workers still come into being.
WARM_PART = 0.2


def parse_args(argv=None):
    """Options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config with a train_dataloader, file or name')
    parser.add_argument('--steps', type=int, default=500)
    parser.add_argument('--every', type=int, default=25, help='steps between two measurements (default: 25)')
    parser.add_argument('--workers', type=int, default=2, help='data workers (default: 2)')
    parser.add_argument('--batch-size', type=int, help='pairs in a batch (default: as the config says)')
    parser.add_argument(
        '--settings',
        nargs='+',
        choices=SETTINGS,
        default=list(SETTINGS),
        help='values of MMFUSION_MALLOC (default: both)',
    )
    parser.add_argument('--json', help='write the measurements to this file')
    parser.add_argument('--worker', action='store_true', help=argparse.SUPPRESS)
    add_cfg_options(parser)
    args = parse_with_options(parser, argv)
    if min(args.steps, args.every) < 1 or args.workers < 0 or (args.batch_size is not None and args.batch_size < 1):
        parser.error('--steps, --every and --batch-size must be at least 1, --workers at least 0')
    return args


def field_of(name, path):
    """A field of a file of /proc such as ``VmRSS:  1024 kB``, in MiB."""
    with open(path) as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(name)) / 1024


def own_memory(pid):
    """What a process shares with no other, in MiB; 0 where it has just ended."""
    try:
        return field_of('Private_', f'/proc/{pid}/smaps_rollup')
    except OSError:
        return 0.0


def batches(loader):
    """Batches without end."""
    while True:
        yield from loader


def work(args):
    """Train in this process, and print a line of json for each measurement."""
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the log of mmengine must not answer
    setup_cpu_env()
    import torch
    from mmengine.optim import build_optim_wrapper
    from mmengine.runner import Runner

    from mmfusion.registry import MODELS
    from mmfusion.utils import load_config, register_all_modules

    cfg = load_config(args.config, args.cfg_options)
    if not cfg.get('train_dataloader') or not cfg.get('optim_wrapper'):
        raise UserError(f'{args.config} cannot be trained: it has no train_dataloader and optim_wrapper')
    register_all_modules()
    torch.manual_seed(0)
    model = MODELS.build(
        cfg.model
    ).train()  # with the weights that torch gives: nothing is downloaded, and memory is the same
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    loader = dict(cfg.train_dataloader, num_workers=args.workers)
    if args.batch_size:
        loader['batch_size'] = args.batch_size
    loader = Runner.build_dataloader(loader, seed=0)
    if not len(loader):
        raise UserError(
            f'{args.config}: {len(loader.dataset)} pairs make no batch of {loader.batch_size}; '
            f'choose a smaller --batch-size'
        )
    for step, batch in zip(range(1, args.steps + 1), batches(loader)):
        model.train_step(batch, wrapper)
        if step == 1 or step % args.every == 0:
            row = dict(
                step=step,
                resident_mib=field_of('VmRSS', '/proc/self/status'),
                peak_mib=field_of('VmHWM', '/proc/self/status'),
                workers_mib=sum(own_memory(child.pid) for child in multiprocessing.active_children()),
            )
            print(json.dumps(row), file=answers, flush=True)


def measure(setting, argv):
    """Rows of one setting, as they come."""
    command = [sys.executable, '-W', 'ignore', __file__, *argv, '--worker']
    with subprocess.Popen(
        command, env={**os.environ, 'MMFUSION_MALLOC': setting}, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            yield dict(setting=setting, **json.loads(line))
    if process.returncode:
        sys.exit(process.returncode)


def growth(rows):
    """MiB of the resident set, from the mean of the first half of the warm measurements to that of the second half;
    None for fewer than four.
    """
    warm = [row['resident_mib'] for row in rows if row['step'] > WARM_PART * rows[-1]['step']]
    half = len(warm) // 2
    return sum(warm[-half:]) / half - sum(warm[:half]) / half if half >= 2 else None


@friendly_main
def main(argv=None):
    """Print the table, and by how much the resident set still grew after the first fifth of the steps."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = parse_args(argv)
    if args.worker:
        return work(args)
    from mmfusion.fileio import write_json

    print(','.join(FIELDS), flush=True)
    found = {}
    for setting in args.settings:
        found[setting] = []
        for row in measure(setting, argv):
            found[setting].append(row)
            print(
                ','.join(f'{row[field]:.0f}' if isinstance(row[field], float) else str(row[field]) for field in FIELDS),
                flush=True,
            )
    for setting, rows in found.items():
        grown = growth(rows)
        print(
            f'# {setting}: resident {rows[-1]["resident_mib"]:.0f} MiB after {rows[-1]["step"]} steps, '
            f'peak {rows[-1]["peak_mib"]:.0f} MiB'
            + ('' if grown is None else f', {grown:+.0f} MiB from the first to the second half of the warm steps')
        )
    if args.json:
        write_json(
            args.json,
            dict(config=args.config, settings=vars(args), rows=[row for rows in found.values() for row in rows]),
        )
    return None


if __name__ == '__main__':
    main()
