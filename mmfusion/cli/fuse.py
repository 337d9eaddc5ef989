"""Fusing two images, or two folders of images."""

import argparse
import os
from typing import Tuple

from mmfusion.utils import friendly_main

from .arguments import parse_key_values, prepare_process, tile_size

DEMO_SEED = 3
WHAT_NEXT = """
The sources are rendered: {first} and {second}. What to type next:
  mmfusion fuse VISIBLE INFRARED          your own images, or folders of them
  mmfusion models list                    other models to fuse with
  mmfusion train moe_fusion_demo          train a fuser with a detector on rendered pairs
  mmfusion score FUSED VISIBLE INFRARED   judge folders of fused images"""


def parse_args(argv=None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description='Fuse registered images: two files, or two folders matched by file name. '
        'Without images, a demo pair'
    )
    parser.add_argument('first', nargs='?', help='first source (visible): a file or a folder')
    parser.add_argument('second', nargs='?', help='second source (infrared): a file or a folder')
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        '--model', help='name of a trained model (default: the best of those that ship; mmfusion models list shows all)'
    )
    chosen.add_argument('--config', help='config file or name of a fuser, such as LaplacianPyramidFuser')
    parser.add_argument('--weights', help='checkpoint that was trained with the config')
    parser.add_argument(
        '--fuser-options',
        nargs='+',
        metavar='KEY=VALUE',
        help='options of the fuser, such as fusion_task=multi_focus shift=0.2 for TC-MoA',
    )
    parser.add_argument(
        '--registration',
        metavar='auto|RIG',
        help='for pairs that do not lie on each other or differ in size: '
        'estimate each transform, or apply that of a rig file made by mmfusion register',
    )
    parser.add_argument(
        '--window',
        nargs=2,
        type=float,
        metavar=('LOW', 'HIGH'),
        help='for thermal files (16 bit, float, radiometric JPEG of FLIR): the values that become black and white in '
        'every image, in raw counts, or in degrees Celsius with --radiometry',
    )
    parser.add_argument(
        '--radiometry',
        nargs='+',
        metavar='file|KEY=VALUE',
        help='degrees from raw counts: file (constants of a radiometric JPEG), scale=0.01 offset=-273.15, '
        'or emissivity=0.98 ...',
    )
    parser.add_argument(
        '--stretch',
        nargs=2,
        type=float,
        metavar=('LOW', 'HIGH'),
        help='percentiles of either source that become black and white, image by image, '
        'for files whose range is not known',
    )
    parser.add_argument('--tone', choices=('clahe',), help='adapt the gray values of a window to their surroundings')
    parser.add_argument(
        '--palette',
        help='also write the thermal source in false color with a scale bar: inferno, turbo, ... (needs --window)',
    )
    parser.add_argument(
        '--bit-depth', type=int, choices=(8, 16), default=8, help='of the fused image (16: png and tif)'
    )
    parser.add_argument(
        '--format',
        choices=('png', 'tif', 'jpg', 'bmp'),
        default='png',
        help='of fused images in a folder (default: png)',
    )
    parser.add_argument(
        '--out',
        help='file for two files, folder for two folders and for the demo pair (default: fused.png, '
        'fused/, mmfusion_demo/)',
    )
    parser.add_argument('--panel', action='store_true', help='also write both sources and the fused image side by side')
    parser.add_argument('--boxes', action='store_true', help='detect objects and also write the fused image with boxes')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='draw boxes with at least this score (default: 0.3)'
    )
    parser.add_argument('--device', help="'cpu', 'cuda' or 'cuda:1' (default: a GPU if there is one)")
    parser.add_argument(
        '--compile',
        action='store_true',
        help='let torch.compile make the fuser faster, where that was measured to help; for '
        'many pairs of few sizes, since each size takes a minute',
    )
    parser.add_argument(
        '--precision',
        choices=('fp32', 'bf16', 'fp16'),
        default='fp32',
        help='arithmetic of the networks (default: fp32)',
    )
    parser.add_argument(
        '--tile',
        type=tile_size,
        metavar='auto|HxW',
        help='fuse large images in pieces of this size in pixels (auto: what fits into memory)',
    )
    parser.add_argument('--batch-size', type=int, default=1, help='images of equal size fused together')
    parser.add_argument(
        '--skip-bad', action='store_true', help='log unreadable images and images without partner, and go on'
    )
    parser.add_argument('--skip-existing', action='store_true', help='leave out pairs whose pictures are there already')
    args = parser.parse_args(argv)
    if args.first is not None and args.second is None:
        parser.error('give two sources, or none to fuse a demo pair')
    if args.radiometry == ['file']:
        args.radiometry = 'file'
    elif args.radiometry is not None:
        args.radiometry = parse_key_values(parser, '--radiometry', args.radiometry)
    if args.window is None and any(value is not None for value in (args.radiometry, args.tone, args.palette)):
        parser.error('--radiometry, --tone and --palette need --window LOW HIGH')
    if args.window is not None and args.stretch is not None:
        parser.error('--window and --stretch exclude each other; give one of them')
    args.fuser_options = parse_key_values(parser, '--fuser-options', args.fuser_options or [])
    return args


