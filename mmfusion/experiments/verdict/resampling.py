"""Resampling statistics: bootstrap over images and seeds, intervals, and differences that survive the number of
comparisons made.

A row of a verdict is a way to fuse; each of its seeds gives a network, and the network a value on the test images. Two
things are drawn by chance: the images, which all rows share (so differences are formed image set by image set), and the
seeds, which each row has of its own. Both are resampled. Three seeds are few, so some care is taken:

- The spread of a row's seeds is the larger of its own and of the mean over all rows, at the degrees of freedom of all
  rows together. The mean alone calls rows that spread more than others different too often, the own alone needs many
  seeds to call anything different.
- Seeds are drawn from the residuals of all rows, brought to this spread.
- That two seeds differ on an image shows twice, when images are drawn and when seeds are. The second is reduced by what
  is in the first already.
- The percentile interval is expanded by the ratio of Student's to the normal quantile (T. C. Hesterberg, Am. Stat. 69,
  371 (2015)) at the degrees of freedom of F. E. Satterthwaite, Biometrics Bull. 2, 110 (1946).
"""

import itertools
from typing import Dict, List, NamedTuple, Optional

import numpy as np
from scipy import stats

LEVEL = 0.95


class Sampled(NamedTuple):
    """One row: its values on the test set, and on resamplings of it.

    Attributes:
        values: (S, ) value of each seed.
        resampled: (S, B) the same on each of B resamplings of the images.
        trained: Whether seeds differ by a training; a row without one has a single value that no seed changes.
    """

    values: np.ndarray
    resampled: np.ndarray
    trained: bool = True


class Interval(NamedTuple):
    """An estimate with its 95 % interval.

    Attributes:
        value: Mean over seeds.
        low: Lower end.
        high: Upper end.
        error: Standard error.
        freedom: Degrees of freedom.
        seeds_known: Whether the spread of seeds is in the interval; it is not where a trained row has one seed.
    """

    value: float
    low: float
    high: float
    error: float
    freedom: float
    seeds_known: bool


class Comparison(NamedTuple):
    """Row ``a`` minus row ``b``.

    Attributes:
        a: Name of a row.
        b: Name of the other.
        difference: With its 95 % interval, for this pair alone.
        low: Lower end of the interval that holds for all pairs at once.
        high: Its upper end.
        p: Probability of a difference as large without a true one, for this pair alone.
        p_adjusted: The same of at least one such difference among all pairs.
    """

    a: str
    b: str
    difference: Interval
    low: float
    high: float
    p: float
    p_adjusted: float

    @property
    def different(self) -> bool:
        """Whether the data can tell the two rows apart, given how many pairs were looked at."""
        return self.difference.seeds_known and self.p_adjusted <= 1 - LEVEL

    def seen_from(self, a: str) -> 'Comparison':
        """The same pair with row ``a`` first."""
        if a == self.a:
            return self
        old = self.difference
        return Comparison(
            self.b,
            self.a,
            old._replace(value=-old.value, low=-old.high, high=-old.low),
            -self.high,
            -self.low,
            self.p,
            self.p_adjusted,
        )


def draw_weights(images: int, resamples: int, seed: int = 0) -> np.ndarray:
    """How often each image is drawn: (B, I) counts, I in each row."""
    return (
        np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples).astype(np.float64)
    )


