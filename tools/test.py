#!/usr/bin/env python
"""Test a checkpoint: tools/test.py CONFIG CHECKPOINT [options]; see --help."""
from mmfusion.utils import friendly_main
from mmfusion.utils.cli import parse_test_args, prepare_process


@friendly_main
def main(argv=None):
    prepare_process(argv)  # before torch is imported
    args = parse_test_args(argv)
    from mmfusion.apis.testing import test
    test(args)


if __name__ == '__main__':
    main()
