"""Intervals and differences: seeds alone are no difference, true differences are found, and the number of pairs looked
at is accounted for."""

import numpy as np
import pytest
from scipy import stats
from verdict_data import make_ranking

from mmfusion.experiments.verdict.average_precision import average_precision
from mmfusion.experiments.verdict.resampling import Sampled, Study, draw_weights, spread, step_down


def experiment(rng, rows, seeds, images=40, resamples=200, seed_spread=0.5, skill=(), spreads=None):
    """A study of synthetic networks: each seed shifts the skill of its network, some images are harder than others for
    all."""
    difficulty = rng.normal(0, 1.5, images)
    weights = draw_weights(images, resamples, int(rng.integers(2**30)))
    table = {}
    for row in range(rows):
        level = 0.5 + (skill[row] if row < len(skill) else 0)
        width = spreads[row] if spreads else seed_spread
        rankings = [make_ranking(rng, difficulty, level + width * rng.normal()) for _ in range(seeds)]
        table[str(row)] = Sampled(
            np.array([average_precision(each)[0] for each in rankings]),
            np.stack([average_precision(each, weights)[:, 0] for each in rankings]),
        )
    return Study(table, images)


def limit(number, level=0.05, surprise=1e-3):
    """Most rejections among ``number`` experiments at a true rate of ``level`` that are no surprise."""
    return stats.binom.isf(surprise, number, level)


@pytest.mark.parametrize('seeds, seed_spread', [(2, 0.5), (3, 0.5), (4, 1.0)])
def test_rows_that_differ_in_the_seed_alone_are_not_called_different(seeds, seed_spread):
    rng, number = np.random.default_rng(seeds), 60
    called = sum(
        any(pair.different for pair in experiment(rng, 2, seeds, seed_spread=seed_spread).compare())
        for _ in range(number)
    )
    assert called <= limit(number)


@pytest.mark.parametrize('spreads', [None, (1.5, 1.5, 0.5, 0.5, 0.5)], ids=['equal spreads', 'two rows spread more'])
def test_no_pair_of_five_equal_rows_is_called_different(spreads):
    """One table in twenty at most, although it has ten pairs."""
    rng, number = np.random.default_rng(7), 40
    studies = [experiment(rng, 5, 3, spreads=spreads).compare() for _ in range(number)]
    assert sum(any(pair.different for pair in pairs) for pairs in studies) <= limit(number)
    # Pair by pair it would be more: the intervals of single pairs are narrower than those of all.
    assert all(pair.high - pair.low > pair.difference.high - pair.difference.low for pairs in studies for pair in pairs)


def test_a_true_difference_is_found():
    rng, number = np.random.default_rng(3), 12
    found = [
        {(pair.a, pair.b): pair for pair in experiment(rng, 4, 3, seed_spread=0.2, skill=(0, 0, 0, 2.0)).compare()}
        for _ in range(number)
    ]
    for best in (('0', '3'), ('1', '3'), ('2', '3')):
        assert sum(pairs[best].different and pairs[best].difference.value < 0 for pairs in found) >= number - 1


def test_interval_of_images_alone_is_that_of_scipy():
    """A row without training: the percentile bootstrap, about the value instead of the resampled mean and with
    Student's quantile."""
    rng = np.random.default_rng(0)
    ranking = make_ranking(rng, rng.normal(0, 1.5, 60), 0.5)

    def of_images(index, axis=-1):
        index = np.moveaxis(index, axis, -1)
        counts = np.stack([np.bincount(row, minlength=60) for row in index.reshape(-1, 60)])
        return average_precision(ranking, counts)[:, 0].reshape(index.shape[:-1])

    theirs = stats.bootstrap((np.arange(60),), of_images, n_resamples=4000, method='percentile', vectorized=True, rng=1)
    weights = draw_weights(60, 4000)
    value = average_precision(ranking)[0]
    study = Study(
        {'row': Sampled(np.array([value]), average_precision(ranking, weights)[:, 0][None], trained=False)}, 60
    )
    interval = study.interval('row')
    assert interval.value == value and interval.seeds_known and interval.freedom == pytest.approx(59, rel=1e-3)
    # Monte Carlo error of a quantile of 4000 draws is about 3 % of the width
    assert interval.error == pytest.approx(theirs.standard_error, rel=0.06)
    low, high = theirs.confidence_interval
    ratio = stats.t.isf(0.025, 59) / stats.norm.isf(0.025)
    assert interval.high - interval.low == pytest.approx(ratio * (high - low), rel=0.08)


def test_seeds_widen_the_interval_by_their_variance():
    """Without noise of images, the interval of a mean of S seeds is Student's."""
    values = np.array([0.5, 0.54, 0.49, 0.51, 0.55])
    study = Study({'row': Sampled(values, np.repeat(values[:, None], 20000, axis=1))}, 50)
    interval = study.interval('row')
    low, high = stats.t.interval(0.95, 4, values.mean(), values.std(ddof=1) / np.sqrt(5))
    # residuals of five seeds are not quite normal, so their mean is only nearly so
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.004)
    assert interval.error == pytest.approx(values.std(ddof=1) / np.sqrt(5), rel=0.03)
    assert spread(study.rows['row']) == pytest.approx(values.std(ddof=1))


def test_one_seed_is_never_called_different():
    rng = np.random.default_rng(0)
    study = experiment(rng, 2, 1, skill=(0, 5.0))
    (pair,) = study.compare()
    assert abs(pair.difference.value) > 0.3 and not pair.difference.seeds_known and not pair.different
    seen = pair.seen_from('1')
    assert seen.difference.value == -pair.difference.value and (seen.low, seen.high) == (-pair.high, -pair.low)


def test_rows_without_training_need_no_seeds():
    rng = np.random.default_rng(0)
    study = experiment(rng, 2, 1, skill=(0, 5.0))
    study = Study({name: row._replace(trained=False) for name, row in study.rows.items()}, 40)
    (pair,) = study.compare()
    assert pair.different and pair.p < 1e-3


def test_equal_rows_have_no_difference_and_no_nan():
    rng = np.random.default_rng(0)
    row = next(iter(experiment(rng, 1, 2).rows.values()))
    nothing = Sampled(np.zeros(2), np.zeros((2, 200)))
    pairs = Study(
        dict(a=row._replace(trained=False), b=row._replace(trained=False), c=nothing, d=nothing), 40
    ).compare()
    same = next(pair for pair in pairs if (pair.a, pair.b) == ('a', 'b'))
    assert same.p == 1 and same.p_adjusted == 1 and not same.different and (same.low, same.high) == (0, 0)
    assert all(np.isfinite([pair.low, pair.high, pair.p, pair.p_adjusted]).all() for pair in pairs)


def test_step_down_equals_its_definition():
    """Against loops: the adjusted probability of a pair looks at it and at the pairs with smaller statistics, and never
    falls."""
    rng = np.random.default_rng(0)
    scores, noise = np.abs(rng.normal(0, 2, 6)), np.abs(rng.normal(0, 1, (6, 300)))
    order, expected, former = sorted(range(6), key=lambda k: -scores[k]), {}, 0
    for place, k in enumerate(order):
        larger = sum(max(noise[j][b] for j in order[place:]) >= scores[k] for b in range(300))
        former = expected[k] = max(former, (larger + 1) / 301)
    assert step_down(scores, noise).tolist() == pytest.approx([expected[k] for k in range(6)])


def test_rows_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match='same number of resamplings'):
        Study(dict(a=Sampled(np.zeros(1), np.zeros((1, 10))), b=Sampled(np.zeros(1), np.zeros((1, 11)))), 5)
