#!/usr/bin/env python
"""Examine a data set of pairs: mmfusion doctor, see --help."""

from mmfusion.cli.doctor import main

if __name__ == '__main__':
    main()
