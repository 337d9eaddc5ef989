"""Fuse two streams: video files, cameras, network streams or folders of images.

    mmfusion video visible.mp4 infrared.mp4 --out fused.mp4
    mmfusion video visible.mp4 infrared.mp4 --offset auto --registration rig.yaml --panel
    mmfusion video 0 1 --out night.mp4                             two cameras, until Ctrl-C
    mmfusion video frames/vi frames/ir --fps 10 --out fused        folders of numbered images

The first stream leads: each of its frames is fused with the nearest one of the second. Ctrl-C leaves a playable file.
"""

import argparse

from mmfusion.utils import friendly_main

from .arguments import parse_key_values, prepare_process


def parse_args(argv=None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'first', help='first stream (visible): file, number of a camera, URL, or folder of numbered images'
    )
    parser.add_argument('second', help='second stream (infrared)')
    parser.add_argument(
        '--out',
        default='fused.mp4',
        help='.mp4, .mov, .avi or .mkv (which loses nothing), or a folder for one png per frame (default: fused.mp4)',
    )
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument('--model', help='name of a trained model (mmfusion models list; default: the best that ships)')
    chosen.add_argument('--config', help='config file or name of a fuser, such as LaplacianPyramidFuser')
    parser.add_argument('--weights', help='checkpoint that was trained with the config')
    parser.add_argument('--fuser-options', nargs='+', metavar='KEY=VALUE', help='options of the fuser')
    parser.add_argument(
        '--registration', metavar='RIG', help='rig file, made by mmfusion register, for streams that do not coincide'
    )
    parser.add_argument(
        '--offset',
        default='0',
        metavar='SECONDS|auto',
        help='what to add to the times of the second stream; auto estimates it from what moves (default: 0)',
    )
    parser.add_argument(
        '--max-offset', type=float, default=2.0, metavar='SECONDS', help='largest offset that auto tries (default: 2)'
    )
    parser.add_argument(
        '--tolerance',
        type=float,
        metavar='SECONDS',
        help='farthest partner of a frame (default: 0.6 of the interval of the second stream)',
    )
    parser.add_argument(
        '--fps', type=float, help='frames per second of folders (default: 25), or in place of the time stamps of files'
    )
    parser.add_argument('--boxes', action='store_true', help='detect or segment, and also write NAME_boxes')
    parser.add_argument(
        '--panel', action='store_true', help='also write NAME_panel: both sources and the fused picture side by side'
    )
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='draw boxes with at least this score (default: 0.3)'
    )
    parser.add_argument(
        '--no-steady', action='store_true', help='leave out the smoothing over time of what stands still'
    )
    parser.add_argument('--bit-depth', type=int, help='significant bits of 16-bit images of the second stream')
    parser.add_argument(
        '--stretch',
        type=float,
        nargs=2,
        metavar=('LOW', 'HIGH'),
        help='percentiles of the second stream that become black and white, smoothed over time',
    )
    parser.add_argument(
        '--metrics',
        nargs='*',
        metavar='NAME',
        help='rate the frames: image metrics such as EN MI VIF, or all but the slow ones (all); '
        'warping error and flicker in any case',
    )
    parser.add_argument('--protocol', default='default', help='whose conventions the image metrics follow')
    parser.add_argument('--codec', help='four letters, such as XVID (default: mp4v, MJPG or FFV1, by the ending)')
    parser.add_argument('--frames', type=int, metavar='N', help='stop after so many fused frames')
    parser.add_argument('--device', help="'cpu', 'cuda' or 'cuda:1' (default: a GPU if there is one)")
    parser.add_argument('--compile', action='store_true', help='let torch.compile make the fuser faster')
    parser.add_argument(
        '--precision', choices=('fp32', 'bf16', 'fp16'), default='fp32', help='arithmetic of the networks'
    )
    args = parser.parse_args(argv)
    args.fuser_options = parse_key_values(parser, '--fuser-options', args.fuser_options or [])
    if args.offset != 'auto':
        try:
            args.offset = float(args.offset)
        except ValueError:
            parser.error(f'--offset: a number of seconds or auto, got {args.offset!r}')
        if not abs(args.offset) < 1e6:
            parser.error(f'--offset: seconds between -1e6 and 1e6, got {args.offset}')
    for name in ('tolerance', 'fps', 'frames', 'max_offset'):
        value = getattr(args, name)
        if value is not None and not 0 < value < 1e9:
            parser.error(f'--{name.replace("_", "-")} must be above 0, got {value}')
    return args


