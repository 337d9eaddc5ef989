#!/usr/bin/env python
"""Convert a checkpoint of the official TDFusion code: mmfusion convert tdfusion, see --help."""

from mmfusion.cli.convert_tdfusion import main

if __name__ == '__main__':
    main()
