"""Test a checkpoint: mmfusion test CONFIG CHECKPOINT [options]; see --help."""

from mmfusion.utils import friendly_main

from .arguments import parse_test_args, prepare_process


@friendly_main
def main(argv=None):
    prepare_process(argv)  # before torch is imported
    args = parse_test_args(argv)
    from mmfusion.running.testing import test

    test(args)
