#!/usr/bin/env python
"""Count operations and parameters of every part: mmfusion flops, see --help."""

from mmfusion.cli.flops import main

if __name__ == '__main__':
    main()
