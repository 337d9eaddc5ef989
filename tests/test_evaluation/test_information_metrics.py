"""Metrics of gray levels in every protocol: against the reference programs, against slow twins, undefined cases."""

import doctest
import importlib

import metric_reference
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch

from mmfusion.evaluation import functional as MF
from mmfusion.evaluation import protocols as MP
from mmfusion.evaluation.functional.common import histograms
from mmfusion.evaluation.protocols.information import ENTRIES

SHARED = ('EN', 'SD', 'SF', 'AG', 'MI', 'MSE', 'CC', 'PSNR', 'SCD')  # under the same name everywhere
VIFB = dict(
    Avg_gradient='AG',
    Cross_entropy='CE',
    Edge_intensity='EI',
    Entropy='EN',
    Mutinf='MI',
    Psnr='PSNR',
    Rmse='RMSE',
    Spatial_frequency='SF',
    Variance='SD',
)
# (section, program, our protocol, {program's name: ours})
CASES = [
    ('full', 'cddfuse', 'cddfuse', {name: name for name in SHARED}),
    ('full', 'cddfuse', 'film', {name: name for name in SHARED}),  # the two differ in SSIM alone
    ('full', 'tang', 'tang', {name: name for name in SHARED}),
    ('full', 'tang_legacy_u8', 'tang_uint8', dict(SD='SD', SF='SF')),
    ('published_tang', 'published_tang', 'tang_uint8', {name: name for name in SHARED}),
    ('full', 'tang_py', 'tang_py', {name: name for name in SHARED}),
    ('full', 'vifb_gray', 'vifb', VIFB),
    ('crop96', 'vifb_gray', 'vifb', VIFB),
    ('published_vifb_colour', 'published_vifb_colour', 'vifb', VIFB),
    ('full', 'mefb_gray', 'mefb', dict(NMI='QMI', Qncie='QNCIE', TE='QTE', SD='SD')),
    ('crop96', 'mefb_gray', 'mefb', dict(NMI='QMI', Qncie='QNCIE', TE='QTE', SD='SD')),
    ('full', 'liu', 'liu2012', dict(QMI='QMI', QNCIE='QNCIE', QTE='QTE')),
    ('crop96', 'liu', 'liu2012', dict(QMI='QMI', QNCIE='QNCIE', QTE='QTE')),
    ('full', 'liu', 'mefb', dict(QTE_Cvejic='QTE')),
    ('crop96', 'liu', 'mefb', dict(QTE_Cvejic='QTE')),
]
# float32 inside ivif_zoo; its other metrics are something else under the name: CE (cross-entropy of sigmoids), NMI
# (another denominator), QNCIE (Pearson instead of NCC), TE (difference of entropies)
ZOO = dict(EN=2e-5, MI=3e-7, SF=3e-7, SD=3e-7, PSNR=3e-7, MSE=3e-7, CC=3e-7, SCD=5e-7)
NOT_EVALUATED = (
    'vifb_fight/swinfusion'  # the jpeg in that repository is not the image that its authors rated, up to 0.8 % off
)


@pytest.mark.parametrize(
    'section,program,protocol,names', CASES, ids=[f'{case[0]}-{case[1]}-{case[2]}' for case in CASES]
)
def test_reference_programs(metrics_dir, section, program, protocol, names):
    """Every value of these metrics in the file, within the tolerance that the file suggests."""
    tolerances = metric_reference.tolerances(metrics_dir, program)
    compared = dict.fromkeys(names, 0)
    for job, values, images in metric_reference.jobs(metrics_dir, section):
        if program not in values:
            continue
        got = MP.evaluate_metrics(list(names.values()), *images, protocol=protocol)
        for theirs, ours in names.items():
            limit = (
                3e-3
                if program == 'published_vifb_colour' and job == NOT_EVALUATED
                else tolerances.get(theirs) or tolerances['*']
            )
            assert got[ours].item() == pytest.approx(values[program][theirs], rel=limit, abs=1e-15), (job, theirs)
            compared[theirs] += 1
    assert min(compared.values()) >= 2


