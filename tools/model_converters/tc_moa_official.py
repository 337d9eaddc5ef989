#!/usr/bin/env python
"""Convert a checkpoint of the official TC-MoA code: mmfusion convert tc_moa, see --help."""

from mmfusion.cli.convert_tc_moa import main

if __name__ == '__main__':
    main()
