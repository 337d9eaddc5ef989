"""Sphinx settings: Markdown pages, built with warnings as errors (``make docs``)."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from mmfusion.version import __version__

project = 'mmfusion'
author = 'The mmfusion authors'
copyright = f'2026, {author}'
release = version = __version__

extensions = ['myst_parser']
myst_enable_extensions = ['dollarmath', 'fieldlist']
myst_heading_anchors = 3
source_suffix = {'.md': 'markdown'}
exclude_patterns = ['_build']

html_theme = 'furo'
html_title = f'mmfusion {release}'
