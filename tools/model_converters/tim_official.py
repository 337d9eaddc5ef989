#!/usr/bin/env python
"""Convert checkpoints of the official TIM code: mmfusion convert tim, see --help."""

from mmfusion.cli.convert_tim import main

if __name__ == '__main__':
    main()
