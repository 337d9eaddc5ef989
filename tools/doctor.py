#!/usr/bin/env python
"""Look for faults in pair data sets: tools/doctor.py CONFIG, or FIRST SECOND folders; see --help."""

from mmfusion.cli.doctor import main

if __name__ == '__main__':
    main()
