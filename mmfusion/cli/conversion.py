"""Command line that all converters of official checkpoints share; importing this loads nothing heavy."""

import argparse
from typing import Any, Optional, Sequence

from .arguments import add_cfg_options, parse_with_options

SOURCE_HELP = 'official checkpoint; loaded with weights_only, so it cannot run code'


def conversion_parser(description: str) -> argparse.ArgumentParser:
    """An empty parser that shows the docstring of the tool as it is written."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def parse_conversion(
    parser: argparse.ArgumentParser, argv: Optional[Sequence[str]], config_help: str
) -> argparse.Namespace:
    """Add ``target``, ``--config`` and ``--cfg-options`` behind the arguments of the tool, and parse."""
    parser.add_argument('target', help='file to write')
    parser.add_argument('--config', help=config_help)
    add_cfg_options(parser)
    return parse_with_options(parser, argv)


def conversion_config(args: argparse.Namespace, default: str) -> Any:
    """The config that the result has to fit: ``--config`` or the shipped one named ``default``, changed by
    ``--cfg-options``.
    """
    from mmfusion.utils import register_all_modules
    from mmfusion.utils.config import read_config
    from mmfusion.utils.shipped import shipped_config

    register_all_modules()
    config = read_config(args.config or shipped_config(default))
    if args.cfg_options:
        config.merge_from_dict(args.cfg_options)
    return config
