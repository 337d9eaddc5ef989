"""Compare how fast meta-learned and random initializations learn a fusion task that they have not seen.

    mmfusion adapt configs/tim_meta_init.py --init meta=work_dirs/tim_meta_init/epoch_4.pth \\
        --seeds 0 1 2 --work-dir work_dirs/adaptation

The entry `adaptation` of the config says on which pairs, how, and when it is measured; the pairs measured are those of
test_dataloader. Finished runs are kept, so the command can be repeated. It writes adaptation.csv, adaptation.md and
adaptation.png.
"""

import argparse
from pathlib import Path

from mmfusion.utils import UserError, friendly_main

from .arguments import add_cfg_options, parse_with_options, prepare_process


def parse_args(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config with a fuser, fusion losses, `adaptation` and test_dataloader')
    parser.add_argument(
        '--init',
        nargs='+',
        required=True,
        metavar='NAME=CHECKPOINT',
        help='initializations; one name may have several checkpoints, which the seeds take in turn',
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--work-dir', type=Path, required=True)
    parser.add_argument('--device', help="'cpu' hides the GPUs (default: a GPU if there is one)")
    add_cfg_options(parser)
    return parse_with_options(parser, argv)


def parse_inits(texts):
    """``['a=x', 'a=y', 'b=z']`` to ``{'a': ['x', 'y'], 'b': ['z']}``."""
    inits = {}
    for text in texts:
        name, equals, path = text.partition('=')
        if not equals or not name.isidentifier():
            raise UserError(f'--init {text}: write NAME=CHECKPOINT, such as meta=work_dirs/tim_meta_init/epoch_4.pth')
        if not Path(path).is_file():
            raise UserError(f'--init {text}: checkpoint not found: {path}')
        inits.setdefault(name, []).append(path)
    return inits


@friendly_main
def main(argv=None):
    """Run and report."""
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    inits = parse_inits(args.init)
    from mmfusion.experiments.adaptation import adaptation_curves
    from mmfusion.experiments.adaptation_report import steps_to_reach, table, write_report
    from mmfusion.utils import load_config, register_all_modules

    cfg = load_config(args.config, args.cfg_options)
    register_all_modules()
    results = adaptation_curves(cfg, inits, args.seeds, args.work_dir)
    paths = write_report(results, args.work_dir)
    print(f'\n{table(results)}\n')
    for name in inits:
        for step in [row['step'] for row in results[0]['rows']][:4]:
            print(
                f'steps to the loss that {name} has after {step}: random needs '
                f'{steps_to_reach(results, name, "random", step)}'
            )
    print('\nwritten: ' + ', '.join(paths.values()))
