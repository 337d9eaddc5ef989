#!/usr/bin/env python
"""Open a local page for fusing: tools/serve.py [--config CONFIG --weights FILE] [--port PORT]; see --help."""

from mmfusion.cli.serve import main

if __name__ == '__main__':
    main()
