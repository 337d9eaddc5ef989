"""Normalized mutual information of small windows of whole numbers, the fast path of the FMI on the CPU.

Everything up to the logarithms is exact: a distribution is kept as whole numbers with their sum, so that places are
compared by products.
"""

from typing import Any, Iterator, NamedTuple, Tuple

import cv2
import numpy as np
import torch

WINDOW = 3
CELLS = WINDOW * WINDOW
STEPS = 2 * CELLS - 1  # cells that a staircase through 9x9 meets
STRIP = 4096  # windows at a time: most temporaries stay in the cache
BLOCK = 4 * STRIP  # windows at a time where each takes only a few numbers
TINY = 1e-300
REST = 1e-18  # stands for a share of zero, which is divided by


class _Kind(NamedTuple):
    values: Any  # of a window's values less the smallest one
    cells: Any  # of the product of two of them
    keys: Any  # of a level of the staircase, one bit and a value
    bits: int  # of a value


NARROW_RANGE = 255
NARROW = _Kind(np.uint8, np.uint16, np.int32, 8)  # a level is below (8 * 255)^2 < 2^22
WIDE = _Kind(np.uint16, np.uint32, np.int64, 11)

# the sum of the smaller one over all pairs of levels, from the mass between levels
_PAIRS = np.square(np.arange(STEPS - 1, -1.0, -1))[None] / 2
_ALL = np.ones((1, STEPS))


def _information_table(size: int) -> np.ndarray:
    """``n log n``, zero for zero."""
    numbers = np.arange(1.0, size)
    return np.append(0.0, numbers * np.log(numbers))


_INFORMATION = _information_table(NARROW_RANGE**2 + 1)
_INFORMATION_8_BIT = _INFORMATION[:256].copy()


