#!/usr/bin/env python
"""Time fusion metrics: mmfusion benchmark-metrics, see --help."""

from mmfusion.cli.benchmark_metrics import main

if __name__ == '__main__':
    main()
