#!/usr/bin/env python
"""Rank fusers side by side, by metrics, task networks, time and memory: mmfusion league, see --help."""

from mmfusion.cli.league import main

if __name__ == '__main__':
    main()