@friendly_main
def main(argv=None) -> None:
    """Fuse, and say what was written."""
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    demo = args.first is None
    if demo:
        args.out = args.out or 'mmfusion_demo'
        args.first, args.second = write_demo_pair(args.out)
    from mmfusion.apis import FusionInferencer
    from mmfusion.model_zoo import DEFAULT_MODEL, find_model

    if args.model is not None:
        find_model(args.model)  # a name alone, no class and no file: its error lists the models
    fuse = FusionInferencer(
        args.model or args.config or DEFAULT_MODEL,
        args.weights,
        args.device,
        fuser_options=args.fuser_options,
        load=loading(args),
        compile=args.compile,
        precision=args.precision,
        tile=args.tile,
    )
    if fuse.card is not None:
        print(f'fusing with {fuse.card.name}: {fuse.card.summary}')
    results = fuse(
        args.first,
        args.second,
        out_dir=os.path.join(args.out, 'fused.png')
        if demo
        else args.out or ('fused' if os.path.isdir(args.first) else 'fused.png'),
        draw_boxes=args.boxes,
        panel=args.panel or demo,
        score_thr=args.score_thr,
        batch_size=args.batch_size,
        on_error='skip' if args.skip_bad else 'raise',
        skip_existing=args.skip_existing,
        bit_depth=args.bit_depth,
        file_format=args.format,
        palette=args.palette,
    )
    done = [result for result in results if not result.skipped]
    for result in done[:3]:
        print('wrote ' + ', '.join(result.files.values()))
    if demo:
        print(WHAT_NEXT.format(first=args.first, second=args.second))
        return
    print(
        f'{len(done)} of {len(results)} pairs fused'
        + (f', {len(results) - len(done)} skipped' if len(done) < len(results) else '')
    )


def loading(args: argparse.Namespace) -> dict:
    """Options of :class:`LoadPair` that were given."""
    options = {name: getattr(args, name) for name in ('registration', 'window', 'radiometry', 'stretch', 'tone')}
    return {key: value for key, value in options.items() if value is not None}


def write_demo_pair(folder: str) -> Tuple[str, str]:
    """Render a pair of street scenes from a fixed seed into a folder.

    Returns:
        Paths of the visible and of the infrared image.

    Raises:
        UserError: The folder cannot be written.
    """
    from mmfusion.datasets import DemoPairs
    from mmfusion.fileio.image_writing import write_image
    from mmfusion.fileio.paths import ensure_writable_dir

    ensure_writable_dir(folder)
    pair = DemoPairs(length=1, size=(240, 320), seed=DEMO_SEED, split='test', night_ratio=1.0).get_data_info(0)
    return (
        write_image(os.path.join(folder, 'visible.png'), pair['first'][..., ::-1]),
        write_image(os.path.join(folder, 'infrared.png'), pair['second'][..., 0]),
    )
