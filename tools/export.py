#!/usr/bin/env python
"""Write a model as one ONNX file: tools/export.py MODEL --out FILE.onnx; see --help."""

from mmfusion.cli.export import main

if __name__ == '__main__':
    main()
