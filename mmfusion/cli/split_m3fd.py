"""Make a scene-disjoint split of M3FD: mmfusion split-m3fd data/M3FD data/M3FD/splits; see --help.

The rule is explained in mmfusion/datasets/scene_split.py. The configs look for the lists in data/M3FD/splits; where
that folder cannot or must not be written, choose another one and give its absolute path as ann_file.
"""

import argparse

from mmfusion.utils import friendly_main


@friendly_main
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data_root', help='folder with Vis, Ir and Annotation')
    parser.add_argument('out_dir', help='folder for train.txt, val.txt, test.txt and split.json')
    parser.add_argument(
        '--ratios',
        nargs=3,
        type=float,
        default=(0.7, 0.1, 0.2),
        metavar=('TRAIN', 'VAL', 'TEST'),
        help='shares of the images',
    )
    parser.add_argument(
        '--window', type=int, default=10, help='how far apart ids of one scene may be (default: %(default)s)'
    )
    parser.add_argument(
        '--neighbor-threshold',
        type=float,
        default=0.7,
        help='similarity of near frames of one scene (default: %(default)s)',
    )
    parser.add_argument(
        '--duplicate-threshold',
        type=float,
        default=0.9,
        help='similarity of any frames of one scene (default: %(default)s)',
    )
    args = parser.parse_args(argv)
    from mmfusion.datasets.m3fd import split_m3fd
    from mmfusion.datasets.scene_split import SplitOptions, describe_split, write_scene_split

    split = split_m3fd(
        args.data_root, SplitOptions(*args.ratios, args.window, args.neighbor_threshold, args.duplicate_threshold)
    )
    write_scene_split(split, args.out_dir)
    print(f'{describe_split(split)}\nwritten to {args.out_dir}')
