#!/usr/bin/env python
"""Score folders of fused images: mmfusion score, see --help."""

from mmfusion.cli.score import main

if __name__ == '__main__':
    main()
