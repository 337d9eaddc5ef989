#!/usr/bin/env python
"""Check what a result was made from, and compute a sample of it again: mmfusion verify, see --help."""

from mmfusion.cli.verify import main

if __name__ == '__main__':
    main()
