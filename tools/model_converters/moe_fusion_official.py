#!/usr/bin/env python
"""Convert a checkpoint of the official MoE-Fusion code: mmfusion convert moe_fusion, see --help."""

from mmfusion.cli.convert_moe_fusion import main

if __name__ == '__main__':
    main()
