#!/usr/bin/env python
"""Measure how fast initializations learn a new task: mmfusion adapt, see --help."""

from mmfusion.cli.adapt import main

if __name__ == '__main__':
    main()
