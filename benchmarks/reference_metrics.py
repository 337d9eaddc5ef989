"""The nine metrics of the protocol cddfuse written down literally, with dense windows and one array operation per
formula.

They are what the fast ones are timed against (fusion_metrics.py in this folder) and compared with: images in float32
and scipy's convolutions, as the programs in use have them.
"""

import numpy as np
from scipy.signal import convolve2d
from scipy.sparse import coo_matrix
from skimage.metrics import structural_similarity

SOBEL_X = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)
SOBEL_Y = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]], np.float32)


def entropy(fused, first, second):
    counts = np.bincount(fused.astype(np.uint8).ravel(), minlength=256)
    p = counts[counts > 0] / fused.size
    return -np.sum(p * np.log2(p))


def standard_deviation(fused, first, second):
    return np.std(fused)


def spatial_frequency(fused, first, second):
    return np.sqrt(np.mean((fused[:, 1:] - fused[:, :-1]) ** 2) + np.mean((fused[1:] - fused[:-1]) ** 2))


def average_gradient(fused, first, second):
    dy, dx = np.gradient(fused)
    return np.mean(np.sqrt((dx**2 + dy**2) / 2))


def _mutual_information(one, other):
    """From the table of the levels that occur, as libraries for clustering do."""
    _, one = np.unique(one.ravel(), return_inverse=True)
    _, other = np.unique(other.ravel(), return_inverse=True)
    table = coo_matrix((np.ones(one.size), (one, other))).tocsr()
    rows, columns, counts = *table.nonzero(), table.data
    p, p_one, p_other = counts / one.size, np.ravel(table.sum(1)) / one.size, np.ravel(table.sum(0)) / one.size
    return np.sum(p * (np.log(p) - np.log(p_one[rows] * p_other[columns])))


def mutual_information(fused, first, second):
    return _mutual_information(fused, first) + _mutual_information(fused, second)


def _correlation(one, other):
    one, other = one - np.mean(one), other - np.mean(other)
    return np.sum(one * other) / np.sqrt(np.sum(one**2) * np.sum(other**2))


def sum_of_correlations_of_differences(fused, first, second):
    return _correlation(fused - second, first) + _correlation(fused - first, second)


def _vif(reference, distorted):
    """Information of four scales, with windows of 17, 9, 5 and 3 pixels."""
    noise, numerator, denominator = 2.0, 0.0, 0.0
    for scale in range(1, 5):
        size = 2 ** (5 - scale) + 1
        radius = np.arange(size) - size // 2
        window = np.exp(-(radius[:, None] ** 2 + radius**2) / (2 * (size / 5) ** 2))
        window /= window.sum()
        if scale > 1:
            reference = convolve2d(reference, window, mode='valid')[::2, ::2]
            distorted = convolve2d(distorted, window, mode='valid')[::2, ::2]
        mu_r, mu_d = (convolve2d(image, window, mode='valid') for image in (reference, distorted))
        var_r = np.maximum(convolve2d(reference * reference, window, mode='valid') - mu_r * mu_r, 0)
        var_d = np.maximum(convolve2d(distorted * distorted, window, mode='valid') - mu_d * mu_d, 0)
        covariance = convolve2d(reference * distorted, window, mode='valid') - mu_r * mu_d
        gain = covariance / (var_r + 1e-10)
        rest = var_d - gain * covariance
        gain[var_r < 1e-10] = 0
        rest[var_r < 1e-10] = var_d[var_r < 1e-10]
        var_r[var_r < 1e-10] = 0
        gain[var_d < 1e-10] = 0
        rest[var_d < 1e-10] = 0
        rest[gain < 0] = var_d[gain < 0]
        gain[gain < 0] = 0
        rest[rest <= 1e-10] = 1e-10
        numerator += np.sum(np.log10(1 + gain**2 * var_r / (rest + noise)))
        denominator += np.sum(np.log10(1 + var_r / noise))
    return numerator / denominator


def visual_information_fidelity(fused, first, second):
    return _vif(first, fused) + _vif(second, fused)


def _edges(image):
    x, y = (convolve2d(image, kernel, mode='same', boundary='fill') for kernel in (SOBEL_X, SOBEL_Y))
    with np.errstate(divide='ignore', invalid='ignore'):
        angle = np.where(x == 0, np.pi / 2, np.arctan(y / x))
    return np.sqrt(x**2 + y**2), angle


def _edge_transfer(strength, angle, strength_f, angle_f):
    with np.errstate(divide='ignore', invalid='ignore'):
        g = np.where(
            strength > strength_f,
            strength_f / strength,
            np.where(strength == strength_f, strength_f, strength / strength_f),
        )
    a = 1 - np.abs(angle - angle_f) / (np.pi / 2)
    return 0.9994 / (1 + np.exp(-15 * (g - 0.5))) * 0.9879 / (1 + np.exp(-22 * (a - 0.8)))


def edge_transfer(fused, first, second):
    (g_a, a_a), (g_b, a_b), (g_f, a_f) = map(_edges, (first, second, fused))
    return np.sum(_edge_transfer(g_a, a_a, g_f, a_f) * g_a + _edge_transfer(g_b, a_b, g_f, a_f) * g_b) / np.sum(
        g_a + g_b
    )


def structural_similarities(fused, first, second):
    return structural_similarity(fused, first, data_range=2) + structural_similarity(fused, second, data_range=2)


#: By the names of the protocol.
REFERENCES = dict(
    EN=entropy,
    SD=standard_deviation,
    SF=spatial_frequency,
    AG=average_gradient,
    MI=mutual_information,
    SCD=sum_of_correlations_of_differences,
    VIF=visual_information_fidelity,
    Qabf=edge_transfer,
    SSIM=structural_similarities,
)
