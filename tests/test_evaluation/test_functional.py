"""Metric functions against the field's reference programs, slow twins, and their error messages."""

import doctest
import importlib

import cv2
import metric_reference
import numpy as np
import pytest
import scipy.signal
import scipy.stats
import torch

from mmfusion.evaluation import functional as MF
from mmfusion.evaluation import protocols as MP

MODULES = (
    'functional.average_gradient',
    'functional.entropy',
    'functional.common.grey',
    'functional.mutual_information',
    'functional.spatial_frequency',
    'functional.ssim',
    'functional.standard_deviation',
    'protocols.table',
)
LARGE = dict(h=162, w=170)  # every metric of the default protocol has a value


def random_images(n=2, h=24, w=31, seed=0):
    """Three correlated random batches of whole gray levels."""
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randint(0, 256, (n, 1, h, w), generator=generator, dtype=torch.uint8) for _ in range(2))
    fused = ((first.int() + second.int() + 1) // 2).to(torch.uint8)
    return fused, first, second


def slow_entropy(image):
    return scipy.stats.entropy(np.bincount(image.ravel(), minlength=256), base=2)


def slow_mi(x, y):
    joint = np.zeros((256, 256))
    for a, b in zip(x.ravel(), y.ravel()):
        joint[a, b] += 1
    joint /= joint.sum()
    expected = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    keep = joint > 0
    return (joint[keep] * np.log2(joint[keep] / expected[keep])).sum()


def slow_ag(image):
    d_row, d_column = np.gradient(image.astype(np.float64))
    return np.sqrt((d_row**2 + d_column**2) / 2).mean()


def slow_sf(image):
    image = image.astype(np.float64)
    height, width = image.shape
    row = sum((image[i, j + 1] - image[i, j]) ** 2 for i in range(height) for j in range(width - 1)) / (
        height * (width - 1)
    )
    column = sum((image[i + 1, j] - image[i, j]) ** 2 for i in range(height - 1) for j in range(width)) / (
        (height - 1) * width
    )
    return np.sqrt(row + column)


def slow_ssim(x, y):
    """Window by window from the definition: a dense 2-D window, moments about the local mean."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    grid = np.arange(11) - 5
    window = np.exp(-(grid[:, None] ** 2 + grid[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            mu_a, mu_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mu_a) ** 2).sum(), (window * (b - mu_b) ** 2).sum()
            cov = (window * (a - mu_a) * (b - mu_b)).sum()
            values.append(
                (2 * mu_a * mu_b + 6.5025)
                * (2 * cov + 58.5225)
                / ((mu_a**2 + mu_b**2 + 6.5025) * (var_a + var_b + 58.5225))
            )
    return np.mean(values)


@pytest.mark.parametrize(
    'function,twin',
    [
        (MF.entropy, slow_entropy),
        (MF.standard_deviation, np.std),
        (MF.spatial_frequency, slow_sf),
        (MF.average_gradient, slow_ag),
    ],
)
def test_single_image_metrics_match_slow_twin(function, twin):
    fused = random_images()[0]
    got = function(fused)
    assert got.dtype == torch.float64 and got.shape == (2,)
    np.testing.assert_allclose(got, [twin(image[0]) for image in fused.numpy()], rtol=1e-13)


@pytest.mark.parametrize(
    'function,twin,combine', [(MF.mutual_information, slow_mi, np.sum), (MF.ssim, slow_ssim, np.mean)]
)
def test_pair_metrics_match_slow_twin(function, twin, combine):
    fused, first, second = random_images()
    got = function(fused, first, second)
    for i in range(2):
        expected = [twin(fused[i, 0].numpy(), source[i, 0].numpy()) for source in (first, second)]
        np.testing.assert_allclose([got.first[i], got.second[i]], expected, rtol=1e-11)
        np.testing.assert_allclose(got.total[i], combine(expected), rtol=1e-11)


def test_ssim_matches_scikit_image():
    skimage_metrics = pytest.importorskip('skimage.metrics')
    fused, first, second = random_images(n=1, h=40, w=33)
    got = MF.ssim(fused, first, second)
    for source, value in ((first, got.first), (second, got.second)):
        # scikit-image averages over the part where its window lies inside, like us
        expected = skimage_metrics.structural_similarity(
            fused[0, 0].numpy().astype(float),
            source[0, 0].numpy().astype(float),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
        )
        assert value.item() == pytest.approx(expected, rel=1e-12)


def test_known_values():
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    flat = torch.full_like(ramp, 7)
    assert MF.entropy(ramp).item() == 8 and MF.entropy(flat).item() == 0
    assert (
        MF.mutual_information(ramp, ramp, flat).first.item() == pytest.approx(8)
        and MF.mutual_information(ramp, ramp, flat).second.item() == 0
    )
    assert (
        MF.ssim(ramp, ramp, 255 - ramp).first.item() == pytest.approx(1)
        and MF.ssim(ramp, ramp, 255 - ramp).second.item() < 0
    )
    for function in (MF.standard_deviation, MF.spatial_frequency, MF.average_gradient):
        assert function(flat).item() == 0
    assert MF.average_gradient(ramp).item() == pytest.approx(np.sqrt((1 + 16**2) / 2))


def test_uint8_and_float_inputs_agree():
    images = random_images(**LARGE)
    for name in MP.PROTOCOLS['default'].metrics:
        for key, value in MP.evaluate_metric(name, *images).items():
            torch.testing.assert_close(
                MP.evaluate_metric(name, *(image.float() for image in images))[key], value, rtol=0, atol=0
            )


def test_batch_equals_one_by_one():
    images = random_images(n=3, **LARGE)
    for name in MP.PROTOCOLS['default'].metrics:
        whole = MP.evaluate_metric(name, *images)
        for i in range(3):
            for key, value in MP.evaluate_metric(name, *(image[i : i + 1] for image in images)).items():
                torch.testing.assert_close(value[0], whole[key][i], rtol=1e-14, atol=0)


def test_reference_programs(metrics_dir):
    """The programs in use, where their protocol is ours up to a known factor; float32 inside them sets the 3e-7."""
    jobs = 0
    for job, values, images in metric_reference.jobs(metrics_dir):
        jobs += 1
        got = {
            key: value.item()
            for key, value in MP.evaluate_metrics(['EN', 'SD', 'SF', 'AG', 'MI', 'SSIM'], *images).items()
        }
        program = values['cddfuse']
        tight, loose = dict(rel=1e-12), dict(rel=3e-7)
        assert got['EN'] == pytest.approx(program['EN'], **tight), job
        assert got['MI'] * np.log(2) == pytest.approx(program['MI'], **tight), job  # that program prints nats
        for name in ('SD', 'SF', 'AG'):
            assert got[name] == pytest.approx(program[name], **loose), (job, name)
        if 'tang' in values:  # float64 throughout
            assert got['SD'] == pytest.approx(values['tang']['SD'], **tight), job
            assert got['SF'] == pytest.approx(values['tang']['SF'], **tight), job
        if 'vifb_gray' in values:  # same window and constants, sum of two instead of the mean
            assert 2 * got['SSIM'] == pytest.approx(values['vifb_gray']['Ssim'], rel=1e-9), job
    assert jobs >= 3


@pytest.mark.parametrize('name', list(MP.PROTOCOLS['default'].metrics))
def test_errors(name):
    spec = MP.get_metric(name)
    images = [image.float() for image in random_images(**LARGE)]
    images = images if spec.needs_sources else images[:1]

    def call(change):
        return spec.function(*[change(image) if i == len(images) - 1 else image for i, image in enumerate(images)])

    label = 'second' if spec.needs_sources else 'fused'
    with pytest.raises(TypeError, match=f'{label}.*int32'):
        call(lambda x: x.int())
    with pytest.raises(TypeError, match='ndarray'):
        call(lambda x: x.numpy())
    with pytest.raises(ValueError, match=r'\(N, 1, H, W\)'):
        call(lambda x: x.expand(-1, 3, -1, -1))
    with pytest.raises(ValueError, match='NaN'):
        call(lambda x: torch.where(x == x.max(), torch.nan, x))
    with pytest.raises(ValueError, match=r'\[0, 255\]'):
        call(lambda x: x + 1000)
    with pytest.raises(ValueError, match='empty'):
        call(lambda x: x[:0])
    if spec.needs_sources:
        with pytest.raises(ValueError, match='second has shape'):
            call(lambda x: x[..., :-1])
    if spec.min_size > 1:
        small = [image[..., : spec.min_size - 1] for image in images]
        with pytest.raises(ValueError, match='at least'):
            spec.function(*small)
    if name in ('EN', 'MI', 'QMI', 'QNCIE', 'QTE', 'CE'):
        with pytest.raises(ValueError, match='fractional'):
            call(lambda x: (x + 0.25).clamp(max=255))


def test_unknown_names_list_what_there_is():
    with pytest.raises(KeyError, match='EN'):
        MP.get_metric('VIFF2')
    with pytest.raises(KeyError, match='default'):
        MP.get_metric('EN', protocol='mine')


def test_to_uint8_rounds_half_up_and_keeps_every_level():
    levels = torch.arange(256, dtype=torch.uint8)
    for dtype in (torch.float32, torch.float64):
        assert (MF.to_uint8(levels.to(dtype) / 255) == levels).all()
    # the average of two 8-bit images, computed in float32 as a fuser does, equals the one computed in integers
    first, second = torch.meshgrid(levels, levels, indexing='ij')
    assert (MF.to_uint8((first / 255 + second / 255) / 2) == (first.int() + second.int() + 1) // 2).all()
    with pytest.raises(ValueError, match='NaN'):
        MF.to_uint8(torch.tensor([float('nan')]))
    with pytest.raises(TypeError, match='int64'):
        MF.to_uint8(torch.tensor([1]))


def test_to_grey_rounds_every_colour_half_up():
    levels = torch.arange(256, dtype=torch.uint8)
    green, blue = torch.meshgrid(levels, levels, indexing='ij')
    partial = 587 * green.int() + 114 * blue.int() + 500
    for red in range(0, 256, 5):
        got = MF.to_grey(torch.stack([torch.full_like(green, red), green, blue])[None])[0, 0]
        assert torch.equal(got.int(), torch.div(299 * red + partial, 1000, rounding_mode='floor'))


def test_to_grey_matches_opencv():
    color = torch.randint(0, 256, (2, 3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    got = MF.to_grey(color)[:, 0].numpy().astype(int)
    for image, grey in zip(color, got):
        reference = cv2.cvtColor(image.permute(1, 2, 0).float().numpy(), cv2.COLOR_RGB2GRAY)
        assert np.abs(np.floor(reference + 0.5) - grey).max() <= 1 and (np.floor(reference + 0.5) != grey).mean() < 0.01
    assert (MF.to_grey(color[:, :1].expand(-1, 3, -1, -1)) == color[:, :1]).all()  # gray stays what it is
    assert MF.to_grey(color[0].float() / 255).shape == (1, 20, 30)
    with pytest.raises(ValueError, match='1 or 3 channels'):
        MF.to_grey(torch.zeros(2, 4, 5, 5))


@pytest.mark.parametrize('name', MODULES)
def test_docstring_examples(name):
    # import_module: the package re-exports functions under the names of their modules
    result = doctest.testmod(importlib.import_module(f'mmfusion.evaluation.{name}'))
    assert result.attempted and not result.failed
