#!/usr/bin/env python
"""Test a checkpoint: tools/test.py CONFIG CHECKPOINT [options]; see --help."""
from mmfusion.cli.arguments import parse_test_args, prepare_process
from mmfusion.utils import friendly_main


@friendly_main
def main(argv=None):
    prepare_process(argv)  # before torch is imported
    args = parse_test_args(argv)
    from mmfusion.running.testing import test
    test(args)


if __name__ == '__main__':
    main()
