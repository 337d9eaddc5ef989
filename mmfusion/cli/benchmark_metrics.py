"""Time fusion metrics, each by itself and all together: CPU time of one thread, or wall time per image of a batch on a
GPU.

mmfusion benchmark-metrics --protocol cddfuse
mmfusion benchmark-metrics --images fused.png visible.png infrared.png --metrics VIF Qabf
"""

import argparse

from mmfusion.utils import friendly_main

from .arguments import prepare_process


def parse_args(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--protocol', default='default', help='whose conventions to follow (default: default)')
    parser.add_argument(
        '--metrics', nargs='+', default=['all'], help="names, or 'all' but the slow ones (default: all)"
    )
    parser.add_argument(
        '--images', nargs=3, metavar=('FUSED', 'FIRST', 'SECOND'), help='time these images instead of made-up ones'
    )
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        default=(480, 640),
        metavar=('H', 'W'),
        help='size of made-up images (default: 480 640)',
    )
    parser.add_argument('--repeats', type=int, default=10)
    parser.add_argument('--device', default='cpu', help="'cpu' or 'cuda' (default: cpu)")
    parser.add_argument('--batch-size', type=int, default=16, help='images at once on a GPU (default: 16)')
    return parser.parse_args(argv)


@friendly_main
def main(argv=None):
    """Time and print."""
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    from mmfusion.evaluation.folders.scoring import load_image
    from mmfusion.profiling.metric_benchmark import TOTAL, format_costs, synthetic_triple, time_metrics
    from mmfusion.profiling.timing import describe_machine
    from mmfusion.utils import select_device

    device = str(select_device(args.device))
    batch_size = 1 if device == 'cpu' else args.batch_size
    images = [load_image(path) for path in args.images] if args.images else synthetic_triple(tuple(args.shape))
    costs = time_metrics(images, args.metrics, args.protocol, device, batch_size, args.repeats)
    machine, (height, width) = describe_machine(device), images[0].shape[-2:]
    kind = 'CPU time of one thread' if device == 'cpu' else f'wall time per image in batches of {batch_size}'
    print(
        f'protocol {args.protocol!r}, {width}x{height} pixels, {kind}, {args.repeats} repeats; '
        f'device {machine["device"]}, torch {machine["torch"]}, load average {machine["load_average"]}'
    )
    print(format_costs(costs, args.protocol))
    print(f'{1e3 / costs[TOTAL].best:.1f} images per second')
