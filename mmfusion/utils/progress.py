"""Progress bars: drawn on a terminal, ten plain lines or nothing in a file."""

import math
import sys
from typing import Any, Optional, TextIO

from tqdm import tqdm


class _Tenths(tqdm):
    """Plain lines at every tenth of the work, for files: a bar redraws itself, and in a log each drawing stays."""

    def __init__(self, total: int, **options: Any) -> None:
        super().__init__(total=total, delay=math.inf, **options)  # tqdm itself writes nothing before the delay is over
        self._shown = self.n

    def update(self, n: float = 1) -> Optional[bool]:
        """Count, and write a line if a tenth is full or all is done."""
        super().update(n)
        if self.n - self._shown < max(1, math.ceil(self.total / 10)) and (self.n < self.total or self.n == self._shown):
            return False
        self._shown = self.n
        passed = self.format_interval(self.format_dict['elapsed'])
        print(f'{self.desc or ""}: {self.n} of {self.total}, {passed}'.removeprefix(': '), file=self.fp, flush=True)
        return True


def progress_bar(
    total: int,
    title: str = '',
    file: Optional[TextIO] = None,
    initial: int = 0,
    plain: str = 'tenths',
    shown: bool = True,
) -> tqdm:
    """Begin a progress bar; ``update()`` moves it on and ``close()`` takes it away, as does leaving a ``with`` block.

    Args:
        total: Number of steps.
        title: What is done, before the numbers.
        file: Where to draw, stderr when missing.
        initial: Steps that are done already.
        plain: What a file that is no terminal gets: ``'tenths'``, a line after every tenth of the steps; ``'silent'``,
            nothing; ``'bar'``, the bar.
        shown: False for a bar that is never drawn, so that callers need no condition of their own.

    Raises:
        ValueError: ``plain`` is none of these.

    Examples:
        >>> with progress_bar(40, 'fusing', file=sys.stdout) as bar:
        ...     for _ in range(40):
        ...         _ = bar.update()
        fusing: 4 of 40, 00:00
        ...
        fusing: 40 of 40, 00:00
    """
    if plain not in ('tenths', 'silent', 'bar'):
        raise ValueError(f"plain must be 'tenths', 'silent' or 'bar', got {plain!r}")
    file = sys.stderr if file is None else file
    options = dict(initial=initial, desc=title or None, file=file)
    terminal = hasattr(file, 'isatty') and file.isatty()
    if plain == 'tenths' and not terminal and shown and total > initial:
        return _Tenths(total, **options)
    return tqdm(
        total=total, disable=not shown or not (terminal or plain == 'bar'), leave=False, dynamic_ncols=True, **options
    )
