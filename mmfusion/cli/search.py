"""Search an architecture: mmfusion search CONFIG [--then CONFIG] [options]; see --help."""

from mmfusion.utils import friendly_main

from .arguments import parse_search_args, prepare_process


@friendly_main
def main(argv=None):
    prepare_process(argv)  # before torch is imported
    args = parse_search_args(argv)
    from mmfusion.running.search import search

    search(args)