def test_ivif_zoo(metrics_dir):
    for job, values, images in metric_reference.jobs(metrics_dir):
        got = MP.evaluate_metrics(list(ZOO), *images, protocol='tang_py')
        for name, limit in ZOO.items():
            assert got[name].item() == pytest.approx(values['ivif_zoo'][name], rel=limit), (job, name)
        assert MF.average_gradient(images[0]).item() == pytest.approx(values['ivif_zoo']['AG'], rel=3e-7), job
        assert MF.edge_intensity(images[0], border='zero').item() == pytest.approx(
            values['ivif_zoo']['EI'], rel=3e-6
        ), job


def random_images(height=33, width=46, seed=0, levels=256):
    """Fused image and two sources, uint8 (1, 1, H, W), correlated, with all their structure in ``levels`` gray
    levels.
    """
    rng = np.random.default_rng(seed)
    first, second = (scipy.ndimage.gaussian_filter(rng.random((height, width)), 1) for _ in range(2))
    images = [
        (image - image.min()) / np.ptp(image) * (levels - 1) for image in (0.6 * first + 0.4 * second, first, second)
    ]
    return [torch.from_numpy(image.round().astype(np.uint8))[None, None] for image in images]


def shares(image):
    return np.bincount(image.ravel(), minlength=256) / image.size


def joint_shares(x, y):
    joint = np.zeros((256, 256))
    np.add.at(joint, (x.ravel(), y.ravel()), 1)
    return joint / x.size


def slow_mi(x, y, base=2):
    return scipy.stats.entropy(joint_shares(x, y).ravel(), np.outer(shares(x), shares(y)).ravel(), base=base)


def slow_tsallis(x, y, q):
    """As the programs loop: the marginals exchanged."""
    x, y = (np.floor((image.astype(float) - image.min()) / np.ptp(image) * 255 + 0.5).astype(int) for image in (x, y))
    joint, total = joint_shares(x, y), 0.0
    columns, rows = joint.sum(0), joint.sum(1)
    for i, j in zip(*np.nonzero(joint)):
        if columns[i] * rows[j] > 0:
            total += joint[i, j] ** q / (columns[i] * rows[j]) ** (q - 1)
    return (1 - total) / (1 - q)


def slow_qte(f, a, b, q):
    def information(x, y):
        joint, expected = joint_shares(x, y), np.outer(shares(x), shares(y))
        return (1 - (joint[joint > 0] ** q * expected[joint > 0] ** (1 - q)).sum()) / (1 - q)

    def entropy(x):
        return (1 - (shares(x)[shares(x) > 0] ** q).sum()) / (q - 1)

    below = entropy(a) + entropy(b) - information(a, b)
    return information(a, f) / below, information(b, f) / below


def slow_qncie(f, a, b):
    ncc = [[1.0 if x is y else slow_mi(x, y, base=256) for y in (f, a, b)] for x in (f, a, b)]
    return 1 - scipy.stats.entropy(np.linalg.eigvals(ncc) / 3, base=256)


def slow_ce(x, f):
    p, f = shares(x), shares(f)
    return sum(p[k] * np.log2(p[k] / f[k]) for k in range(256) if p[k] and f[k])


