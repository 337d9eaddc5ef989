#!/usr/bin/env python
"""The least time that a fuser's convolutions and matrix products allow on this machine, beside the time that it takes.

    OMP_NUM_THREADS=1 PYTHONPATH=tests/twins:tests/helpers python benchmarks/roofline.py \\
        benchmarks/tim_light.py --compare benchmarks/tim_light_twin.py

One pair in evaluation mode, CPU times. Printed are

* the operations that ran (torch's counter: convolutions, matrix products, attention), and the time that they need at
  the peak of this machine: the better of a 3x3 convolution of 64 channels at the size of the images and of a matrix
  product. No code of the same arithmetic is faster;
* the same operations one by one, each alone on random numbers: what these kernels need without anything around them;
* the bytes that all other operations read and write, and their time at the speed of a copy: what fusing them could save
  at most;
* the fuser, and the other one in turns with it.
"""

import argparse
import sys
from collections import Counter
from functools import partial

from mmfusion.cli.arguments import prepare_process


def parse_args(argv=None):
    """Options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a fuser, such as benchmarks/tim_light.py')
    parser.add_argument('--compare', help='config of the other side, such as benchmarks/tim_light_twin.py')
    parser.add_argument('--shape', type=int, nargs=2, default=(480, 640), metavar=('H', 'W'))
    parser.add_argument('--repeats', type=int, default=5)
    return parser.parse_args(argv)


def record(run):
    """Operators of a run: heavy ones by name and arguments (shapes and layouts in place of tensors), and the bytes that
    the others touch.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_flatten, tree_map
    from torch.utils.flop_counter import flop_registry

    from mmfusion.utils.compat import fused_convolution

    known = {*flop_registry, fused_convolution()}

    class Watch(TorchDispatchMode):
        heavy, size = Counter(), 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            output = function(*args, **(kwargs or {}))
            if function._overloadpacket in known:
                described = tree_map(_described, (args, kwargs or {}))
                self.heavy[function, repr(described)] += 1
                arguments[function, repr(described)] = described
            elif not function.is_view:
                tensors = [
                    value for value in tree_flatten((args, kwargs, output))[0] if isinstance(value, torch.Tensor)
                ]
                self.size += sum(value.numel() * value.element_size() for value in tensors)
            return output

    def _described(value):
        return ('tensor', tuple(value.shape), tuple(value.stride())) if isinstance(value, torch.Tensor) else value

    arguments = {}
    with torch.no_grad(), Watch() as watch:
        run()
    return [
        (function, arguments[function, text], number) for (function, text), number in watch.heavy.items()
    ], watch.size


def alone(operations, repeats):
    """Seconds of recorded operators, each alone, the best of some times."""
    import torch
    from torch.utils._pytree import tree_map

    from mmfusion.profiling.timing import measure

    def tensor(value):
        if not _is_tensor(value):
            return value
        _, size, stride = value
        return torch.rand(1 + sum((length - 1) * step for length, step in zip(size, stride))).as_strided(
            size, stride
        )  # expanded ones too

    total = 0.0
    for function, described, number in operations:
        args, kwargs = tree_map(tensor, described, is_leaf=_is_tensor)
        total += number * min(measure({'': partial(function, *args, **kwargs)}, repeats, 1)[''].cpu)
    return total


def _is_tensor(value):
    return isinstance(value, tuple) and len(value) == 3 and value[0] == 'tensor'


def peaks(shape, repeats):
    """Highest rate of arithmetic in FLOP/s, and that of a copy in bytes/s, read and written."""
    import torch
    import torch.nn.functional as F

    from mmfusion.profiling.timing import measure

    image = torch.rand(1, 64, *shape).contiguous(memory_format=torch.channels_last)
    kernel, matrix, target = torch.rand(64, 64, 3, 3), torch.rand(1024, 1024), torch.empty_like(image)
    times = measure(
        dict(
            conv=lambda: F.conv2d(image, kernel, padding=1),
            product=lambda: matrix @ matrix,
            copy=lambda: target.copy_(image),
        ),
        repeats,
        1,
    )
    pixels = shape[0] * shape[1]
    rates = dict(
        convolution=2 * 9 * 64 * 64 * pixels / min(times['conv'].cpu), matrix=2 * 1024**3 / min(times['product'].cpu)
    )
    return rates, 2 * image.numel() * image.element_size() / min(times['copy'].cpu)


def main(argv=None):
    """Print the figures."""
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    import torch

    from mmfusion.apis.build import build_coupling
    from mmfusion.profiling.flops import flop_counter
    from mmfusion.profiling.timing import measure, ratio
    from mmfusion.utils import load_config, register_all_modules

    register_all_modules()
    fusers = {
        name: build_coupling(load_config(path), warn=False).coupling.fuser.eval()
        for name, path in dict(fuser=args.config, other=args.compare).items()
        if path
    }
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(1, fusers['fuser'].channels[-1], *args.shape, generator=generator) for _ in range(2)]

    def run(name):
        with torch.no_grad():
            fusers[name](*images)

    with flop_counter() as counter:
        run('fuser')
    flops = counter.get_total_flops()
    operations, size = record(lambda: run('fuser'))
    rates, copied = peaks(tuple(args.shape), args.repeats)
    peak = max(rates.values())
    least, kernels = flops / peak, alone(operations, args.repeats)
    times = measure({name: lambda name=name: run(name) for name in fusers}, args.repeats, 1)
    seconds = min(times['fuser'].cpu)
    print(
        f'{args.config}, one pair of {args.shape[0]}x{args.shape[1]}, {torch.get_num_threads()} threads, CPU seconds, '
        f'least of {args.repeats}'
    )
    print(
        f'peak            {rates["convolution"] / 1e9:.0f} GFLOP/s in a convolution, '
        f'{rates["matrix"] / 1e9:.0f} in a matrix product; '
        f'copies {copied / 1e9:.1f} GB/s, read and written'
    )
    print(f'arithmetic      {flops / 1e9:.1f} GFLOP, {least:.3f} s at the peak')
    print(f'kernels alone   {kernels:.3f} s for {sum(number for _, _, number in operations)} convolutions and products')
    print(f'everything else {size / 1e9:.2f} GB read and written, {size / copied:.3f} s as copies')
    print(f'fuser           {seconds:.3f} s')
    if args.compare:
        other = min(times['other'].cpu)
        print(
            f'other           {other:.3f} s; ratio {ratio(times["fuser"], times["other"], "cpu"):.2f} '
            f'(median over rounds); '
            f'least possible {least / other:.2f}, with these kernels {kernels / other:.2f}'
        )
    return dict(flops=flops, least=least, kernels=kernels, bytes=size, seconds=seconds)


if __name__ == '__main__':
    sys.path.pop(0)  # this folder, whose moe_fusion_twin.py is a config, not the network of that name
    main()
