"""Names of the configs that ship."""

import argparse
import fnmatch

from mmfusion.utils import UserError, friendly_main
from mmfusion.utils.shipped import config_names, shipped_configs


@friendly_main
def main(argv=None) -> None:
    """List them."""
    parser = argparse.ArgumentParser(
        description='List the configs that ship; mmfusion train, test, flops... take their names from any folder'
    )
    parser.add_argument('pattern', nargs='?', default='*', help="only these, such as 'tim*' or msrs")
    args = parser.parse_args(argv)
    pattern = args.pattern if set('*?[') & set(args.pattern) else f'*{args.pattern}*'
    names = fnmatch.filter(config_names(), pattern)
    if not names:
        raise UserError(f'no shipped config matches {args.pattern!r}; mmfusion configs lists them all')
    print('\n'.join(names))
    print(f'\n{len(names)} configs in {shipped_configs()}')
