"""Time of the architecture search against plain training of the same supernet, as a config has it: batches, interval,
tasks.

    OMP_NUM_THREADS=1 PYTHONPATH=tests/twins:tests/helpers python benchmarks/search_step.py configs/tim_demo_search.py \
        --rounds 6

CPU time, least of the rounds; both kinds of step take turns.
"""

import argparse
import time

from mmfusion.utils.cpu_env import setup_cpu_env

setup_cpu_env()

import tiny_models  # noqa: E402
import torch  # noqa: E402

from mmfusion.engine import PartOptimWrapperConstructor  # noqa: E402
from mmfusion.registry import MODELS  # noqa: E402
from mmfusion.utils import load_config, register_all_modules  # noqa: E402


def batch(pairs, size, seed):
    """A collated batch of random gray pairs with boxes."""
    inputs, samples = tiny_models.make_batch(pairs, *size, seed=seed, first_channels=1)
    return dict(inputs={name: list(images) for name, images in inputs.items()}, data_samples=samples)


def main():
    """Print the times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--rounds', type=int, default=6)
    parser.add_argument('--size', type=int, nargs=2, default=(96, 128), metavar=('H', 'W'))
    args = parser.parse_args()
    register_all_modules()
    cfg = load_config(args.config)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    model.init_weights()
    wrappers = PartOptimWrapperConstructor(
        {key: value for key, value in cfg.optim_wrapper.items() if key not in ('type', 'constructor')}
    )(model)
    pairs = cfg.train_dataloader.batch_size
    upper = cfg.train_cfg.get('upper_batch_size') or pairs
    interval = cfg.train_cfg.get('search_interval', 1)
    training, searching = [], []
    for seed in range(args.rounds):
        lower, other = batch(pairs, args.size, seed), batch(upper, args.size, 1000 + seed)
        start = time.process_time()
        model.train_step(lower, wrappers)
        middle = time.process_time()
        model.search_step(lower, other, wrappers)
        training.append(middle - start)
        searching.append(time.process_time() - middle)
    step, search = min(training), min(searching)
    print(
        f'training step, {pairs} pairs: {step:.3f} s of CPU time; search step with {upper} more pairs: '
        f'{search:.3f} s, {search / step:.2f} times'
    )
    print(
        f'one search step in {interval} steps of the weights: '
        f'{((interval - 1) * step + search) / (interval * step):.2f} times plain training'
    )


if __name__ == '__main__':
    main()
