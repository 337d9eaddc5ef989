"""SSIM, MS-SSIM, MEF-SSIM, VIF and VIFF against the reference programs, slow twins and outside libraries."""

import doctest
import importlib

import metric_reference
import numpy as np
import pytest
import torch
from similarity_twins import arrays, scene, slow_mef_ssim, slow_ssim_map, slow_vif, slow_viff, window

from mmfusion.evaluation import functional as MF
from mmfusion.evaluation import protocols as MP
from mmfusion.evaluation.functional.common.filters import gaussian_taps, separable_filter
from mmfusion.evaluation.functional.common.windows import PAIR_TERMS, box_sums, smooth_and_halve, window_means

FAMILY = ('VIF', 'VIFF', 'SSIM', 'MS_SSIM', 'MEF_SSIM')
# section, program, its name of the metric: our protocol and name, relative tolerance
REFERENCES = {
    ('full', 'cddfuse', 'VIFF'): [('cddfuse', 'VIF', 1e-9), ('film', 'VIF', 1e-9), ('default', 'VIF', 1e-9)],
    ('full', 'cddfuse', 'SSIM'): [('cddfuse', 'SSIM', 2e-5)],  # float32 there
    ('full', 'cddfuse', 'SSIM_dr2_now'): [('cddfuse', 'SSIM', 2e-5)],
    ('full', 'cddfuse', 'SSIM_dr2_f64'): [('cddfuse', 'SSIM', 1e-8)],
    ('full', 'cddfuse', 'SSIM_dr255'): [('film', 'SSIM', 5e-7)],
    ('full', 'tang', 'VIF'): [('tang', 'VIF', 1e-9)],
    ('full', 'tang', 'SSIM'): [('tang', 'SSIM', 1e-9)],
    ('full', 'tang_legacy_u8', 'VIF'): [('tang_uint8', 'VIF', 1e-8)],
    ('full', 'tang_legacy_u8', 'SSIM_u8'): [('tang_uint8', 'SSIM', 1e-9)],
    ('full', 'tang_py', 'VIF'): [('tang_py', 'VIF', 1e-9)],
    ('full', 'tang_py', 'SSIM'): [('tang_py', 'SSIM', 5e-3)],  # float32 there, and L = 1
    ('full', 'tang_py', 'MS_SSIM'): [('tang_py', 'MS_SSIM', 1e-3)],
    ('full', 'ivif_zoo', 'SSIM'): [('tang_py', 'SSIM', 5e-3)],
    ('full', 'ivif_zoo', 'MS_SSIM'): [('tang_py', 'MS_SSIM', 1e-3)],
    ('full', 'vifb_gray', 'Ssim'): [('vifb', 'SSIM', 1e-9)],
    ('full', 'mefb_gray', 'VIF'): [('mefb', 'VIFF', 1e-9), ('default', 'VIFF', 1e-9)],
    ('crop96', 'vifb_gray', 'Ssim'): [('vifb', 'SSIM', 1e-9)],
    ('crop96', 'mefb_gray', 'VIF'): [('mefb', 'VIFF', 1e-9)],
    ('crop96', 'tang_hard', 'MEF_SSIM'): [
        ('tang_uint8', 'MEF_SSIM', 1e-9),
        ('mefb', 'MEF_SSIM', 1e-9),
        ('default', 'MEF_SSIM', 1e-9),
    ],
    ('crop96', 'tang_hard', 'MS_SSIM'): [
        ('tang', 'MS_SSIM', 1e-9),
        ('tang_uint8', 'MS_SSIM', 1e-9),
        ('mefb', 'MS_SSIM', 1e-9),
    ],
    ('published_tang', 'published_tang', 'VIF'): [('tang_uint8', 'VIF', 1e-8)],
    ('published_vifb_colour', 'published_vifb_colour', 'Ssim'): [('vifb', 'SSIM', 5e-5)],
}
NOT_REPRODUCED = {('full', 'ivif_zoo', 'VIF'): 'its Gaussian is off center and its border padded with zeros'}
LOOSER = {
    'vifb_fight/swinfusion': {'published_vifb_colour': 1e-2}
}  # the image in that repository is not quite the one that was rated


@pytest.mark.parametrize('reference', REFERENCES, ids='/'.join)
def test_reference_programs(metrics_dir, reference):
    section, program, printed = reference
    for job, expected, images in metric_reference.pairs(metrics_dir, section, program, printed):
        for protocol, name, tolerance in REFERENCES[reference]:
            got = MP.evaluate_metric(name, *images, protocol=protocol)[name].item()
            assert got == pytest.approx(expected, rel=LOOSER.get(job, {}).get(section, tolerance)), (
                job,
                protocol,
                name,
            )


