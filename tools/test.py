#!/usr/bin/env python
"""Test a checkpoint: mmfusion test, see --help."""

from mmfusion.cli.test import main

if __name__ == '__main__':
    main()
