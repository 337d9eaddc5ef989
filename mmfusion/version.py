"""Version of the package, readable without importing anything else."""

__version__ = '0.1.0'


def parse_version_info(version: str) -> tuple:
    """Split a version string into a comparable tuple.

    Examples:
        >>> parse_version_info('1.2.0')
        (1, 2, 0)
        >>> parse_version_info('1.2.0rc1')
        (1, 2, 0, 'rc1')
    """
    parts = []
    for piece in version.split('.'):
        if piece.isdigit():
            parts.append(int(piece))
        else:
            number, _, candidate = piece.partition('rc')
            parts.extend([int(number), f'rc{candidate}'])
    return tuple(parts)


version_info = parse_version_info(__version__)
