#!/usr/bin/env python
"""Say whether fusion helps a task, and whether the data can tell: mmfusion verdict, see --help."""

from mmfusion.cli.verdict import main

if __name__ == '__main__':
    main()
