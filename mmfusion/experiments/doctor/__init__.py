"""Doctor for data sets of pairs: checks that find faults of files, pairs, labels and splits, and reports of what they
found.
"""

from mmfusion.utils.lazy import lazy_names

_LAZY = {
    'CHECKS': 'check',
    'Case': 'check',
    'Check': 'check',
    'Examination': 'examination',
    'Finding': 'check',
    'NotJudged': 'check',
    'PairEntry': 'pairs',
    'examine': 'examination',
    'pairs_of_config': 'pairs',
    'pairs_of_folders': 'pairs',
}

__all__ = [*_LAZY]
__getattr__, __dir__ = lazy_names(globals(), _LAZY)
