"""Same task network, same schedule, several ways to fuse: train them all and print the table of mAP.

    python tools/analysis_tools/compare_fusers.py configs/moe_fusion_msrs_light.py --seeds 0 1 --work-dir work_dirs/compare_msrs

Finished runs are kept and unfinished ones resumed, so the command can be repeated until the table is whole.
"""
from mmfusion.utils.cpu_env import setup_cpu_env

setup_cpu_env()

import argparse  # noqa: E402
from pathlib import Path  # noqa: E402

from mmengine.config import DictAction  # noqa: E402

from mmfusion.apis.comparison import VARIANTS, compare, tabulate  # noqa: E402
from mmfusion.utils import friendly_main, load_config, register_all_modules  # noqa: E402

DEFAULT = ['visible', 'infrared', 'average', 'maximum', 'detached', 'joint']


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a joint training')
    parser.add_argument('--variants', nargs='+', default=DEFAULT, choices=list(VARIANTS))
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1])
    parser.add_argument('--work-dir', type=Path, required=True)
    parser.add_argument('--minutes', type=float, help='stop each run at the end of the epoch after this many minutes; repeat to go on')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='changes to the config, key=value')
    return parser.parse_args()


@friendly_main
def main():
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    register_all_modules()
    results = compare(cfg, args.variants, args.seeds, args.work_dir, args.minutes)
    table = tabulate(results, {'mAP50': 'coco/bbox_mAP_50', 'mAP': 'coco/bbox_mAP'})
    (args.work_dir / 'table.md').write_text(table + '\n')
    print(f'\n{table}\n\nwritten to {args.work_dir / "table.md"}')


if __name__ == '__main__':
    friendly_main(main)()
