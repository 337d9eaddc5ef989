#!/usr/bin/env python
"""Make a scene-disjoint split of M3FD: mmfusion split-m3fd, see --help."""

from mmfusion.cli.split_m3fd import main

if __name__ == '__main__':
    main()
