#!/usr/bin/env python
"""Fuse with an exported file, without torch: tools/run.py FILE.onnx FIRST SECOND; see --help."""

from mmfusion.cli.run import main

if __name__ == '__main__':
    main()
