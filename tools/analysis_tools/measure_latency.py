#!/usr/bin/env python
"""Measure what every candidate of a search costs on this device: mmfusion latency, see --help."""

from mmfusion.cli.latency import main

if __name__ == '__main__':
    main()
