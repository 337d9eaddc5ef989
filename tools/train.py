#!/usr/bin/env python
"""Train: tools/train.py CONFIG [options]; see --help."""
from mmfusion.cli.arguments import parse_train_args, prepare_process
from mmfusion.utils import friendly_main


@friendly_main
def main(argv=None):
    prepare_process(argv)  # before torch is imported
    args = parse_train_args(argv)
    from mmfusion.running.training import train
    train(args)


if __name__ == '__main__':
    main()
