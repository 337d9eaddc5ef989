"""Time a config, alone or against another: mmfusion benchmark CONFIG [--compare OTHER] [options]; see --help."""

import argparse
import copy
from pathlib import Path

from mmfusion.utils import UserError, friendly_main

from .arguments import add_cfg_options, parse_with_options, prepare_process

EAGER = 'eager'


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description='Time forward, training step and data loading: wall and CPU, median after warm-up, memory'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--compare',
        help="second config, or 'eager': the same one without --amp and --compile; the "
        'two take turns in every round, and the ratio is printed',
    )
    parser.add_argument('--parts', default='forward,train', help='out of forward, train, data (default: forward,train)')
    parser.add_argument(
        '--what',
        default='coupling',
        help='out of coupling (all), fusion (all but the tasks), fuser, guide, task; coupling,fusion,task also prints '
        'what joining costs',
    )
    parser.add_argument('--shape', type=int, nargs=2, default=(480, 640), metavar=('H', 'W'))
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument(
        '--channels', type=int, nargs=2, default=(3, 1), help='channels of the two sources (default: 3 1)'
    )
    parser.add_argument('--repeats', type=int, default=10)
    parser.add_argument('--warmup', type=int, default=2)
    parser.add_argument('--device', help="'cpu', 'cuda' or 'cuda:1' (default: a GPU if there is one)")
    parser.add_argument('--threads', type=int, help='threads of torch')
    parser.add_argument(
        '--compile', action='store_true', help='let torch.compile make the fuser faster; not refused where it does not'
    )
    parser.add_argument('--amp', action='store_true', help='autocast: float16 on a GPU, bfloat16 on a CPU')
    parser.add_argument(
        '--workers',
        type=int,
        default=4,
        help='part data: for how many data workers to say whether they keep up (default: 4)',
    )
    parser.add_argument(
        '--step-ms',
        type=float,
        default=50.0,
        help='part data: with a training step of so many milliseconds (default: 50)',
    )
    add_cfg_options(parser)
    parser.add_argument('--json', help='write the numbers to this file')
    return parse_with_options(parser, argv)


@friendly_main
def main(argv=None):
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    import torch

    from mmfusion.fileio import write_json
    from mmfusion.profiling.benchmark import format_result, run_benchmark
    from mmfusion.utils import load_config, register_all_modules, select_device

    if args.threads:
        torch.set_num_threads(args.threads)
    device = select_device(args.device)
    cfgs = {
        Path(path).stem if args.compare != args.config else label: load_config(path, args.cfg_options)
        for label, path in (('first', args.config), ('second', None if args.compare == EAGER else args.compare))
        if path
    }
    if args.compare == EAGER:
        if not (args.amp or args.compile):
            raise UserError(
                f'--compare {EAGER} compares --amp or --compile with the config as it is; give one of them, '
                f'or a second config'
            )
        cfgs[EAGER] = copy.deepcopy(next(iter(cfgs.values())))
    register_all_modules()
    result = run_benchmark(
        cfgs,
        args.parts.split(','),
        args.what.split(','),
        args.repeats,
        args.warmup,
        shape=tuple(args.shape),
        batch_size=args.batch_size,
        channels=tuple(args.channels),
        device=str(device),
        amp=args.amp,
        compile=args.compile,
        workers=args.workers,
        step_ms=args.step_ms,
        plain=[EAGER] if args.compare == EAGER else [],
    )
    print(format_result(result))
    if args.json:
        write_json(args.json, result)
