"""Train: mmfusion train CONFIG [options]; see --help."""

from mmfusion.utils import friendly_main

from .arguments import parse_train_args, prepare_process


@friendly_main
def main(argv=None):
    prepare_process(argv)  # before torch is imported
    args = parse_train_args(argv)
    from mmfusion.running.training import train

    train(args)
