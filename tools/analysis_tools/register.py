#!/usr/bin/env python
"""Register pairs, or say that it cannot be done: mmfusion register, see --help."""

from mmfusion.cli.register import main

if __name__ == '__main__':
    main()
