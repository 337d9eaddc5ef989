"""Gray levels: images without content, clipped ones, too few levels for their depth, gray pictures that pass for
color.
"""

from typing import Dict, Iterator, NamedTuple, Optional, Sequence

import cv2
import numpy as np

from ..check import CHECKS, Case, Check, NotJudged, Unjudged, Verdict, by_set
from ..loaded_pair import SMALL, LoadedPair

SOURCES = ('first', 'second')


def _named(case: Case, source: str) -> str:
    """The source as the data set calls it."""
    return f'the {case.entry.modalities[SOURCES.index(source)]} image'


@CHECKS.register_module(name='constant')
class ConstantCheck(Check):
    """An image that shows nothing."""

    name = 'constant'
    title = 'an image without content'
    measures = (
        'spread (standard deviation) of the gray levels once noise is averaged out, 8-bit levels; '
        'of deeper images the counts'
    )
    threshold = 1.0
    remedy = 'leave the pair out; the camera was covered or off, or the file was written empty'
    severity = 'serious'

    def look(self, pair: LoadedPair) -> Dict[str, float]:
        """Spread of both images."""
        return {source: self._spread(getattr(pair, source)) for source in SOURCES}

    @staticmethod
    def _spread(image: np.ndarray) -> float:
        small = cv2.resize(image, SMALL, interpolation=cv2.INTER_AREA).astype(np.float32)
        spread = float(small.mean(-1).std() if small.ndim == 3 else small.std())
        return spread if np.issubdtype(image.dtype, np.integer) else spread * 255

    def judge(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Images below the threshold."""
        for case in cases:
            for source, spread in case.fact.items():
                if spread < self.threshold:
                    yield self.finding(
                        case.entry,
                        f'{_named(case, source)} shows nothing (spread {spread:.2f} levels)',
                        spread,
                        badness=-spread,
                    )


@CHECKS.register_module(name='saturated')
class SaturatedCheck(Check):
    """An image that is clipped over a large part."""

    name = 'saturated'
    title = 'clipped images'
    measures = 'part of the pixels at the highest level of an 8-bit image, or at the largest value of a deeper one'
    threshold = 0.35
    remedy = (
        'record with less exposure or another range; pictures made from raw data can be made again '
        '(LoadPair(stretch=...))'
    )
    severity = 'harmful'
    modalities = ('visible', 'infrared')

    def look(self, pair: LoadedPair) -> Dict[str, float]:
        """Clipped part of both images."""
        return {source: self._clipped(getattr(pair, source)) for source in SOURCES}

    @staticmethod
    def _clipped(image: np.ndarray) -> float:
        top = 254.0 if image.dtype == np.uint8 else float(image.max())
        channels = image.shape[2]
        clipped = cv2.inRange(image, (top,) * channels, (float(image.max()),) * channels)
        part = cv2.countNonZero(clipped) / clipped.size
        return part if part < 1 else 0.0  # constant, which is another fault

    def judge(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Images above the threshold."""
        for case in cases:
            for source, part in case.fact.items():
                if part > self.threshold:
                    yield self.finding(case.entry, f'{part:.0%} of {_named(case, source)} are clipped', part)


class _Levels(NamedTuple):
    """Levels of an image of more than 8 bits: largest value, number of different ones, and their greatest common
    divisor.
    """

    largest: int
    count: int
    step: int


@CHECKS.register_module(name='depth')
class DepthCheck(Check):
    """A file of 16 bits whose content has 8, or whose range nobody has stated."""

    name = 'depth'
    title = '8-bit data in 16-bit files'
    measures = 'largest value and step of the levels of 16-bit files'
    threshold = 256
    remedy = (
        'write the images with 8 bit (they are read by the full 16-bit range and come out black), '
        'or give LoadPair(bit_depth=8)'
    )
    severity = 'serious'

    def look(self, pair: LoadedPair) -> Dict[str, Optional[_Levels]]:
        """Levels of both images; None for those of 8 bit or of floats."""
        return {source: self._levels(getattr(pair, source)) for source in SOURCES}

    @staticmethod
    def _levels(image: np.ndarray) -> Optional[_Levels]:
        if image.dtype != np.uint16:
            return None
        values = np.flatnonzero(np.bincount(image.ravel(), minlength=2**16))
        step = int(np.gcd.reduce(values)) if values.any() else 0
        return _Levels(int(values[-1]), len(values), step)

    def judge(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Images with no more than 256 levels in the lowest or in whole steps of 256 or 257; and ranges that nobody
        stated.
        """
        for case in cases:
            for source, levels in case.fact.items():
                if levels is None or levels.count < 2:
                    continue
                what, scaled = _named(case, source), case.entry.scaled[SOURCES.index(source)]
                if levels.largest < self.threshold and not scaled:
                    message = f'{what} has 16 bit, its largest value is {levels.largest}'
                    yield self.finding(case.entry, message, levels.largest, badness=2 - levels.largest / 256)
                elif levels.step in (256, 257) or (levels.step % 256 == 0 and levels.count <= 256):
                    message = (
                        f'{what} has 16 bit and only {levels.count} levels, {levels.step} apart: it was made from 8 bit'
                    )
                    yield self.finding(case.entry, message, levels.count, badness=0.5)
                elif levels.largest < 2**15 and not scaled:
                    bits = levels.largest.bit_length()
                    message = (
                        f'{what} has 16 bit and uses {bits} (largest value {levels.largest}): '
                        f'say LoadPair(bit_depth={bits})'
                    )
                    yield self.finding(case.entry, message, levels.largest, badness=0.2)


@CHECKS.register_module(name='gray')
class GrayCheck(Check):
    """A visible image without color in a file of three channels, or among others that have color."""

    name = 'gray'
    title = 'gray pictures saved as color'
    measures = 'mean difference of the channels of the visible image, 8-bit levels'
    threshold = 0.5
    remedy = (
        'look for the color original; fusion in luminance and chroma expects color, and a gray visible image gives a '
        'gray result'
    )
    severity = 'look'
    modalities = ('visible', 'infrared')
    _MOST = 0.5  # of the visible images have color in a set of color

    def look(self, pair: LoadedPair) -> Optional[float]:
        """Mean difference of the channels; None for a file of one channel."""
        return color_of(pair.first) if pair.first.shape[2] == 3 else None

    def judge(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Gray ones, where their files or their neighbors promise color."""
        for group in by_set(cases).values():
            colored = sum(case.fact is not None and case.fact > self.threshold for case in group) / len(group)
            for case in group:
                if case.fact is not None and case.fact <= self.threshold:
                    yield self.finding(
                        case.entry,
                        f'the visible image has three channels and no color ({case.fact:.2f})',
                        case.fact,
                        badness=1 - case.fact,
                    )
                elif case.fact is None and colored > self._MOST:
                    yield self.finding(
                        case.entry,
                        f'the visible image has one channel; {colored:.0%} of the set have color',
                        0.0,
                        badness=1,
                    )
                elif case.fact is None:
                    yield Unjudged(self.name, case.entry, 'a set of gray visible images')


def color_of(image: np.ndarray) -> float:
    """Mean difference between the largest and the smallest channel of an image, on a scale of 255; 0 for one channel.

    Args:
        image: (H, W, 1) or (H, W, 3).
    """
    if image.shape[2] == 1:
        return 0.0
    part = image[::3, ::3].astype(np.float32)
    top = 255.0 if image.dtype == np.uint8 else max(float(np.percentile(part, 99.5)), 1e-9)
    return float((part.max(-1) - part.min(-1)).mean()) * 255 / top


def need_content(pair: LoadedPair) -> None:
    """Refuse to judge a pair of which one image shows nothing.

    Raises:
        NotJudged: The gray levels of one of the 32x24 pictures spread by less than a level.
    """
    if min(float(small.std()) for small in pair.small) < ConstantCheck.threshold:
        raise NotJudged('an image without content')
