#!/usr/bin/env python
"""Try detectors and segmentors behind a fuser: mmfusion check-networks, see --help."""

from mmfusion.cli.check_networks import main

if __name__ == '__main__':
    main()
