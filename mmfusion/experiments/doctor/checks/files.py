"""Files that are missing, truncated, damaged, or of another size than their partner."""

from typing import Iterator, List, Sequence

import numpy as np

from mmfusion.fileio.errors import PairDataError

from ..check import CHECKS, Case, Check, Verdict
from ..loaded_pair import LoadedPair

_GRAY = 128  # what decoders of jpg files leave where nothing came
_LEAST_ROWS = 0.05  # of the height


@CHECKS.register_module(name='files')
class FilesCheck(Check):
    """Both images are there, whole, of one size and without NaN."""

    name = 'files'
    title = 'missing, damaged or truncated files, other sizes'
    measures = 'whether both images can be decoded to the end, are of one size and finite; rows that were never filled'
    remedy = 'copy or download the file again; sizes that differ are brought together by mmfusion register'
    severity = 'serious'

    def look(self, pair: LoadedPair) -> List[str]:
        """What is wrong, in sentences."""
        problems, sizes = [], []
        for source in ('first', 'second'):
            try:
                image = getattr(pair, source)
            except PairDataError as error:
                problems.append(str(error))
                continue
            sizes.append(image.shape[:2])
            path = getattr(pair.entry, source)
            if not np.issubdtype(image.dtype, np.integer) and not np.isfinite(image).all():
                problems.append(f'{path} holds NaN or infinite values')
            empty = unfilled_rows(image)
            if empty:
                problems.append(
                    f'the last {empty} of {image.shape[0]} rows of {path} are empty, as a truncated file leaves them'
                )
        if len(sizes) == 2 and sizes[0] != sizes[1]:
            (height, width), (rows, columns) = sizes
            problems.append(f'the first image has {width}x{height} pixels, the second {columns}x{rows}')
        return problems

    def judge(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Every pair with a problem."""
        for case in cases:
            if case.fact:
                yield self.finding(case.entry, '; '.join(case.fact), badness=len(case.fact))


def unfilled_rows(image: np.ndarray) -> int:
    """Rows at the lower end that hold nothing but the middle gray of an interrupted jpg; 0 where they are fewer than 5
    % of the height.

    Args:
        image: (H, W, C).
    """
    if image.dtype != np.uint8:
        return 0
    filled = np.flatnonzero((image != _GRAY).any((1, 2)))
    empty = image.shape[0] - (int(filled[-1]) + 1 if filled.size else 0)
    return empty if empty >= _LEAST_ROWS * image.shape[0] else 0
