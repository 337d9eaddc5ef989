"""Exporting a model to ONNX: mmfusion export MODEL --out FILE.onnx; see --help."""

import argparse

from mmfusion.utils import friendly_main

from .arguments import parse_key_values, prepare_process


def parse_args(argv=None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description='Write a model as one ONNX file for batches and pictures of any size, '
        'which runs without torch, and compare it with the network'
    )
    parser.add_argument(
        'model',
        help='name of a trained model (mmfusion models list), config file, or name of a fuser without parameters',
    )
    parser.add_argument('--weights', help='checkpoint that was trained with the config')
    parser.add_argument(
        '--fuser',
        metavar='NAME',
        help='trained model whose fuser takes the place of the one in the config, '
        'before its detector or segmentor (with --tasks)',
    )
    parser.add_argument('--out', required=True, help='file to write, .onnx')
    parser.add_argument(
        '--channels',
        type=int,
        nargs=2,
        default=(3, 1),
        choices=(1, 3),
        help='channels of the first and the second picture (default: 3 1)',
    )
    for name, what in (('--input', 'of both pictures'), ('--output', 'of the fused picture')):
        parser.add_argument(
            name,
            choices=('uint8', 'float32'),
            default='uint8',
            help=f'type {what}; float32 is for more than 8 bits (default: uint8)',
        )
    parser.add_argument(
        '--fuser-options', nargs='+', metavar='KEY=VALUE', help='options of the fuser, which the file then has for good'
    )
    parser.add_argument(
        '--tasks',
        nargs='+',
        default=(),
        metavar='NAME',
        help='detector and segmentor of the config to put behind the fuser',
    )
    parser.add_argument(
        '--precision',
        choices=('float32', 'half', 'int8'),
        default='float32',
        help='half and int8 are smaller; they are refused where the pairs of --calibrate show that too much is lost '
        '(default: float32)',
    )
    parser.add_argument(
        '--calibrate',
        nargs=2,
        metavar=('FIRST', 'SECOND'),
        help='folders of pairs, matched by file name, that half and int8 are judged by and int8 is calibrated on',
    )
    parser.add_argument(
        '--labels',
        help='boxes of these pairs, for a detector in half or int8: COCO .json, or folder of .xml (VOC) '
        'or .txt (YOLO, with classes.txt)',
    )
    parser.add_argument(
        '--float-tasks',
        action='store_true',
        help='half or int8 for the fuser alone: detector and segmentor stay in float32',
    )
    args = parser.parse_args(argv)
    args.fuser_options = parse_key_values(parser, '--fuser-options', args.fuser_options or [])
    return args


@friendly_main
def main(argv=None) -> None:
    """Export, and say how far the file agrees with the network."""
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    from mmfusion.export import export_model

    report = export_model(
        args.model,
        args.out,
        args.weights,
        channels=args.channels,
        input=args.input,
        output=args.output,
        fuser_options=args.fuser_options,
        tasks=args.tasks,
        precision=args.precision,
        calibrate=args.calibrate,
        labels=args.labels,
        fuser=args.fuser,
        float_tasks=args.float_tasks,
    )
    print(f'compared with {report.info.fuser}, largest difference of the fused picture in [0, 1]:')
    for check in report.checks:
        print(f'  {check}')
    if report.kept is not None:
        print(f'{args.precision}: {report.kept}')
    print(f'wrote {report.path} ({report.size / 1e6:.2f} MB): mmfusion run {args.out} FIRST SECOND')
