#!/usr/bin/env python
"""Judge a fusion by a task: mmfusion downstream, see --help."""

from mmfusion.cli.downstream import main

if __name__ == '__main__':
    main()
