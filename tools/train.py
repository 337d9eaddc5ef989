#!/usr/bin/env python
"""Train: mmfusion train, see --help."""

from mmfusion.cli.train import main

if __name__ == '__main__':
    main()
