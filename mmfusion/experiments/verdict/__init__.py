"""A verdict on fusion: train and test what must be compared, and say whether the data can tell."""

from .report import Report, make_report
from .rows import ROWS
from .run import Verdict, judge_folder, verdict

__all__ = ['ROWS', 'Report', 'Verdict', 'judge_folder', 'make_report', 'verdict']
