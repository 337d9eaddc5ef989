"""Arguments that commands share; importing this loads nothing heavy."""

import argparse
import os
import sys
from typing import Optional, Sequence


def prepare_process(argv: Optional[Sequence[str]] = None) -> None:
    """What must happen before torch is imported: the OpenMP policy, and hiding the GPUs when ``--device cpu`` is given.

    mmengine chooses the device once, when it is imported, and takes a GPU whenever it sees one.
    """
    from mmfusion.utils.cpu_env import setup_cpu_env

    setup_cpu_env()
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('--device')
    if parser.parse_known_args(argv)[0].device == 'cpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = '-1'


def parse_train_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Arguments of ``mmfusion train``."""
    return _parse_training(
        argparse.ArgumentParser(description='Train a fuser, alone or coupled with task networks'), argv
    )


def parse_search_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Arguments of ``mmfusion search``."""
    parser = argparse.ArgumentParser(
        description='Search an architecture; the genotype found is printed and written down'
    )
    parser.add_argument(
        '--then',
        metavar='CONFIG',
        help='afterwards train this config, with the genotype found as its model.fuser.genotype',
    )
    return _parse_training(parser, argv)


def _parse_training(parser: argparse.ArgumentParser, argv: Optional[Sequence[str]]) -> argparse.Namespace:
    _add_common(parser)
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision: float16 with loss scaling on a GPU, bfloat16 on a CPU'
    )
    parser.add_argument(
        '--compile',
        action='store_true',
        help='let torch.compile make the fuser faster, where that was measured to help; the '
        'first step of each picture size takes a minute',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate with the total batch size (the config's auto_scale_lr)",
    )
    parser.add_argument(
        '--resume', nargs='?', const='auto', help='go on from this checkpoint, or from the last one in the work dir'
    )
    parser.add_argument('--tensorboard', action='store_true', help='write TensorBoard files too')
    args = parse_with_options(parser, argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def parse_test_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Arguments of ``mmfusion test``."""
    parser = argparse.ArgumentParser(description='Test a checkpoint: task metrics, fusion metrics, fused images')
    _add_common(parser)
    parser.add_argument(
        'checkpoint',
        help='checkpoint trained with this config; with a fuser that has no weights, also that of a detector or '
        'segmentor alone, as mmdet or mmseg wrote it',
    )
    parser.add_argument('--out', help='write the predictions to this .pkl file')
    parser.add_argument(
        '--show-dir',
        help='write fused images and panels with boxes into this folder (default: fused images into the work dir)',
    )
    parser.add_argument('--per-image', help='write the fusion metrics of every image to this .csv file')
    args = parse_with_options(parser, argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config file, or the name of one that ships, such as moe_fusion_llvip')
    parser.add_argument(
        '--work-dir', help='folder for logs, checkpoints and images (default: work_dirs/<name of the config>)'
    )
    parser.add_argument('--device', help="'cpu', 'cuda' or 'cuda:1' (default: a GPU if there is one)")
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='who starts the processes'
    )
    # torchrun sets LOCAL_RANK; the older torch.distributed.launch passes it as an argument
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def parse_with_options(parser: argparse.ArgumentParser, argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Parse a command line whose parser has ``--cfg-options`` (:func:`add_cfg_options`); the options come back as a
    dict, or None.
    """
    args = parser.parse_args(sys.argv[1:] if argv is None else argv)
    if args.cfg_options is not None:
        args.cfg_options = parse_key_values(parser, '--cfg-options', args.cfg_options)
    return args


def tile_size(text: str) -> 'str | tuple':
    """Value of ``--tile``: ``auto``, or pixels as ``HEIGHTxWIDTH`` or one side of a square.

    Examples:
        >>> tile_size('auto'), tile_size('768x1024'), tile_size('512')
        ('auto', (768, 1024), (512, 512))
    """
    sides = text.lower().split('x')
    if text != 'auto' and not (len(sides) in (1, 2) and all(side.isascii() and side.isdigit() for side in sides)):
        raise argparse.ArgumentTypeError(f'{text!r} is none of auto, HEIGHTxWIDTH (768x1024) and SIDE (512)')
    return text if text == 'auto' else (int(sides[0]), int(sides[-1]))


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        '--cfg-options', nargs='+', metavar='KEY=VALUE', help='change the config: train_cfg.max_epochs=1 key="[a,b]"'
    )


def parse_key_values(parser: argparse.ArgumentParser, flag: str, options: Sequence[str]) -> dict:
    """Dict of the ``KEY=VALUE`` that were given under ``flag``; numbers and lists are read as such. Ends the program
    where they cannot be read.
    """
    from mmengine.config import DictAction

    for option in options:
        if '=' not in option:
            parser.error(f'{flag}: {option!r} is not of the form KEY=VALUE')
    namespace = argparse.Namespace()
    try:
        DictAction(option_strings=[flag], dest='value', nargs='+')(parser, namespace, options)
    except (
        AssertionError,
        RecursionError,
    ):  # mmengine's parser of values knows no dicts and trips over unbalanced brackets
        parser.error(
            f'{flag}: a value is a number, a string, or a list "[a,b]" or tuple "(a,b)" of them, '
            f'with its brackets closed; '
            'write anything else into a config file'
        )
    return namespace.value
