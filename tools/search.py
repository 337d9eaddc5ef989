#!/usr/bin/env python
"""Search an architecture: tools/search.py CONFIG [--then CONFIG] [options]; see --help."""
from mmfusion.cli.arguments import parse_search_args, prepare_process
from mmfusion.utils import friendly_main


@friendly_main
def main(argv=None):
    prepare_process(argv)  # before torch is imported
    args = parse_search_args(argv)
    from mmfusion.running.search import search
    search(args)


if __name__ == '__main__':
    main()
