"""A sweep over the networks of mmdet and mmseg: which of them work behind a fuser, and whether each is fed as by its
own
pipeline.
"""

from .families import FAMILIES, OUTSIDE, Family
from .judgment import faults, note, status
from .run import RESULTS_FILE, chosen, read_results, sweep, sweep_command

__all__ = [
    'FAMILIES',
    'OUTSIDE',
    'RESULTS_FILE',
    'Family',
    'chosen',
    'faults',
    'note',
    'read_results',
    'status',
    'sweep',
    'sweep_command',
]
