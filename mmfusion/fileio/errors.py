"""Error that data sets and loading transforms raise about a file that a user can fix."""

from typing import Optional

from mmfusion.utils.errors import InputError


class PairDataError(InputError):
    """Something is wrong with one pair of source images or its annotation.

    Args:
        reason: Short class of the problem, used to count skips, e.g. ``'missing partner'``.
        message: One sentence that names the file and what to do.

    Examples:
        >>> error = PairDataError('missing partner', 'a.png has no partner in ir/')
        >>> error.reason, str(error)
        ('missing partner', 'a.png has no partner in ir/')
    """

    def __init__(self, reason: str, message: Optional[str] = None):
        if message is None:  # torch rebuilds errors of DataLoader workers from their text alone
            reason, message = 'in a worker', reason
        super().__init__(message)
        self.reason = reason

    def __reduce__(self):
        # Pickling would otherwise call __init__ with the message alone and lose the reason.
        return type(self), (self.reason, str(self))