def test_every_reference_value_is_tested(metrics_dir):
    listed = {
        (section, program, name)
        for section in metric_reference.SECTIONS
        for job in metric_reference.jobs(metrics_dir, section)
        for program, values in job.values.items()
        for name in values
        if 'SSIM' in name.upper() or 'VIF' in name.upper()
    }
    assert listed == set(REFERENCES) | set(NOT_REPRODUCED)


def check_pair(name, protocol, images, twin, combine, rtol=1e-10):
    fused, first, second = arrays(images)
    got = MP.evaluate_metric(name, *images, protocol=protocol)
    terms = [twin(source, fused) for source in (first, second)]
    np.testing.assert_allclose([got[name + '_first'].item(), got[name + '_second'].item()], terms, rtol=rtol)
    np.testing.assert_allclose(got[name].item(), combine(terms), rtol=rtol)


@pytest.mark.parametrize(
    'protocol,kernel,data_range,sample,border,combine',
    [
        ('default', window(11, 1.5), 255, 1, 0, np.mean),
        ('cddfuse', np.full((7, 7), 1 / 49), 2, 49 / 48, 0, np.sum),
        ('film', np.full((7, 7), 1 / 49), 255, 49 / 48, 0, np.sum),
        ('tang', window(11, 1.5), 1, 1, 5, np.mean),
        ('tang_uint8', window(11, 1.5), 255, 1, 5, np.mean),
        ('tang_py', window(11, 1.5), 1, 1, 0, np.sum),
        ('vifb', window(11, 1.5), 255, 1, 0, np.sum),
    ],
)
def test_ssim_matches_slow_twin(protocol, kernel, data_range, sample, border, combine):

    def twin(x, y):
        return slow_ssim_map(np.pad(x, border, 'edge'), np.pad(y, border, 'edge'), kernel, data_range, sample)[0].mean()

    check_pair('SSIM', protocol, scene(), twin, combine)


