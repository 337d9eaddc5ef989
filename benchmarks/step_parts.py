#!/usr/bin/env python
"""CPU time of the parts of a joint training step, on random pictures, with random weights.

    OMP_NUM_THREADS=1 python benchmarks/step_parts.py configs/moe_fusion_msrs_light.py
    OMP_NUM_THREADS=1 python benchmarks/step_parts.py configs/moe_fusion_llvip.py --shape 96 128 --batch-size 1 \
        --rounds 2

Printed is the least of some rounds for each part; the backward pass of all parts is one. What loading takes:
benchmarks/data_loading.py.
"""

import argparse
import copy
import logging
import time
from collections import defaultdict

from mmfusion.cli.arguments import prepare_process


def parse_args(argv=None):
    """Options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a JointCoupling')
    parser.add_argument('--shape', type=int, nargs=2, default=(192, 160), metavar=('H', 'W'))
    parser.add_argument('--batch-size', type=int, default=4)
    parser.add_argument('--rounds', type=int, default=8)
    return parser.parse_args(argv)


def timed(owner, method, times):
    """Let a method of one object add its CPU time to the last entry of ``times``."""
    run = getattr(owner, method)

    def wrapper(*args, **kwargs):
        start = time.process_time()
        result = run(*args, **kwargs)
        times[-1] += time.process_time() - start
        return result

    setattr(owner, method, wrapper)


def main(argv=None):
    """Print the table."""
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    import torch
    from mmengine.optim import build_optim_wrapper

    from mmfusion.profiling.synthetic import synthetic_batch
    from mmfusion.registry import MODELS
    from mmfusion.utils import load_config, register_all_modules

    register_all_modules()
    torch.manual_seed(0)
    cfg = load_config(args.config)
    model = MODELS.build(cfg.model).train()
    logging.disable(logging.INFO)  # options of each weight
    try:
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    finally:
        logging.disable(logging.NOTSET)
    batch = synthetic_batch(tuple(args.shape), args.batch_size, seed=0)
    methods = {
        'preprocessor': (model.data_preprocessor, 'forward'),
        'guide': (model.guide, 'loss' if model.guide_weight > 0 else 'forward'),
        'fuser': (model, 'fuse'),
        'fusion losses': (model, 'fusion_losses'),
        'task networks': (model, 'task_losses'),
        'backward': (wrapper, 'backward'),
        'clipping and optimizer': (wrapper, 'step'),
    }
    times = defaultdict(list)
    for part, (owner, method) in methods.items():
        if owner is not None:
            timed(owner, method, times[part])
    for _ in range(args.rounds + 1):  # the first one warms up
        for part in methods:
            times[part].append(0.0)
        data = copy.deepcopy(batch)
        times['whole step'].append(0.0)
        start = time.process_time()
        model.train_step(data, wrapper)
        times['whole step'][-1] = time.process_time() - start
    print(f'{args.config}, {args.batch_size} of {args.shape[0]}x{args.shape[1]}, least of {args.rounds}')
    whole = min(times['whole step'][1:])
    for part, seconds in times.items():
        least = min(seconds[-args.rounds :])
        print(f'{part:24} {1e3 * least:8.1f} ms {least / whole:6.0%}')


if __name__ == '__main__':
    main()
