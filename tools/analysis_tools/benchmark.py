#!/usr/bin/env python
"""Time a config, alone or against another: mmfusion benchmark, see --help."""

from mmfusion.cli.benchmark import main

if __name__ == '__main__':
    main()
