"""Agreement of two streams in space and time, before their frames are fused: sizes, registration, offset of their
clocks.
"""

from typing import Callable, Iterator, Optional, Sequence, Tuple

import numpy as np

from mmfusion.utils.errors import UserError

from .motion import MotionTrack, track_live
from .offset import OffsetEstimate, estimate_offset
from .reading import ReadAhead
from .streams import Frame, Stream

ONE_TRANSFORM = (
    'a video needs one transform for all frames, or the picture trembles; `mmfusion register FIRST SECOND --rig '
    'rig.yaml` makes a rig file from a few pairs, which --registration rig.yaml applies'
)
LIVE_WINDOW = 10.0  # seconds of cameras that the offset is estimated from
#: (first, second) to a result with ``first`` and ``second`` on the same pixels, see
#: :func:`mmfusion.registration.build_registrar`.
Registrar = Callable[[np.ndarray, np.ndarray], Tuple]


def check_sizes(streams: Sequence[Stream], register: Optional[Registrar]) -> None:
    """Raise an error where frames differ in size and nothing brings them onto each other.

    Raises:
        UserError: They do.
    """
    one, other = streams
    if register is None and one.size != other.size:
        raise UserError(
            f'the frames of {one.name} have {one.pixels} pixels, those of {other.name} {other.pixels}; '
            'register them: `mmfusion register` makes a rig file from a few pairs, --registration RIG applies it'
        )


def find_offset(
    streams: Sequence[Stream],
    readers: Callable[[], Sequence[ReadAhead]],
    register: Optional[Registrar],
    max_offset: float,
) -> OffsetEstimate:
    """Offset of the clocks of two streams from what moves in them: in the first 20 seconds, of cameras in ten seconds
    that are used up.

    Args:
        streams: Both.
        readers: Begins to read cameras ahead.
        register: Brings frames onto each other; None where they lie so.
        max_offset: Largest offset that is tried, in seconds between the beginnings of both streams.

    Raises:
        UserError: It cannot be estimated; the message has the numbers.
    """
    warps = _warps(streams, register)
    if streams[0].live:
        tracks = track_live(*(iter(reader) for reader in readers()), LIVE_WINDOW, warps)
    else:
        tracks = tuple(MotionTrack(_reopened(stream), prepare=prepare) for stream, prepare in zip(streams, warps))
    estimate = estimate_offset(*tracks, max_offset)
    if not estimate.accepted:
        remedy = 'Something must move in both streams at places that coincide; otherwise give --offset SECONDS'
        if estimate.doubtful_alone:
            remedy = f'Where frames a few milliseconds apart do as well, --offset {estimate.offset:.4f} takes it'
        raise UserError(
            f'the offset cannot be estimated: {"; ".join(estimate.reasons)} (best {estimate.offset:+.4f} s). {remedy}'
        )
    return estimate


def _warps(streams: Sequence[Stream], register: Optional[Registrar]) -> tuple:
    """How each stream comes to lie on the other for the offset, None where it does already."""
    if register is None:
        return None, None
    blanks = [np.zeros((*stream.size[::-1], 1), np.uint8) for stream in streams]
    return lambda image: register(image, blanks[1])[0], lambda image: register(blanks[0], image)[1]


def _reopened(stream: Stream) -> Iterator[Frame]:
    """The frames of a stored stream from its beginning, without using it up."""
    again = stream.reopen()
    try:
        yield from again
    finally:
        if again is not stream:
            again.close()
