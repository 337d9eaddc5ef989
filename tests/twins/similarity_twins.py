"""Slow, readable twins of SSIM, VIF, VIFF and MEF-SSIM in numpy, and images to compare on."""

import numpy as np
import scipy.ndimage
import scipy.signal
import torch


def scene(n=1, h=48, w=53, seed=0):
    """Smooth correlated images with noise, whole gray levels; a corner of both sources is black."""
    generator = np.random.default_rng(seed)

    def image():
        smooth = scipy.ndimage.gaussian_filter(generator.normal(size=(n, 1, h, w)), (0, 0, 3, 3))
        values = np.clip(128 + 300 * smooth + 5 * generator.normal(size=smooth.shape), 0, 255).round()
        values[..., :20, :20] = 0
        return torch.from_numpy(values)

    first, second = image(), image()
    fused = ((2 * first + second) / 3 + torch.from_numpy(generator.normal(size=first.shape))).clamp(0, 255).round()
    return [x.to(torch.uint8) for x in (fused, first, second)]


def window(size, sigma):
    grid = np.arange(size) - size // 2
    values = np.exp(-(grid[:, None] ** 2 + grid[None] ** 2) / (2 * sigma**2))
    return values / values.sum()


def smooth(x, kernel):
    return scipy.signal.correlate2d(x, kernel, 'valid')


def slow_ssim_map(x, y, kernel, data_range, sample=1.0):
    mu_x, mu_y = smooth(x, kernel), smooth(y, kernel)
    var_x, var_y, cov = (
        sample * (smooth(a * b, kernel) - smooth(a, kernel) * smooth(b, kernel)) for a, b in ((x, x), (y, y), (x, y))
    )
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    structure = (2 * cov + c2) / (var_x + var_y + c2)
    return structure * (2 * mu_x * mu_y + c1) / (mu_x**2 + mu_y**2 + c1), structure


def slow_scales(source, fused, noise, saturate=False):
    """Gain, kept and offered information of the four scales with every special case spelled out."""
    for scale, size in enumerate((17, 9, 5, 3)):
        kernel = window(size, size / 5)
        if scale:
            source, fused = smooth(source, kernel)[::2, ::2], smooth(fused, kernel)[::2, ::2]
        top = 255 if saturate and scale == 0 else np.inf
        mu_x, mu_f = smooth(source, kernel), smooth(fused, kernel)
        var_x = np.maximum(smooth(np.minimum(source * source, top), kernel) - mu_x**2, 0)
        var_f = np.maximum(smooth(np.minimum(fused * fused, top), kernel) - mu_f**2, 0)
        cov = smooth(np.minimum(source * fused, top), kernel) - mu_x * mu_f
        gain = cov / (var_x + 1e-10)
        rest = var_f - gain * cov
        flat_x, flat_f = var_x < 1e-10, var_f < 1e-10
        gain[flat_x], rest[flat_x], var_x[flat_x] = 0, var_f[flat_x], 0
        gain[flat_f], rest[flat_f] = 0, 0
        rest[gain < 0] = var_f[gain < 0]
        gain[gain < 0] = 0
        rest[rest <= 1e-10] = 1e-10
        yield gain, np.log10(1 + gain**2 * var_x / (rest + noise)), np.log10(1 + var_x / noise)


def slow_vif(source, fused, saturate=False):
    _, kept, offered = zip(*slow_scales(source, fused, 2, saturate))
    return sum(x.sum() for x in kept) / sum(x.sum() for x in offered)


def slow_viff(fused, first, second):
    ratios = []
    for (g_a, kept_a, offered_a), (g_b, kept_b, offered_b) in zip(
        slow_scales(first, fused, 325.125), slow_scales(second, fused, 325.125)
    ):
        kept, offered = np.where(g_b < g_a, kept_b, kept_a), np.where(g_b < g_a, offered_b, offered_a)
        ratios.append((kept + 1e-7).sum() / (offered + 1e-7).sum())
    return np.dot(ratios, [1, 0, 0.15, 1]) / 2.15


def slow_mef_ssim(fused, first, second):
    """Patch by patch, with the wished-for patch itself."""
    weights, values = window(11, 1.5), []
    for i in range(fused.shape[0] - 10):
        for j in range(fused.shape[1] - 10):
            f, *patches = (x[i : i + 11, j : j + 11] for x in (fused, first, second))
            patches = [patch - patch.mean() for patch in patches]
            norms = [np.linalg.norm(patch) for patch in patches]
            agreement = min((np.linalg.norm(sum(patches)) + 2**-52) / (sum(norms) + 2**-52), 1 - 2**-52)
            power = min(np.tan(np.pi / 2 * agreement), 10)
            strengths = [norm + 0.001 for norm in norms]
            mixed = sum((s / 11) ** power * patch / s for s, patch in zip(strengths, patches))
            if np.linalg.norm(mixed) > 0:
                mixed *= max(strengths) / np.linalg.norm(mixed)
            mixed, f = mixed - (weights * mixed).sum(), f - (weights * f).sum()
            values.append(
                (2 * (weights * mixed * f).sum() + 7.65**2)
                / ((weights * mixed**2).sum() + (weights * f**2).sum() + 7.65**2)
            )
    return np.mean(values)


def arrays(images, i=0):
    return [image[i, 0].numpy().astype(np.float64) for image in images]
