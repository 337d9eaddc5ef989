#!/usr/bin/env python
"""The nine metrics of the protocol cddfuse against their literal formulation: equal values, and how many times faster.

    python benchmarks/fusion_metrics.py [--images FUSED VISIBLE INFRARED] [--repeats 5]

Both take turns in one process of one thread, so that a load from outside hits both; times are CPU times.
"""

import argparse
from pathlib import Path

from mmfusion.cli.arguments import prepare_process


def main(argv=None):
    """Compare values, then times, and print the table."""
    prepare_process(argv)  # before torch is imported
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--images', nargs=3, metavar=('FUSED', 'FIRST', 'SECOND'), help='real images instead of made-up ones'
    )
    parser.add_argument('--shape', type=int, nargs=2, default=(480, 640), metavar=('H', 'W'))
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args(argv)

    import numpy as np
    from reference_metrics import REFERENCES

    from mmfusion.evaluation.folders.memory import keep_freed_memory
    from mmfusion.evaluation.folders.scoring import load_image, single_thread
    from mmfusion.evaluation.protocols import evaluate_metrics, prepare_images
    from mmfusion.profiling.metric_benchmark import synthetic_triple
    from mmfusion.profiling.timing import measure, ratio

    images = prepare_images(
        [load_image(path) for path in args.images] if args.images else synthetic_triple(tuple(args.shape)), 'cddfuse'
    )
    arrays = [image[0, 0].numpy().astype(np.float32) for image in images]
    names = list(REFERENCES)
    keep_freed_memory()  # for both
    functions = {}
    for name in names:
        functions['reference', name] = lambda name=name: REFERENCES[name](*arrays)
        functions['ours', name] = lambda name=name: evaluate_metrics([name], *images, protocol='cddfuse')[name].item()
    functions['reference', 'together'] = lambda: [REFERENCES[name](*arrays) for name in names]
    functions['ours', 'together'] = lambda: evaluate_metrics(names, *images, protocol='cddfuse')
    with single_thread():
        values = {key: function() for key, function in functions.items() if key[1] != 'together'}
        timings = measure(functions, args.repeats, 1)
    height, width = arrays[0].shape
    print(
        f'{Path(args.images[0]).name if args.images else "made-up images"}, {width}x{height} pixels, CPU ms: '
        f'best of {args.repeats}, '
        'ratio: median over rounds'
    )
    print(f'{"":10}{"literal":>10}{"mmfusion":>10}{"ratio":>8}{"value":>14}{"difference":>12}')
    for name in [*names, 'together']:
        pair = timings['reference', name], timings['ours', name]
        line = f'{name:10}{1e3 * min(pair[0].cpu):10.2f}{1e3 * min(pair[1].cpu):10.2f}{ratio(*pair, "cpu"):8.1f}'
        if name != 'together':
            expected, got = values['reference', name], values['ours', name]
            line += f'{got:14.8f}{abs(got - expected) / abs(expected):12.1e}'
        print(line)


if __name__ == '__main__':
    main()
