#!/usr/bin/env python
"""Compare ways to fuse by a task network: mmfusion compare, see --help."""

from mmfusion.cli.compare import main

if __name__ == '__main__':
    main()