@friendly_main
def main(argv=None) -> None:
    """Fuse, and say what was written."""
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    from mmfusion.apis import FusionInferencer
    from mmfusion.model_zoo import DEFAULT_MODEL, find_model
    from mmfusion.video import FusedVideo, SequenceScores, open_streams, record
    from mmfusion.video.recording import remarks

    scores = None if args.metrics is None else SequenceScores(args.metrics, args.protocol)
    if args.model is not None:
        find_model(args.model)  # a name alone: its error lists the models
    streams = open_streams(args.first, args.second, args.fps)  # what cannot be read is said before a model is loaded
    try:
        fuse = FusionInferencer(
            args.model or args.config or DEFAULT_MODEL,
            args.weights,
            args.device,
            fuser_options=args.fuser_options,
            load=load_options(args),
            compile=args.compile,
            precision=args.precision,
        )
    except BaseException:
        for stream in streams:
            stream.close()
        raise
    if fuse.card is not None:
        print(f'fusing with {fuse.card.name}: {fuse.card.summary}')
    with FusedVideo(
        *streams, fuse, args.offset, args.tolerance, None, args.boxes, args.max_offset, not args.no_steady
    ) as video:
        summary = record(
            video,
            args.out,
            boxes=args.boxes,
            panel=args.panel,
            score_thr=args.score_thr,
            codec=args.codec,
            limit=args.frames,
            scores=scores,
        )
    print('wrote ' + ', '.join(summary['files'].values()))
    print(describe(summary))
    if scores is not None:
        print(describe_scores(summary['scores']))
    for sentence in remarks(summary):
        print(f'note: {sentence}')


def load_options(args: argparse.Namespace) -> dict:
    """How images become sources, as far as the command line says something of it."""
    second = dict(bit_depth=args.bit_depth, stretch=args.stretch)
    options = {key: dict(first=None, second=value) for key, value in second.items() if value is not None}
    return options if args.registration is None else dict(options, registration=args.registration)


def describe_scores(scores: dict) -> str:
    """Metrics of a sequence, one line each."""
    lines = [
        f'{name:12} mean {_number(found["mean"])}, worst {_number(found["worst"])} (frame {found["worst_frame"]})'
        for name, found in scores['metrics'].items()
    ]
    error, flicker = scores['warping_error'], scores['flicker']
    lines.append('warping error x 1000: ' + ', '.join(f'{kind} {_number(value)}' for kind, value in error.items()))
    lines.append('flicker in gray levels: ' + ', '.join(f'{kind} {_number(value)}' for kind, value in flicker.items()))
    return '\n'.join([*lines, f'flicker by that of the sources: {_number(scores["flicker_ratio"])}'])


def _number(value) -> str:
    return 'undefined' if value is None else f'{value:.4g}'


def describe(summary: dict) -> str:
    """A summary in two lines."""
    frames, rate = summary['frames'], summary['rate']
    parts = ', '.join(f'{part} {used:.1f}' for part, used in rate['milliseconds_per_frame'].items() if used >= 0.05)
    return (
        f'{frames["paired"]} frames fused, {frames["repeated"]} with a second frame shown before, '
        f'offset {summary["offset"]:+.3f} s, {rate["frames_per_second"]} frames/s\nmilliseconds a frame: {parts}'
    )