def window_information(images: np.ndarray, zero: int, one: int, symmetric: bool) -> np.ndarray:
    """Mean normalized mutual information over the 3x3 windows of a fused image with each of its sources.

    Args:
        images: (3, H, W) uint8 or uint16 below 1024: fused image, first and second source.
        zero: Number that stands for the feature value 0.
        one: Number that stands for 1.
        symmetric: As in :func:`~mmfusion.evaluation.functional.feature_mutual_information`.

    Returns:
        (2,) float64.
    """
    height, width = (length - WINDOW + 1 for length in images.shape[1:])
    sums, strips, rows = np.zeros(2), {}, max(1, BLOCK // width)
    with np.errstate(divide='ignore', invalid='ignore'):
        for top in range(0, height, rows):
            block = _Block(images[:, top : top + rows + WINDOW - 1])
            share, excess = np.empty((2, *block.offset.shape))
            for begin in range(0, share.shape[1], STRIP):
                part = slice(begin, begin + STRIP)
                key = (block.kind, share[:, part].shape[1])
                if key not in strips:
                    strips[key] = _Strip(*key)
                share[:, part], excess[:, part] = strips[key](
                    block.values[..., part], block.total[:, part], block.offset[:, part], block.correlated[:, part]
                )
            information = block.information(share, excess)
            np.copyto(information, 1, where=block.same(zero, one, symmetric))
            sums += information.sum(1)
    return sums / (height * width)


class _Block:
    """Windows of a few rows as distributions over nine places, column by column, with what needs no order of their
    probabilities.

    Attributes:
        kind: :data:`NARROW` where no window spans more than 255 levels, else :data:`WIDE`.
        values: (9, 3, windows) less the smallest of each, 1 in flat ones. Those of a source stand in reverse order
            where it is anticorrelated, as the lower bound of (F, X) is the upper bound of F and X in reverse order.
        total: (3, windows) their sum.
        offset: (2, windows) what the sum of the smaller one over all pairs of cumulated values of both is above the
            covariance of the upper bound.
        correlated: (2, windows) correlation without sign times both spreads of the place, so that over that covariance
            it is the share of the bound.
    """

    def __init__(self, raw: np.ndarray):
        self.raw = raw
        low, high = (_box(raw, extreme) for extreme in (np.minimum, np.maximum))
        self.low, self.high, self.flat = low, high, low == high
        self.kind = NARROW if (high - low).max() <= NARROW_RANGE else WIDE
        self.values = np.empty((CELLS, *low.shape), self.kind.values)
        for values, place in zip(self.values, _places(raw)):
            np.subtract(place, low.reshape(place.shape), out=values.reshape(place.shape), casting='unsafe')
        self.values += self.flat

        whole, low = raw.astype(np.int32), low.astype(np.int32)
        total, first, second = _moments(whole)
        total -= CELLS * low
        first -= 36 * low  # the sum of the places, and of their squares
        second -= 204 * low
        squares = _box(np.square(whole), np.add) - low * (2 * total + CELLS * low)
        products = _box(whole[:1] * whole[1:], np.add)
        products -= low[:1] * (total[1:] + CELLS * low[1:]) + low[1:] * total[:1]
        covariance = CELLS * products - total[:1] * total[1:]
        spread = CELLS * squares - np.square(total)  # 0 for flat windows, and so is the covariance
        ones = self.flat.astype(np.int32)
        total += CELLS * ones
        first += 36 * ones
        second += 204 * ones
        self.total = total
        ratio = np.sqrt((total * second - np.square(first)) / spread)
        self.correlated = np.abs(covariance) * ratio[:1] * ratio[1:]
        np.copyto(self.correlated, 0, where=covariance == 0)
        reverse = covariance < 0
        self._reverse(reverse)
        # sum of the cumulated values, and of the smaller one over their pairs
        mean = ((CELLS - 1) * total - first).astype(float)
        smaller = ((CELLS - 1) ** 2 * total - 2 * (CELLS - 1) * first + second).astype(float)
        mean[1:] = np.where(reverse, first[1:], mean[1:])
        smaller[1:] = np.where(reverse, second[1:], smaller[1:])
        self.offset = mean[:1] * mean[1:] + (smaller[:1] * total[1:] + smaller[1:] * total[:1]) / 2

    def _reverse(self, where: np.ndarray) -> None:
        half, sources = CELLS // 2, self.values[:, 1:]
        change = sources[:half:-1] - sources[:half]  # modulo 2^bits
        change &= np.negative(where.astype(change.dtype))
        sources[:half] += change
        sources[half + 1 :] -= change[::-1]

    def information(self, share: np.ndarray, excess: np.ndarray) -> np.ndarray:
        """(2, windows) normalized mutual information; 1 for two flat windows.

        Args:
            share: (2, windows) of the extreme distribution in the joint one.
            excess: (2, windows) sum of ``n log n`` over the cells with extreme mass, independent less joint, over the
                share of the independent part.
        """
        entropy = np.zeros(self.total.shape)
        terms = np.empty_like(entropy)
        for values in self.values:
            entropy += _inform(values, terms)
        log_total = np.log(self.total)
        entropy /= self.total
        np.subtract(log_total, entropy, out=entropy)
        both = entropy[:1] + entropy[1:]
        rest = _rest(share)
        joint = rest * (both + excess / (self.total[:1] * self.total[1:].astype(float)))
        joint += share * (log_total[:1] + log_total[1:]) - np.log(np.abs(rest))
        information = 2 * (both - joint) / both
        np.copyto(information, 0, where=both < 1e-9)  # all contrast in one place; the next value is above 1e-3
        np.copyto(information, 1, where=self.flat[:1] & self.flat[1:])
        return information

    def same(self, zero: int, one: int, symmetric: bool) -> np.ndarray:
        """(2, windows) whether a source counts as equal to the fused image."""
        equal = _box(self.raw[:1] == self.raw[1:], np.logical_and)
        if not symmetric:
            equal[0] = np.where(equal[1], equal[0], self._equal_to_stretched(zero, one))
        return equal

    def _equal_to_stretched(self, zero: int, one: int) -> np.ndarray:
        """(windows,) whether the first source equals the fused window stretched to [0, 1], flat ones to 1."""
        result = np.zeros(self.total.shape[1], bool)
        possible = np.flatnonzero((self.low[1] >= zero) & (self.high[1] <= one))
        if len(possible):
            fused, first = np.stack([place.reshape(3, -1)[:2, possible] for place in _places(self.raw)], axis=1)
            low, high = self.low[0, possible].astype(float), self.high[0, possible].astype(float)
            stretched = np.where(low == high, 1, (fused - low) / (high - low))
            result[possible] = (stretched == (first - float(zero)) / (one - zero)).all(0)
        return result


class _Strip:
    """Cells of the upper bound min(F, X), and buffers for them: memory that is new costs more than the arithmetic."""

    def __init__(self, kind: _Kind, windows: int):
        both = (2, windows)
        self.kind = kind
        self.cumulated = np.empty((CELLS - 1, 3, windows), np.uint16)
        self.cumulated_keys, self.next_values = np.empty((2, CELLS - 1, 3, windows), kind.keys)
        self.keys, self.other_keys = np.empty((2, STEPS - 1, *both), kind.keys)
        self.low_bits, self.keep, self.scratch = np.empty((3, STEPS - 1, *both), kind.cells)
        self.rows, self.cells = np.empty((2, STEPS, *both), kind.cells)
        self.mass, self.terms, self.logs = np.empty((3, STEPS, *both))
        self.tiny = torch.tensor(TINY, dtype=torch.float64)
        self.tensors = [torch.from_numpy(buffer) for buffer in (self.mass, self.terms, self.logs)]

    def __call__(self, values: np.ndarray, total: np.ndarray, offset: np.ndarray, correlated: np.ndarray) -> tuple:
        """Share of the extreme distribution and what it adds to the entropy, see :meth:`_Block.information`; arguments
        as attributes there.
        """
        self._sort(values, total)
        self._fill_cells(values, total)
        # the covariance under the upper bound is the sum of min(F_i, X_j) - F_i X_j (W. Hoeffding, 1940); all pairs of
        # both less those of each
        share = correlated / (_weighted_sum(_PAIRS, self.mass) - offset)
        np.copyto(share, 0, where=correlated == 0)
        mass, terms, logs = self.tensors
        independent = _weighted_sum(_ALL, _inform(self.cells, self.terms))
        np.copyto(self.terms, self.cells)
        # the blend over the share of its independent part; it may be negative, and zero
        torch.addcmul(terms, mass, torch.from_numpy(share / _rest(share)), out=terms)
        torch.addcmul(self.tiny, terms, terms, out=logs).log_()
        logs *= terms
        return share, independent - _weighted_sum(_ALL, self.logs) / 2

    def _sort(self, values: np.ndarray, total: np.ndarray) -> None:
        """Order the cumulated values of both distributions, as keys of the value in common units, whose it is, and the
        probability that follows.
        """
        cumulated, following, bits = self.cumulated, self.next_values, self.kind.bits
        np.copyto(cumulated, values[:-1])
        for before, after in zip(cumulated, cumulated[1:]):
            after += before
        np.copyto(self.cumulated_keys, cumulated)
        np.copyto(following, values[1:])
        following[:, 0] += 1 << bits
        shifted = total.astype(self.kind.keys) << (bits + 1)
        keys, other = self.keys, self.other_keys
        # bitonic: rising, then falling (K. E. Batcher, 1968)
        np.multiply(self.cumulated_keys[:, :1], shifted[1:], out=keys[: CELLS - 1])
        np.multiply(self.cumulated_keys[::-1, 1:], shifted[:1], out=keys[CELLS - 1 :])
        keys[: CELLS - 1] += following[:, :1]
        keys[CELLS - 1 :] += following[::-1, 1:]
        for size in (8, 4, 2, 1):
            halves, ordered = (array.reshape(-1, 2, size, keys[0].size) for array in (keys, other))
            np.minimum(halves[:, 0], halves[:, 1], out=ordered[:, 0])
            np.maximum(halves[:, 0], halves[:, 1], out=ordered[:, 1])
            keys, other = other, keys

    def _fill_cells(self, values: np.ndarray, total: np.ndarray) -> None:
        """Mass of the 17 cells, and the product of the probabilities of their row and column."""
        bits, keys, low, keep, rows = self.kind.bits, self.keys, self.low_bits, self.keep, self.rows
        value_mask = (1 << bits) - 1
        # row and column of a cell in one number, of which a step replaces one
        np.copyto(low, keys, casting='unsafe')
        np.right_shift(low, bits, out=keep)
        keep &= 1
        np.negative(keep, out=keep)
        keep ^= value_mask << bits
        low &= value_mask
        low *= value_mask + 2
        low &= np.invert(keep, out=self.scratch)
        np.left_shift(values[0, :1], bits, out=rows[0], dtype=rows.dtype)
        rows[0] |= values[0, 1:]
        for before, kept, new, after in zip(rows, keep, low, rows[1:]):
            np.bitwise_and(before, kept, out=after)
            after |= new
        np.bitwise_and(rows, value_mask, out=self.cells)
        rows >>= bits
        self.cells *= rows
        keys >>= bits + 1
        levels, mass = keys, self.other_keys  # only the buffer of the latter
        np.subtract(levels[1:], levels[:-1], out=mass[1:])
        mass[0] = levels[0]
        np.copyto(self.mass[:-1], mass)
        np.subtract(total[:1] * total[1:], levels[-1], out=self.mass[-1])


def _rest(share: np.ndarray) -> np.ndarray:
    """Share of the independent distribution, not zero."""
    rest = 1 - share
    np.copyto(rest, REST, where=rest == 0)
    return rest


def _inform(numbers: np.ndarray, out: np.ndarray) -> np.ndarray:
    """``n log n`` in float64."""
    flat, flat_out = (array.reshape(len(array), -1) for array in (numbers, out))
    if numbers.dtype == np.uint8:
        cv2.LUT(flat, _INFORMATION_8_BIT, flat_out)
    elif numbers.dtype == np.uint16:
        np.take(_INFORMATION, flat, out=flat_out, mode='clip')  # none is beyond the table, and this spares the check
    else:
        np.maximum(numbers, 1, out=out)
        torch.from_numpy(out).log_()
        out *= numbers
    return out


def _weighted_sum(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    return (weights @ values.reshape(len(values), -1)).reshape(values.shape[1:])


def _places(planes: np.ndarray) -> Iterator[np.ndarray]:
    """Nine views (K, H - 2, W - 2) of (K, H, W), column by column."""
    height, width = (length - WINDOW + 1 for length in planes.shape[1:])
    for place in range(CELLS):
        column, row = divmod(place, WINDOW)
        yield planes[:, row : row + height, column : column + width]


def _box(planes: np.ndarray, combine: np.ufunc) -> np.ndarray:
    """(K, H, W) to (K, windows) by an associative function over each window."""
    planes = combine(combine(planes[:, :-2], planes[:, 1:-1]), planes[:, 2:])
    return combine(combine(planes[:, :, :-2], planes[:, :, 1:-1]), planes[:, :, 2:]).reshape(len(planes), -1)


def _moments(planes: np.ndarray) -> Tuple[np.ndarray, ...]:
    """(K, H, W) to the sums over each window of value, place times value and square of the place times value: (K,
    windows).
    """
    upper, middle, lower = planes[:, :-2], planes[:, 1:-1], planes[:, 2:]
    sums = (upper + middle + lower, middle + 2 * lower, middle + 4 * lower)  # down each column
    (a, b, c), (d, e, f), (g, h, i) = ((s[..., :-2], s[..., 1:-1], s[..., 2:]) for s in sums)
    first = 3 * (b + 2 * c) + d + e + f
    second = 9 * (b + 4 * c) + 6 * (e + 2 * f) + g + h + i
    return tuple(values.reshape(len(planes), -1) for values in (a + b + c, first, second))