class Study:
    """All rows under the same resamplings.

    Args:
        rows: By name; all with the same number B of resamplings.
        images: Number of test images.
        seed: Seed of the draws among training seeds.

    Raises:
        ValueError: The rows differ in the number of resamplings.
    """

    def __init__(self, rows: Dict[str, Sampled], images: int, seed: int = 0) -> None:
        if len({row.resampled.shape[1] for row in rows.values()}) > 1:
            raise ValueError('all rows need the same number of resamplings')
        self.rows, self.images = rows, images
        repeated = {
            name: row
            for name, row in rows.items()
            if row.trained and len(row.values) > 1 and np.isfinite(row.values).all()
        }
        self._freedom = sum(len(row.values) - 1 for row in repeated.values())
        pooled = sum(((row.values - row.values.mean()) ** 2).sum() for row in repeated.values()) / max(1, self._freedom)
        #: Variance of the mean over seeds, of the rows where it is known.
        self._seed_variance = {
            name: max(float(row.values.var(ddof=1)), pooled) / len(row.values) for name, row in repeated.items()
        }
        residuals = [
            (row.values - row.values.mean()) * np.sqrt(len(row.values) / (len(row.values) - 1))
            for row in repeated.values()
        ]
        rng = np.random.default_rng([seed, 1])
        self._draws = {name: self._draw(name, np.concatenate(residuals or [np.zeros(1)]), rng) for name in rows}

    def interval(self, name: str) -> Interval:
        """Value of one row."""
        return self._interval({name: 1.0})

    def difference(self, a: str, b: str) -> Interval:
        """Row ``a`` minus row ``b``."""
        return self._interval({a: 1.0, b: -1.0})

    def compare(self) -> List[Comparison]:
        """All pairs of rows that have a value.

        The number of pairs is accounted for by step-down resampling of the largest difference (J. P. Romano, M. Wolf,
        Econometrica 73, 1237 (2005)), which knows that the pairs share images and rows. Differences are first brought
        to the scale of the normal distribution by their own degrees of freedom.
        """
        names = [name for name in self.rows if np.isfinite(self.interval(name).value)]
        pairs = list(itertools.combinations(names, 2))
        intervals = [self.difference(a, b) for a, b in pairs]
        if not pairs:
            return []
        p = np.array([_p_value(interval) for interval in intervals])
        scores = stats.norm.isf(p / 2)
        noise = np.array([self._noise(a, b, interval.error) for (a, b), interval in zip(pairs, intervals)])  # (P, B)
        limit = stats.norm.sf(np.quantile(noise.max(0), LEVEL))  # one-sided level of one pair
        result = []
        for (a, b), interval, alone, adjusted in zip(pairs, intervals, p, step_down(scores, noise)):
            half = stats.t.isf(limit, interval.freedom) * interval.error if interval.error else 0.0
            result.append(
                Comparison(a, b, interval, interval.value - half, interval.value + half, float(alone), float(adjusted))
            )
        return result

    def _draw(self, name: str, residuals: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(B, ) value of a row on drawn images, by drawn seeds."""
        row = self.rows[name]
        by_images, size = row.resampled.mean(0), float(np.sqrt((residuals**2).mean()))
        variance = self._seed_variance.get(name, 0.0)
        if not variance or not size:
            return by_images
        seeds, resamples = row.resampled.shape
        # Drawing images moves each seed by itself as well: of the mean over seeds, this part of the variance.
        own = max(0.0, float(np.nanvar(row.resampled, axis=1).mean() - np.nanvar(by_images))) / (seeds - 1)
        drawn = rng.choice(residuals, size=(seeds, resamples)).mean(0) / size * np.sqrt(seeds)  # variance 1
        return by_images + np.sqrt(max(0.0, variance - own)) * drawn

    def _noise(self, a: str, b: str, error: float) -> np.ndarray:
        """How far the resampled difference is from its own mean, in standard errors."""
        drawn = self._draws[a] - self._draws[b]
        known = np.isfinite(drawn)
        deviation = np.where(known, np.abs(drawn - drawn[known].mean()) if known.any() else 0, 0)
        return deviation / error if error else np.zeros_like(drawn)

    def _interval(self, terms: Dict[str, float]) -> Interval:
        value = float(sum(sign * self.rows[name].values.mean() for name, sign in terms.items()))
        drawn = sum(sign * self._draws[name] for name, sign in terms.items())
        drawn = drawn[np.isfinite(drawn)]  # a resampling may hold no object of any class
        if not np.isfinite(value) or not len(drawn):
            return Interval(value, np.nan, np.nan, np.nan, np.nan, False)
        error = float(drawn.std(ddof=1)) if len(drawn) > 1 else np.nan
        by_images = sum(sign * self.rows[name].resampled.mean(0) for name, sign in terms.items())
        seeds = sum(self._seed_variance.get(name, 0.0) for name in terms)
        uncertainty = float(np.nanvar(by_images)) ** 2 / max(1, self.images - 1) + seeds**2 / max(1, self._freedom)
        freedom = max(1.0, error**4 / uncertainty) if uncertainty > 0 else float(max(1, self.images - 1))
        expansion = stats.t.isf((1 - LEVEL) / 2, freedom) / stats.norm.isf((1 - LEVEL) / 2)
        # Copies of an image agree with each other, so resampled precisions are a little high on average; the interval
        # is about the value itself.
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - drawn.mean()
        known = all(len(self.rows[name].values) > 1 or not self.rows[name].trained for name in terms)
        return Interval(value, float(value + expansion * low), float(value + expansion * high), error, freedom, known)


def step_down(scores: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Adjusted probabilities of Romano and Wolf.

    Args:
        scores: (P, ) absolute test statistics.
        noise: (P, B) the same under no difference.

    Examples:
        >>> step_down(np.array([3.0, 1.0]), np.array([[0.5, 3.5, 0.1, 0.2], [0.5, 0.3, 1.5, 0.2]]))
        array([0.4, 0.4])
    """
    order = np.argsort(-scores)
    largest = np.maximum.accumulate(noise[order][::-1], axis=0)[::-1]  # over this pair and all with smaller statistics
    exceeded = (np.count_nonzero(largest >= scores[order, None], axis=1) + 1) / (noise.shape[1] + 1)
    adjusted = np.empty(len(scores))
    adjusted[order] = np.maximum.accumulate(exceeded)
    return adjusted


def _p_value(interval: Interval) -> float:
    if interval.error:
        return float(2 * stats.t.sf(abs(interval.value) / interval.error, interval.freedom))
    return 1.0 if interval.value == 0 else 0.0


def spread(row: Sampled) -> Optional[float]:
    """Sample standard deviation over seeds, None where there is no second seed."""
    return float(row.values.std(ddof=1)) if row.trained and len(row.values) > 1 else None
