"""Answers to a visitor that are not what was asked for."""


class NotHere(LookupError):
    """A picture or a job of this name is not here, or no more."""


class TooLarge(Exception):
    """A body is larger than its limit.

    Args:
        limit: In bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit
