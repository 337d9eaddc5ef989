"""PairPhotometric: formula, ranges, and which source changes how."""

import numpy as np
import pytest

from mmfusion.datasets.transforms import PairPhotometric

NEUTRAL = dict(brightness=0.0, contrast=1.0, gamma=1.0, saturation=1.0, noise=0.0)
IMAGE = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)


def slow(image, brightness, contrast, gamma, saturation):
    """The documented formula, value by value, on floats."""
    out = np.empty(image.shape)
    for index in np.ndindex(*image.shape[:2]):
        tone = [min(max((float(v) ** gamma - 0.5) * contrast + 0.5 + brightness, 0), 1) for v in image[index]]
        luma = 0.114 * tone[0] + 0.587 * tone[1] + 0.299 * tone[2]
        out[index] = [min(max(luma + (v - luma) * saturation, 0), 1) for v in tone]
    return out


@pytest.mark.parametrize(
    'change',
    [
        dict(brightness=0.2),
        dict(contrast=1.7),
        dict(gamma=0.5),
        dict(saturation=0.0),
        dict(saturation=1.5),
        dict(brightness=-0.3, contrast=0.6, gamma=1.8, saturation=1.2),
    ],
)
def test_formula(change):
    parameters = {**NEUTRAL, **change}
    expected = slow(IMAGE / 255, **{key: value for key, value in parameters.items() if key != 'noise'})
    assert np.abs(PairPhotometric.apply((IMAGE / 255).astype(np.float32), **parameters) - expected).max() < 1e-5
    eight = PairPhotometric.apply(IMAGE, **parameters)
    assert eight.dtype == np.uint8 and np.abs(eight / 255 - expected).max() <= 0.5 / 255 + 1e-5


def test_neutral_changes_nothing():
    assert PairPhotometric.apply(IMAGE, **NEUTRAL) is IMAGE


def test_noise_has_the_given_spread():
    grey = np.full((200, 200, 1), 128, np.uint8)
    assert PairPhotometric.apply(grey, **{**NEUTRAL, 'noise': 0.05}).std() / 255 == pytest.approx(0.05, rel=0.03)


def test_sources_and_shared():
    def run(**kwargs):
        image = np.random.default_rng(1).integers(60, 200, (20, 24, 1), dtype=np.uint8)
        return PairPhotometric(prob=1.0, **kwargs)(
            dict(first=image.copy(), second=image.copy(), gt_bboxes='kept')
        ), image

    results, image = run(sources=('second',))
    assert (
        np.array_equal(results['first'], image)
        and not np.array_equal(results['second'], image)
        and results['gt_bboxes'] == 'kept'
    )
    results, _ = run(shared=True)
    assert np.array_equal(results['first'], results['second'])
    results, _ = run()
    assert not np.array_equal(results['first'], results['second'])
    assert PairPhotometric(prob=0.0)(dict(first=image, second=image))['first'] is image


def test_numpy_seed_decides():
    def run():
        np.random.seed(7)
        return PairPhotometric(noise=0.1)(dict(first=IMAGE, second=IMAGE))['first']

    np.testing.assert_array_equal(run(), run())


@pytest.mark.parametrize(
    'kwargs', [dict(brightness=-1), dict(prob=1.5), dict(contrast=(2, 1)), dict(gamma=(0, 1)), dict(noise=-0.1)]
)
def test_bad_arguments(kwargs):
    with pytest.raises(ValueError, match=next(iter(kwargs))):
        PairPhotometric(**kwargs)
