"""SSIM with zeros around the images, and MEF-SSIM: slow and outside twins, and what they must prefer."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from mmfusion.evaluation.functional.common.filters import gaussian_taps
from mmfusion.models.layers import gaussian_means, ssim_map, ssim_maps
from mmfusion.models.losses import MEFSSIMLoss, SSIMFusionLoss


def images(size=(2, 3, 35, 41), dtype=torch.float64):
    return [torch.rand(size, dtype=dtype) for _ in range(3)]


# SSIM with zeros around ---------------------------------------------------------------------------------------------


def window_mean(image):
    """Outside twin of the zero-padded Gaussian mean of one (H, W) array, sigma 1.5."""
    return ndimage.correlate(image, np.outer(*[gaussian_taps(11, 1.5)] * 2), mode='constant')


@pytest.mark.parametrize('size', [(2, 3, 24, 27), (1, 1, 16, 7)])
def test_ssim_with_zeros_around_against_scipy(size):
    fused, first, second = images(size)
    values = []
    for other in (first, second):
        for x, y in zip(fused.flatten(0, 1).numpy(), other.flatten(0, 1).numpy()):
            mx, my = window_mean(x), window_mean(y)
            vx, vy, vxy = window_mean(x * x) - mx**2, window_mean(y * y) - my**2, window_mean(x * y) - mx * my
            values.append(
                ((2 * mx * my + 1e-4) * (2 * vxy + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))).mean()
            )
    assert SSIMFusionLoss(border='zero')(fused, first, second).item() == pytest.approx(1 - np.mean(values), abs=1e-12)
    assert ssim_map(fused, first, border='zero').shape == fused.shape


@pytest.mark.parametrize('border', ['valid', 'zero'])
def test_maps_of_several_references_are_those_of_each(border):
    fused, first, second = images()
    for found, reference in zip(ssim_maps(fused, (first, second), border=border), (first, second)):
        torch.testing.assert_close(found, ssim_map(fused, reference, border=border))


def test_means_of_a_batch_in_one_pass_are_those_of_each_image():
    a, b, _ = images()
    for border in ('valid', 'zero'):
        both = gaussian_means([a, b], 7, 2.0, border)
        for image, found in zip((a, b), both):
            torch.testing.assert_close(found, gaussian_means([image], 7, 2.0, border)[0])


# MEF-SSIM -----------------------------------------------------------------------------------------------------------


def mef_ssim_by_loops(fused, first, second):
    """Slow twin for one image, (C, H, W) arrays: every window cut out of images with zeros around."""
    channels, height, width = fused.shape
    offset = np.arange(11) - 5
    taps = np.exp(-(offset**2) / (2 * (11 / 6) ** 2))
    weights = np.outer(taps, taps) / taps.sum() ** 2 / channels
    padded = [np.pad(x, ((0, 0), (5, 5), (5, 5))) for x in (fused, first, second)]
    means, structure = np.zeros((3, height, width)), np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            f, a, b = (x[:, i : i + 11, j : j + 11] for x in padded)
            mu = [(weights * x).sum() for x in (f, a, b)]
            # second moments minus products of means: with several channels this is not the variance within each
            variance = [(weights * x * x).sum() - m * m for x, m in zip((f, a, b), mu)]
            k = 1 if variance[1] >= variance[2] else 2
            covariance = (weights * f * (a, b)[k - 1]).sum() - mu[0] * mu[k]
            structure[i, j] = (2 * covariance + 9e-4) / (variance[0] + variance[k] + 9e-4)
            means[:, i, j] = mu
    v = [np.exp(-((m.mean() - 0.5) ** 2) / 0.08 - (m - 0.5) ** 2 / 0.08) for m in means[1:]]
    wanted = (v[0] * means[1] + v[1] * means[2]) / (v[0] + v[1])
    luminance = (2 * means[0] * wanted + 1e-4) / (means[0] ** 2 + wanted**2 + 1e-4)
    return luminance.mean() * structure.mean(), structure.mean()


@pytest.mark.parametrize('channels', [1, 3])
def test_mef_ssim_against_loops(channels):
    fused, first, second = images((2, channels, 17, 20))
    first, second = first.sqrt(), second.square()  # over- and under-exposed
    fused = (fused + first + second) / 3
    arrays = [x.numpy() for x in (fused, first, second)]
    each = [mef_ssim_by_loops(*triple) for triple in zip(*arrays)]
    assert MEFSSIMLoss()(fused, first, second).item() == pytest.approx(
        1 - np.mean([value for value, _ in each]), abs=1e-12
    )
    assert MEFSSIMLoss(luminance=False)(fused, first, second).item() == pytest.approx(
        1 - np.mean([value for _, value in each]), abs=1e-12
    )
    joint, _ = mef_ssim_by_loops(*(np.concatenate(list(x), axis=1) for x in arrays))
    assert MEFSSIMLoss(joint_batch=True)(fused, first, second).item() == pytest.approx(1 - joint, abs=1e-12)
    assert abs(joint - np.mean([value for value, _ in each])) > 1e-4  # the option changes something
    alone = [x[:1] for x in (fused, first, second)]
    torch.testing.assert_close(MEFSSIMLoss(joint_batch=True)(*alone), MEFSSIMLoss()(*alone))


def exposures():
    """A smooth scene with texture, over-exposed (bright parts burnt out) and under-exposed (dark parts lost)."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 40), torch.linspace(0, 1, 40), indexing='ij')
    scene = (0.1 + 0.8 * x + 0.1 * torch.sin(40 * y) * torch.sin(35 * x)).expand(1, 3, 40, 40)
    return scene, (2.2 * scene).clamp(0, 1), (1.6 * (scene - 0.4)).clamp(0, 1)


def test_mef_ssim_prefers_what_shows_both_exposures():
    scene, over, under = exposures()
    loss = MEFSSIMLoss()
    value = loss(scene, over, under)
    assert value < loss(over, over, under) and value < loss(under, over, under)
    fused = ((over + under) / 2).requires_grad_()
    start = loss(fused, over, under).item()
    optimizer = torch.optim.Adam([fused], lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss(fused, over, under).backward()
        optimizer.step()
    assert loss(fused, over, under).item() < 0.6 * start