@pytest.mark.parametrize('protocol,data_range,combine', [('default', 255, np.mean), ('tang_py', 1, np.sum)])
@pytest.mark.parametrize('size', [(176, 192), (161, 190)])
def test_ms_ssim_matches_slow_twin(protocol, data_range, combine, size):

    def halve(x):
        odd = [length % 2 for length in x.shape]
        x = (
            np.pad(x, [(0, odd[0]), (0, odd[1])], 'edge')
            if protocol == 'default'
            else np.pad(x, [(odd[0], odd[0]), (odd[1], odd[1])])
        )
        x = x[: x.shape[0] // 2 * 2, : x.shape[1] // 2 * 2]
        return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4

    def twin(x, y):
        value = 1.0
        for scale, exponent in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            if scale:
                x, y = halve(x), halve(y)
            whole, structure = slow_ssim_map(x, y, window(11, 1.5), data_range)
            value *= max((whole if scale == 4 else structure).mean(), 0) ** exponent
        return value

    check_pair('MS_SSIM', protocol, scene(h=size[0], w=size[1]), twin, combine)


@pytest.mark.parametrize('protocol,saturate', [('default', False), ('tang_py', False), ('tang_uint8', True)])
def test_vif_matches_slow_twin(protocol, saturate):
    check_pair('VIF', protocol, scene(h=61, w=70), lambda source, fused: slow_vif(source, fused, saturate), np.sum)


def test_viff_matches_slow_twin():
    images = scene(h=61, w=70)
    got = MF.viff(*images)
    np.testing.assert_allclose(got.total.item(), slow_viff(*arrays(images)), rtol=1e-10)
    # a source's own value is the metric with that source in both places
    np.testing.assert_allclose(got.first.item(), MF.viff(images[0], images[1], images[1]).total.item(), rtol=1e-12)
    np.testing.assert_allclose(got.second.item(), MF.viff(images[0], images[2], images[2]).total.item(), rtol=1e-12)


def test_mef_ssim_matches_slow_twin():
    for seed in range(2):
        images = scene(h=38, w=33, seed=seed)
        np.testing.assert_allclose(MF.mef_ssim(*images).item(), slow_mef_ssim(*arrays(images)), rtol=1e-10)
    images = scene(h=64, w=44)
    halves = [
        (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
        for x in (image.double() for image in images)
    ]
    expected = MF.mef_ssim(*images) ** (0.0448 / 0.3304) * MF.mef_ssim(*halves) ** (0.2856 / 0.3304)
    torch.testing.assert_close(MF.mef_ssim(*images, scales=2), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize('options', [dict(data_range=255), dict(data_range=2)])
def test_ssim_of_scikit_image(options):
    skimage_metrics = pytest.importorskip('skimage.metrics')
    images = scene()
    fused, *sources = arrays(images)
    uniform, gaussian = MF.ssim(*images, window='uniform', **options), MF.ssim(*images, **options)
    for i, source in enumerate(sources):
        assert uniform[i].item() == pytest.approx(
            skimage_metrics.structural_similarity(fused, source, **options), rel=1e-9
        )
        expected = skimage_metrics.structural_similarity(
            fused, source, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, **options
        )
        assert gaussian[i].item() == pytest.approx(expected, rel=1e-10)


def test_piq():
    piq = pytest.importorskip('piq')
    images = [image.double() for image in scene(h=192, w=176)]
    for i, source in enumerate(images[1:]):
        assert MF.vif(*images)[i].item() == pytest.approx(piq.vif_p(images[0], source, data_range=255).item(), rel=1e-4)
        assert MF.ssim(*images)[i].item() == pytest.approx(
            piq.ssim(images[0], source, data_range=255, downsample=False).item(), rel=1e-10
        )
        assert MF.ms_ssim(*images)[i].item() == pytest.approx(
            piq.multi_scale_ssim(images[0], source, data_range=255).item(), rel=1e-10
        )


def test_torchmetrics():
    image_metrics = pytest.importorskip('torchmetrics.functional.image')
    images = [image.double() for image in scene(h=96, w=80)]
    for i, source in enumerate(images[1:]):
        assert MF.vif(*images)[i].item() == pytest.approx(
            image_metrics.visual_information_fidelity(images[0], source).item(), rel=1e-8
        )


def test_known_values_and_symmetry():
    fused, first, second = images = scene(h=170, w=165)
    for function in (MF.ssim, MF.ms_ssim, MF.vif, MF.viff):
        same = function(first, first, first)
        torch.testing.assert_close(
            same.first, torch.ones(1, dtype=torch.float64), rtol=1e-7, atol=0
        )  # VIF adds 1e-10 to variances
        got, swapped = function(*images), function(fused, second, first)
        torch.testing.assert_close([got.first, got.second], [swapped.second, swapped.first], rtol=1e-12, atol=0)
        if function is not MF.viff:  # flat regions, equal in both sources here
            torch.testing.assert_close(got.total, swapped.total, rtol=1e-12, atol=0)
    assert MF.mef_ssim(first, first, first).item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(MF.mef_ssim(*images), MF.mef_ssim(fused, second, first), rtol=1e-12, atol=0)
    # a brighter or stronger image: what each metric sees of it
    dim = (first / 2).floor()
    assert MF.vif(first, dim, dim).first > 1.1 > 0.9 > MF.vif(dim, first, first).first
    textured = first[..., 40:, 40:]
    shifted = textured.double().clamp(0, 235) + 20
    assert MF.mef_ssim(shifted, shifted - 20, shifted - 20).item() == pytest.approx(
        MF.mef_ssim(*[shifted - 20] * 3).item(), rel=1e-12
    )
    assert MF.ssim(shifted, shifted - 20, shifted - 20).first < 0.999


@pytest.mark.parametrize('name', FAMILY)
def test_flat_images_have_values(name):
    noise = scene(h=165, w=165, seed=3)[0]
    black, grey, white = (torch.full_like(noise, level) for level in (0, 7, 255))
    for images in (
        [grey] * 3,
        [black] * 3,
        (black, white, grey),
        (noise, black, grey),
        (white, noise, noise),
        (noise, noise, grey),
    ):
        for key, value in MP.evaluate_metric(name, *images).items():
            assert torch.isfinite(value).all(), (key, value)


def test_undefined_vif():
    noise = scene(h=60, w=60)[0]
    flat = torch.full_like(noise, 200)
    ours = MP.evaluate_metric('VIF', noise, flat, noise)
    assert ours['VIF_first'] == 1 and ours['VIF'] == pytest.approx(2)
    assert MP.evaluate_metric('VIF', noise, flat, noise, protocol='cddfuse')['VIF_first'] == 1
    for protocol in ('tang', 'tang_uint8', 'tang_py'):
        theirs = MP.evaluate_metric('VIF', noise, flat, noise, protocol=protocol)
        assert theirs['VIF_first'].isnan() and theirs['VIF'].isnan() and not theirs['VIF_second'].isnan()
    assert MF.vif(flat, noise, noise).total == 0 and MF.viff(flat, noise, noise).total < 1e-4


def test_smallest_images():
    protocols = [
        (protocol, name) for protocol, table in MP.PROTOCOLS.items() for name in table.metrics if name in FAMILY
    ]
    assert len(protocols) > 20
    for protocol, name in protocols:
        spec = MP.get_metric(name, protocol)
        images = scene(h=spec.min_size, w=spec.min_size + 3, seed=1)
        assert MP.evaluate_metric(name, *images, protocol=protocol)[name].shape == (1,)
        if spec.min_size > 1:
            with pytest.raises(ValueError, match=f'at least {spec.min_size}x{spec.min_size}'):
                spec.function(*(image[..., 1:, :] for image in images))


def test_options_that_do_not_exist():
    images = scene(h=165, w=165)
    for function, options in (
        (MF.ssim, dict(window='box')),
        (MF.ssim, dict(window='uniform', border='replicate')),
        (MF.ssim, dict(border='mirror')),
        (MF.ssim, dict(reduction='max')),
        (MF.vif, dict(reduction='max')),
        (MF.ms_ssim, dict(odd='mirror')),
        (MF.mef_ssim, dict(scales=0)),
        (MF.mef_ssim, dict(scales=6)),
    ):
        with pytest.raises(ValueError, match='|'.join(options)):
            function(*images, **options)


def colour_scene():
    red, green, blue = (scene(seed=seed, h=50, w=60) for seed in range(3))
    return [torch.cat(channels, dim=1) for channels in zip(red, green, blue)]


def test_colour():
    images = colour_scene()
    # each channel by itself, then the mean
    channels = [
        MP.evaluate_metric('VIFF', *(image[:, c : c + 1] for image in images), protocol='mefb')['VIFF']
        for c in range(3)
    ]
    torch.testing.assert_close(
        MP.evaluate_metric('VIFF', *images, protocol='mefb')['VIFF'], sum(channels) / 3, rtol=1e-13, atol=0
    )
    # luma first
    for name in ('MEF_SSIM', 'MS_SSIM'):
        grey = MP.evaluate_metric(name, *(MF.to_grey(image) for image in images), protocol='mefb')[name]
        torch.testing.assert_close(MP.evaluate_metric(name, *images, protocol='mefb')[name], grey, rtol=0, atol=0)
    with pytest.raises(ValueError, match=r'\(N, 1, H, W\)'):
        MF.mef_ssim(images[0], *(image[:, :1] for image in images[1:]))
    with pytest.raises(ValueError, match=r'\[0, 255\]'):
        MF.viff(*(image.float() + 100 for image in images))


def test_viff_rates_the_lightness_of_colour():
    skimage_color = pytest.importorskip('skimage.color')
    images = colour_scene()
    grey = [
        torch.from_numpy(skimage_color.rgb2lab(image[0].permute(1, 2, 0).numpy())[None, None, ..., 0] * 2.55)
        for image in images
    ]
    # scikit-image takes L under the white point D65; colors differ by some percent of L, grays do not
    assert MF.viff(*images).total.item() == pytest.approx(MF.viff(*grey).total.item(), abs=0.01)
    same = [image[:, :1].expand(-1, 3, -1, -1) for image in images]
    grey = [
        torch.from_numpy(skimage_color.rgb2lab(image[0].permute(1, 2, 0).numpy())[None, None, ..., 0] * 2.55)
        for image in same
    ]
    assert MF.viff(*same).total.item() == pytest.approx(
        MF.viff(*(x.clamp(0, 255) for x in grey)).total.item(), rel=1e-4
    )


@pytest.mark.parametrize('height', [16, 33, 64, 90])
@pytest.mark.parametrize('size', [3, 11, 15])
def test_strips_match_the_filter(height, size):
    images = [image.double() for image in scene(h=height, w=41)]
    taps = gaussian_taps(size, size / 5)
    planes = [images[term[0]] * (images[term[1]] if len(term) > 1 else 1) for term in PAIR_TERMS]
    strips = [[plane.clone() for plane in strip] for strip in window_means(images, PAIR_TERMS, taps)]
    for i, plane in enumerate(planes):
        expected = separable_filter(plane, taps)
        torch.testing.assert_close(torch.cat([strip[i] for strip in strips], dim=2), expected, rtol=1e-13, atol=1e-10)
    for image, halved in zip(images, smooth_and_halve(images, taps)):
        torch.testing.assert_close(halved, separable_filter(image, taps)[..., ::2, ::2], rtol=1e-13, atol=1e-11)
    sums = [[plane.clone() for plane in strip] for strip in box_sums(images, ((0, 2),), size)]
    expected = torch.nn.functional.avg_pool2d(images[0] * images[2], size, stride=1, divisor_override=1)
    torch.testing.assert_close(torch.cat([strip[0] for strip in sums], dim=2), expected, rtol=0, atol=0)


@pytest.mark.parametrize('name', ['mef_ssim', 'ms_ssim', 'ssim', 'vif', 'viff'])
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(f'mmfusion.evaluation.functional.{name}'))
    assert result.attempted and not result.failed
