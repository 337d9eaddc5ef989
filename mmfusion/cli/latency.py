"""Measure what every candidate of a search costs on this device: mmfusion latency CONFIG [options]; see --help.

The file is the ``latency_table`` of a ``SearchCoupling``. It holds for the device, the size and the width that it was
measured with.
"""

import argparse
from pathlib import Path

from mmfusion.utils import friendly_main

from .arguments import add_cfg_options, parse_with_options, prepare_process


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a search')
    parser.add_argument('--out', type=Path, default=Path('latency.json'), help='file to write (default: latency.json)')
    parser.add_argument('--shape', type=int, nargs=2, default=(64, 64), metavar=('H', 'W'))
    parser.add_argument('--repeats', type=int, default=20)
    parser.add_argument('--device', help="'cpu', 'cuda' or 'cuda:1' (default: a GPU if there is one)")
    parser.add_argument('--threads', type=int, help='threads of torch')
    add_cfg_options(parser)
    return parse_with_options(parser, argv)


@friendly_main
def main(argv=None):
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    import torch

    from mmfusion.models.couplings.steps.latency_table import save_latency_table
    from mmfusion.profiling.latency import format_latency, measure_latency
    from mmfusion.registry import MODELS, build_configured
    from mmfusion.utils import UserError, load_config, register_all_modules, select_device

    if args.threads:
        torch.set_num_threads(args.threads)
    cfg = load_config(args.config, args.cfg_options)
    if 'fuser' not in cfg.model:
        raise UserError(f'{args.config}: its model has no fuser; take the config of a search')
    register_all_modules()
    table = measure_latency(
        build_configured(MODELS, cfg.model.fuser), args.shape, str(select_device(args.device)), args.repeats
    )
    save_latency_table(table, args.out)
    print(f'{format_latency(table)}\nwritten to {args.out}')
