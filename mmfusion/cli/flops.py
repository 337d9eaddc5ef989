"""Operations and parameters of every part: mmfusion flops CONFIG [--shape H W]; see --help."""

import argparse

from mmfusion.utils import friendly_main

from .arguments import prepare_process


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description='Count operations and parameters of guide, fuser and every task network, per pair'
    )
    parser.add_argument('config', help='config file, or the name of a fuser')
    parser.add_argument('--shape', type=int, nargs=2, default=(480, 640), metavar=('H', 'W'))
    parser.add_argument(
        '--channels', type=int, nargs=2, default=(3, 1), help='channels of the two sources (default: 3 1)'
    )
    return parser.parse_args(argv)


@friendly_main
def main(argv=None):
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    from mmfusion.apis import build_coupling
    from mmfusion.profiling.flops import count_flops, format_flops
    from mmfusion.utils import register_all_modules

    register_all_modules()
    coupling = build_coupling(args.config, warn=False).coupling
    print(format_flops(count_flops(coupling, tuple(args.shape), tuple(args.channels)), args.shape, args.channels))