@pytest.mark.parametrize('seed', range(3))
def test_pair_metrics_match_slow_twins(seed):
    images = random_images(seed=seed)
    f, a, b = (image[0, 0].numpy() for image in images)
    got = MP.evaluate_metrics(['MI', 'QMI', 'QNCIE', 'QTE', 'CE', 'CC', 'SCD', 'MSE', 'RMSE', 'PSNR'], *images)
    h_f, h_a, h_b = (scipy.stats.entropy(shares(x), base=2) for x in (f, a, b))
    fd, ad, bd = (x.astype(float) for x in (f, a, b))
    errors = [np.mean((fd - x) ** 2) for x in (ad, bd)]
    expected = {
        'MI': (slow_mi(f, a), slow_mi(f, b)),
        'QMI': (2 * slow_mi(f, a) / (h_f + h_a), 2 * slow_mi(f, b) / (h_f + h_b)),
        'QTE': slow_qte(f, a, b, 0.43137),
        'CE': (slow_ce(a, f), slow_ce(b, f)),
        'CC': [scipy.stats.pearsonr(fd.ravel(), x.ravel())[0] for x in (ad, bd)],
        'SCD': (
            scipy.stats.pearsonr((fd - bd).ravel(), ad.ravel())[0],
            scipy.stats.pearsonr((fd - ad).ravel(), bd.ravel())[0],
        ),
        'MSE': errors,
        'RMSE': np.sqrt(errors),
        'PSNR': [skimage_psnr(a, f), skimage_psnr(b, f)],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(
            [got[f'{name}_first'].item(), got[f'{name}_second'].item()], values, rtol=1e-11, err_msg=name
        )
        if name != 'PSNR':
            total = np.mean(values) if name in ('CE', 'CC', 'MSE', 'RMSE') else np.sum(values)
            assert got[name].item() == pytest.approx(total, rel=1e-11), name
    assert got['PSNR'].item() == pytest.approx(10 * np.log10(255**2 / np.mean(errors)), rel=1e-12)
    assert got['QNCIE'].item() == pytest.approx(slow_qncie(f, a, b), rel=1e-12)
    assert got['QNCIE_second'].item() == pytest.approx(slow_mi(f, b) / 8, rel=1e-11)


def skimage_psnr(x, y):
    return pytest.importorskip('skimage.metrics').peak_signal_noise_ratio(x, y, data_range=255)


def test_conventions_of_programs_match_slow_twins():
    # bright enough that many pixels of 254 and 255 fall together
    images = [
        (image.int() + 60).clamp(max=255 - i % 2).to(torch.uint8) for i, image in enumerate(random_images(levels=250))
    ]
    images[0].view(-1)[::7] -= (images[0].view(-1)[::7] == 255).to(torch.uint8)
    f, a, b = (image[0, 0].numpy() for image in images)
    fd, (height, width) = f.astype(float), f.shape

    def got(name, protocol):
        return MP.evaluate_metric(name, *images, protocol=protocol)[name].item()

    d_row, d_column = np.gradient(fd)
    assert got('AG', 'tang') == pytest.approx(
        np.sqrt((d_row**2 + d_column**2) / 2).sum() / ((height - 1) * (width - 1)), rel=1e-12
    )
    sobel = np.hypot(*(scipy.ndimage.sobel(fd, axis, mode='nearest') for axis in (0, 1)))
    assert got('EI', 'vifb') == got('EI', 'default') == pytest.approx(sobel.mean(), rel=1e-12)
    squares = (np.diff(fd, axis=0) ** 2).sum() + (np.diff(fd, axis=1) ** 2).sum()
    assert got('SF', 'mefb') == pytest.approx(np.sqrt(squares / f.size), rel=1e-12)
    assert got('SF', 'tang_uint8') * 255 == pytest.approx(got('SF', 'tang'), rel=1e-12)
    difference = np.clip(np.floor(fd - fd.mean() + 0.5), 0, 255)
    assert got('SD', 'tang_uint8') == pytest.approx(np.sqrt(np.minimum(difference**2, 255).mean()), rel=1e-12)
    assert got('MI', 'cddfuse') == pytest.approx(slow_mi(f, a, np.e) + slow_mi(f, b, np.e), rel=1e-11)
    h_joint = [
        scipy.stats.entropy(joint_shares(np.minimum(f, 254), np.minimum(x, 254)).ravel(), base=2) for x in (a, b)
    ]
    h_f, h_a, h_b = (scipy.stats.entropy(shares(x), base=2) for x in (f, a, b))
    assert got('MI', 'tang') == pytest.approx(2 * h_f + h_a + h_b - sum(h_joint), rel=1e-11) and got(
        'MI', 'tang'
    ) > got('MI', 'tang_py')
    p = shares(f)
    assert got('EN', 'tang_py') == pytest.approx(-(p * np.log2(p + 1e-7)).sum(), rel=1e-12)
    assert got('QTE', 'mefb') == pytest.approx(slow_tsallis(a, f, 1.85) + slow_tsallis(b, f, 1.85), rel=1e-10)
    q = 0.43137
    assert got('QTE', 'liu2012') == pytest.approx(
        (slow_tsallis(a, f, q) + slow_tsallis(b, f, q)) / (h_a**q + h_b**q + slow_tsallis(a, b, q)), rel=1e-10
    )
    errors = [np.mean((fd - x) ** 2) for x in (a.astype(float), b.astype(float))]
    assert got('PSNR', 'tang') - got('PSNR', 'default') == pytest.approx(20 * np.log10(255), abs=1e-9)
    assert got('PSNR', 'cddfuse') == pytest.approx(10 * np.log10(fd.max() ** 2 / np.mean(errors)), rel=1e-12)
    rmse = np.mean([np.sqrt(error * f.size) / f.size for error in errors])
    assert got('RMSE', 'vifb') == pytest.approx(rmse, rel=1e-12)
    assert got('PSNR', 'vifb') == got('PSNR', 'mefb') == pytest.approx(20 * np.log10(255 / np.sqrt(rmse)), rel=1e-12)


def test_symmetric_in_the_sources():
    fused, first, second = random_images()
    for protocol, table in ENTRIES.items():
        names = [name for name, spec in table.items() if spec.needs_sources]
        straight = MP.evaluate_metrics(names, fused, first, second, protocol=protocol)
        swapped = MP.evaluate_metrics(names, fused, second, first, protocol=protocol)
        for name in names:
            assert straight[name].item() == pytest.approx(swapped[name].item(), rel=1e-12), (protocol, name)
            assert straight[f'{name}_first'].item() == pytest.approx(swapped[f'{name}_second'].item(), rel=1e-12), (
                protocol,
                name,
            )


def test_information_does_not_depend_on_the_numbers_of_the_levels():
    """Why the stretch of some programs need not be repeated; it does where marginals are exchanged."""
    images = random_images(levels=120)
    shuffled = [torch.randperm(256)[image.long()].to(torch.uint8) for image in images]
    for name in ('EN', 'MI', 'QMI', 'QNCIE', 'QTE'):
        assert MP.evaluate_metric(name, *images)[name].item() == pytest.approx(
            MP.evaluate_metric(name, *shuffled)[name].item(), rel=1e-11
        ), name
    assert (
        MP.evaluate_metric('QTE', *images, protocol='mefb')['QTE']
        != MP.evaluate_metric('QTE', *shuffled, protocol='mefb')['QTE']
    )


@pytest.mark.parametrize('protocol', list(ENTRIES))
def test_undefined_cases(protocol):
    """Constant, black, white, identical images: numbers or NaN, never infinite, and in the default protocol NaN for
    PSNR only.
    """
    image, other, _ = random_images()
    flat, black, white = torch.full_like(image, 7), torch.zeros_like(image), torch.full_like(image, 255)
    cases = [
        (image, image, image),
        (image, image, other),
        (image, flat, other),
        (image, flat, flat),
        (flat, image, other),
        (flat, flat, flat),
        (black, black, image),
        (white, white, black),
        (black, black, black),
        (image, image + 1, other),
    ]
    for case in cases:
        for name, value in MP.evaluate_metrics(list(ENTRIES[protocol]), *case, protocol=protocol).items():
            assert not value.isinf().any(), (name, case)
            if protocol == 'default' and not name.startswith('PSNR'):
                assert value.isfinite().all(), (name, case)
    scd, cc = (MP.evaluate_metric(name, image, image, flat) for name in ('SCD', 'CC'))
    assert (
        scd['SCD_second'] == 0
        and scd['SCD_first'] == pytest.approx(1)
        and cc['CC_second'] == 0
        and cc['CC_first'] == pytest.approx(1)
    )
    if 'SCD' in ENTRIES[protocol] and protocol != 'default':
        assert MP.evaluate_metric('SCD', image, image, other, protocol=protocol)['SCD'].isnan()
        assert MP.evaluate_metric('CC', image, flat, other, protocol=protocol)['CC'].isnan()
    assert MP.evaluate_metric('PSNR', image, image, image)['PSNR'].isnan()
    assert (
        MP.evaluate_metric('QMI', flat, flat, image, protocol='liu2012')['QMI'].isnan()
        and not MP.evaluate_metric('QMI', flat, flat, image)['QMI']
    )


def test_constant_images_of_fractional_levels_are_constant():
    image = random_images()[0].double()
    flat = torch.full_like(image, 100 / 3)
    assert MF.correlation(image, flat, image).first == 0 and MF.correlation(flat, image, image).total == 0
    assert (
        MF.sum_of_correlations_of_differences(image * 0.5 + 100 / 3, image * 0.5, image).second == 0
    )  # F - A is constant up to round-off


def test_colour_in_vifb_and_mefb():
    """VIFB lays the channels side by side for SF, everything else is the mean over channels."""
    images = [torch.cat(channels, 1) for channels in zip(*(random_images(seed=seed) for seed in range(3)))]
    folded = torch.cat(images[0].unbind(1), -1)[:, None]
    assert MP.evaluate_metric('SF', *images, protocol='vifb')['SF'] == MF.spatial_frequency(folded, divisor='pixels')
    for protocol, name in (('mefb', 'SF'), ('vifb', 'EI'), ('mefb', 'QTE'), ('vifb', 'RMSE')):
        single = [
            MP.evaluate_metric(name, *(image[:, k : k + 1] for image in images), protocol=protocol)[name].item()
            for k in range(3)
        ]
        assert MP.evaluate_metric(name, *images, protocol=protocol)[name].item() == pytest.approx(
            np.mean(single), rel=1e-13
        )


def test_histograms_of_both_devices_agree(monkeypatch):
    """OpenCV on the CPU against the code of the GPU, which also takes over where float32 counts would not be exact."""
    image, other = (torch.cat(batch) for batch in zip(*(random_images(seed=seed)[:2] for seed in range(3))))
    fast = histograms.grey_histogram(image), histograms.joint_histogram(image, other)
    monkeypatch.setattr(histograms, 'EXACT', 0)
    for got, expected in zip(fast, (histograms.grey_histogram(image), histograms.joint_histogram(image, other))):
        assert got.dtype == torch.float64 and (got == expected).all()
    assert (
        fast[1][1, image[1, 0, 0, 0].item(), other[1, 0, 0, 0].item()] >= 1
        and (fast[1].sum((1, 2)) == image[0].numel()).all()
    )


@pytest.mark.parametrize(
    'call',
    [
        lambda f, a, b: MF.spatial_frequency(f, divisor='rows'),
        lambda f, a, b: MF.average_gradient(f, divisor='rows'),
        lambda f, a, b: MF.edge_intensity(f, border='valid'),
        lambda f, a, b: MF.tsallis_information(f, a, b, norm='renyi'),
        lambda f, a, b: MF.tsallis_information(f, a, b, q=1),
        lambda f, a, b: MF.root_mean_squared_error(f, a, b, root='none'),
        lambda f, a, b: MF.peak_signal_to_noise_ratio(f, a, b, error='mae'),
    ],
)
def test_options_that_do_not_exist(call):
    with pytest.raises(ValueError, match='must be'):
        call(*random_images())


@pytest.mark.parametrize(
    'module',
    [
        'average_gradient',
        'correlation',
        'cross_entropy',
        'edge_intensity',
        'entropy',
        'mutual_information',
        'nonlinear_correlation',
        'normalized_mutual_information',
        'spatial_frequency',
        'squared_error',
        'standard_deviation',
        'tsallis',
    ],
)
def test_docstring_examples(module):
    result = doctest.testmod(importlib.import_module(f'mmfusion.evaluation.functional.{module}'))
    assert result.attempted and not result.failed
