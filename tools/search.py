#!/usr/bin/env python
"""Search an architecture: mmfusion search, see --help."""

from mmfusion.cli.search import main

if __name__ == '__main__':
    main()
