"""Scopes of nested types in configs of other packages."""

import copy

from mmengine.config import ConfigDict


def scoped(cfg: dict) -> ConfigDict:
    """Copy a config so that the types nested in it are looked up in the scope of its own type.

    ``mmdet.RandomResize`` builds a plain ``Resize``, ``mmdet.RTMDet`` a plain ``CSPNeXt``: without this they would be
    looked up in mmfusion, and then in mmengine, where a type of the same name may do something else.

    Examples:
        >>> scoped(dict(type='mmdet.RTMDet'))
        {'type': 'RTMDet', '_scope_': 'mmdet'}
        >>> '_scope_' in scoped(dict(type='Resize'))
        False
    """
    cfg = ConfigDict(copy.deepcopy(dict(cfg)))
    if isinstance(cfg.get('type'), str) and '.' in cfg['type']:
        # The bare name: a scope's own registry does not look further up for a name that carries its prefix.
        cfg['_scope_'], cfg['type'] = cfg['type'].split('.', 1)
    return cfg
