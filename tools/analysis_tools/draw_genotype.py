#!/usr/bin/env python
"""Draw the cells of a TIM network: mmfusion draw-genotype, see --help."""

from mmfusion.cli.draw_genotype import main

if __name__ == '__main__':
    main()
