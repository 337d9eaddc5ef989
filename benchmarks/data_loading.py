#!/usr/bin/env python
"""CPU time of loading a pair: the pipeline of a config as it is, with decoding at a reduced size, and from a cache.

All take turns on the same pairs.

    python benchmarks/data_loading.py configs/moe_fusion_llvip.py configs/moe_fusion_msrs.py configs/moe_fusion_m3fd.py

The cache is a temporary folder that is filled beforehand. Beside the milliseconds for a pair stand the ratio to the
pipeline as it is, and the largest batch that four workers with a core each have ready within 50 ms.
"""

import argparse
import copy
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from mmfusion.cli.arguments import add_cfg_options, parse_with_options  # noqa: E402
from mmfusion.utils import UserError, friendly_main, setup_cpu_env  # noqa: E402


def parse_args(argv=None):
    """Options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', help='configs with a train_dataloader')
    parser.add_argument('--pairs', type=int, default=20, help='pairs that are loaded again and again (default: 20)')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--workers', type=int, default=4)
    parser.add_argument('--step-ms', type=float, default=50.0)
    add_cfg_options(parser)
    args = parse_with_options(parser, argv)
    if min(args.pairs, args.rounds, args.workers) < 1 or not args.step_ms > 0:
        parser.error('--pairs, --rounds, --workers and --step-ms must be positive')
    return args


def pipeline_of(dataset):
    """The pipeline in the config of a data set, through wrappers."""
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset['pipeline']


def reduced(dataset):
    """The config of a data set that decodes at a reduced size; None where its pipeline does not resize to a fixed
    one.
    """
    dataset = copy.deepcopy(dataset)
    pipeline = pipeline_of(dataset)
    for step in pipeline:
        inner = step.get('transform', {})
        if inner.get('type') == 'mmdet.Resize' and inner.get('scale'):
            inner['type'] = 'ReducedResize'
            next(one for one in pipeline if one['type'] == 'LoadPair')['reduce_to'] = inner['scale']
            return dataset
    return None


def cached(dataset, folder):
    """The config of a data set with a cache."""
    dataset = copy.deepcopy(dataset)
    next(one for one in pipeline_of(dataset) if one['type'] == 'LoadPair')['cache'] = dict(folder=folder, max_gib=2)
    return dataset


def compare(path, args, folder):
    """Print the rows of one config."""
    from mmfusion.profiling.data_loading import pairs_in_time
    from mmfusion.profiling.timing import measure, ratio
    from mmfusion.registry import DATASETS
    from mmfusion.utils import load_config

    cfg = load_config(path, args.cfg_options)
    if not cfg.get('train_dataloader'):
        raise UserError(f'{path} has no train_dataloader')
    plain = cfg.train_dataloader.dataset.to_dict()
    variants = {'as it is': plain, 'reduced size': reduced(plain), 'cache': cached(plain, folder)}
    if variants['reduced size']:
        variants['both'] = cached(variants['reduced size'], folder)
    sets = {name: DATASETS.build(dataset) for name, dataset in variants.items() if dataset}
    pairs = min(args.pairs, len(sets['as it is']))

    def load(dataset):
        return lambda: [dataset[index] for index in range(pairs)]

    timings = measure({name: load(dataset) for name, dataset in sets.items()}, args.rounds, 1)
    for name, timing in timings.items():
        cost = 1e3 * timing.median('cpu') / pairs
        print(
            f'{Path(path).stem:28} {name:13} {cost:8.1f} {ratio(timing, timings["as it is"], "cpu"):7.2f} '
            f'{pairs_in_time(cost, args.workers, args.step_ms):6}',
            flush=True,
        )


@friendly_main
def main(argv=None):
    """Print the table."""
    setup_cpu_env()
    args = parse_args(argv)
    import cv2
    import torch

    from mmfusion.utils import register_all_modules

    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    register_all_modules()
    print(
        f'{"config":28} {"pipeline":13} {"CPU ms":>8} {"ratio":>7} {"batch":>6}   '
        f'(batch: pairs that {args.workers} workers have ready in {args.step_ms:g} ms)'
    )
    for path in args.configs:
        with tempfile.TemporaryDirectory() as folder:
            compare(path, args, folder)


if __name__ == '__main__':
    main()
