"""Convert the official weights of a published fuser.

Examples:
    mmfusion convert densefuse densefuse_gray.model densefuse.pth
    mmfusion convert didfuse Encoder_weight_IJCAI.pkl Decoder_weight_IJCAI.pkl didfuse.pth
"""

import sys

from mmfusion.utils import UserError, friendly_main, setup_cpu_env

from .conversion import SOURCE_HELP, conversion_config, conversion_parser, parse_conversion
from .main import PUBLISHED


def parse_args(argv=None):
    """Command line behind the name of the method."""
    parser = conversion_parser(__doc__)
    parser.add_argument(
        'source', nargs='+', help=f'{SOURCE_HELP}; several where the program keeps its networks in files of their own'
    )
    return parse_conversion(
        parser, argv, 'config with `fuser` that the result has to fit; by default the published network'
    )


@friendly_main
def main(argv=None):
    """Convert one file; the first argument is the name of the method."""
    setup_cpu_env()  # before torch is imported
    arguments = sys.argv[1:] if argv is None else argv
    method, rest = next(iter(arguments), '--help'), arguments[1:]
    if method not in PUBLISHED and not method.startswith('-'):
        raise UserError(f'give the name of a method first, one of {", ".join(PUBLISHED)}; got {method!r}')
    args = parse_args(rest if method in PUBLISHED else [method])
    from mmfusion.models.fusers.published import SOURCES, convert_checkpoint

    config = conversion_config(args, '') if args.config else None
    weights, fuser = convert_checkpoint(method, args.source, args.target, config, args.cfg_options)
    options = ', '.join(f'{key}={value!r}' for key, value in fuser.items() if key != 'type')
    print(
        f'{args.target}: {len(weights)} entries for {fuser["type"]}({options}); takes the {SOURCES[0]} image first and '
        f'the {SOURCES[1]} one '
        'second. Terms of the weights: docs/en/published_fusers.md'
    )
