"""Tables in Markdown."""

import doctest

import pytest

from mmfusion.fileio import markdown


def test_docstring_examples():
    result = doctest.testmod(markdown)
    assert result.attempted and not result.failed


def test_rows_of_another_length():
    with pytest.raises(ValueError, match=r'every row must have 2 cells, got \[1, 3\]'):
        markdown.markdown_table(['a', 'b'], [['c'], ['d', 'e', 'f']])
