"""Time published fusers against their plain formulations (tests/twins/published_twins.py), in one process, with weights
made up.

    python benchmarks/published_fusers.py                     # all of them
    python benchmarks/published_fusers.py densefuse sage --repeats 15

The formulations take turns, so a load from outside hits both; on a busy machine believe the ratio of CPU time.
``floor`` is the ratio that all multiply-adds of the plain formulation would have at the rate of a matrix product of
1024x1024, in the same rounds, where all else took no time.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from mmfusion.utils import setup_cpu_env

for folder in ('helpers', 'twins'):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tests' / folder))
PROBE = 1024


def parse_args():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('methods', nargs='*', help='names of converters (default: all)')
    parser.add_argument('--repeats', type=int, default=7, help='rounds (default: 7)')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        default=(480, 640),
        metavar=('HEIGHT', 'WIDTH'),
        help='size of the images (default: 480 640)',
    )
    parser.add_argument('--threads', type=int, default=2, help='threads of torch (default: 2)')
    return parser.parse_args()


def main():
    """Print one line for each method."""
    setup_cpu_env()  # before torch is imported; both formulations run with the same allocator
    args = parse_args()
    import torch
    from published_files import OFFICIAL, made_up
    from published_twins import TWINS
    from torch.utils.flop_counter import FlopCounterMode

    from mmfusion.models.fusers.published import PUBLISHED, convert_state
    from mmfusion.profiling.timing import describe_machine, measure, ratio
    from mmfusion.registry import MODELS
    from mmfusion.utils import register_all_modules

    register_all_modules()
    torch.set_num_threads(args.threads)
    matrix = torch.rand(PROBE, PROBE)
    print(describe_machine())
    print(
        f'{"method":10} {"GMAC":>6} {"plain s":>8} {"ours s":>8} {"wall":>6} {"CPU":>6} {"floor":>6} {"difference":>10}'
    )
    for name in args.methods or OFFICIAL:
        torch.manual_seed(0)
        state = made_up(name)
        fuser = MODELS.build(PUBLISHED[name].fuser(state)).eval()
        fuser.load_state_dict(convert_state(name, state))
        pair = [torch.rand(1, fuser.channels[-1], *args.size) for _ in range(2)]
        with torch.no_grad():
            with FlopCounterMode(display=False) as counter:
                plain = TWINS[name](state, *pair)
            gmac = counter.get_total_flops() / 2e9
            difference = (fuser(*pair).fused - plain).abs().max().item()
            timings = measure(
                dict(
                    plain=partial(TWINS[name], state, *pair), ours=partial(fuser, *pair), probe=lambda: matrix @ matrix
                ),
                args.repeats,
            )
        floor = ratio(timings['probe'], timings['plain'], 'cpu') * gmac * 1e9 / PROBE**3
        walls = [ratio(timings['ours'], timings['plain'], kind) for kind in ('wall', 'cpu')]
        print(
            f'{name:10} {gmac:6.1f} {timings["plain"].median():8.3f} {timings["ours"].median():8.3f} {walls[0]:6.2f} '
            f'{walls[1]:6.2f} '
            f'{floor:6.2f} {difference:10.1e}',
            flush=True,
        )


if __name__ == '__main__':
    main()
