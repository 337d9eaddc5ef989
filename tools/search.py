#!/usr/bin/env python
"""Search an architecture: tools/search.py CONFIG [--then CONFIG] [options]; see --help."""
from mmfusion.utils import friendly_main
from mmfusion.utils.cli import parse_search_args, prepare_process


@friendly_main
def main(argv=None):
    prepare_process(argv)  # before torch is imported
    args = parse_search_args(argv)
    from mmfusion.apis.search import search
    search(args)


if __name__ == '__main__':
    main()
