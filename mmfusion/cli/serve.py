"""Open a local page where two images can be dropped, fused and looked at."""

import argparse

from mmfusion.utils.errors import friendly_main

from .arguments import prepare_process


def parse_args(argv=None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description='A local page: two images in, the fused one out, with metrics, boxes and class maps'
    )
    parser.add_argument(
        '--config', help='also offer this config; with a detector or segmentor in it, boxes and class maps are shown'
    )
    parser.add_argument('--weights', help='checkpoint that was trained with the config')
    parser.add_argument('--device', help="'cpu', 'cuda' or 'cuda:1' (default: a GPU if there is one)")
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen on (default: 127.0.0.1, this machine alone; for any other a token is demanded)',
    )
    parser.add_argument('--port', type=int, default=8765, help='port; 0 for any that is free (default: 8765)')
    parser.add_argument(
        '--token', help='what a visitor must know, at least 16 characters (default beyond this machine: made up)'
    )
    parser.add_argument('--max-megabytes', type=float, default=64, help='largest upload in MiB (default: 64)')
    parser.add_argument('--max-pixels', type=int, default=2**25, help='largest picture in pixels (default: 33554432)')
    parser.add_argument('--max-files', type=int, default=2000, help='uploads kept at once (default: 2000)')
    parser.add_argument(
        '--keep-minutes',
        type=float,
        default=60,
        help='uploads and results that nobody asked for are removed after so many minutes (default: 60)',
    )
    return parser.parse_args(argv)


@friendly_main
def main(argv=None) -> None:
    """Serve until Ctrl-C."""
    prepare_process(argv)  # before torch is imported
    args = parse_args(argv)
    from mmfusion.serve import ServeSettings, serve

    options = vars(args)
    options['max_bytes'] = int(options.pop('max_megabytes') * 2**20)
    serve(ServeSettings(**options))
