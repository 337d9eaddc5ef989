#!/usr/bin/env python
"""Convert a checkpoint of the official YOLOX code: mmfusion convert yolox, see --help."""

from mmfusion.cli.convert_yolox import main

if __name__ == '__main__':
    main()
