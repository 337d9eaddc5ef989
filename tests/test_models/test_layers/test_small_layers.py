import cv2
import numpy as np
import pytest
import torch

from mmfusion.evaluation.functional.ssim import ssim as ssim_metric
from mmfusion.models.layers import log_combine, sobel_magnitude, sobel_xy, ssim_map


def test_log_combine_is_the_formula():
    a, b = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    g = torch.rand(2, 1, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(log_combine([a, b], [g, 1 - g]), (g * a.exp() + (1 - g) * b.exp()).log())
    torch.testing.assert_close(log_combine([a, b], [g, 1 - g], 'linear'), g * a + (1 - g) * b)


def test_log_combine_does_not_overflow_and_survives_a_zero_gate():
    big = torch.full((1, 1, 2, 2), 500.0, dtype=torch.float16)
    gates = [torch.tensor(0.0), torch.tensor(1.0)]
    out = log_combine([big, big], gates)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, big.float())


def test_log_combine_gradient():
    a, b = (torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    g = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    for mode in ('logsumexp', 'linear'):
        for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
            assert check(lambda a, b, g, mode=mode: log_combine([a, b], [g, 1 - g], mode), (a, b, g))


def test_log_combine_errors():
    with pytest.raises(ValueError, match='combination'):
        log_combine([torch.zeros(1)], [torch.ones(1)], 'max')
    with pytest.raises(ValueError, match='one gate'):
        log_combine([torch.zeros(1)], [])


def test_sobel_equals_opencv():
    image = torch.rand(1, 1, 13, 17)
    array = image[0, 0].numpy()
    gx, gy = (x[0, 0].numpy() for x in sobel_xy(image))
    border = cv2.BORDER_CONSTANT
    # OpenCV takes lower minus upper
    np.testing.assert_allclose(gx, cv2.Sobel(array, cv2.CV_32F, 1, 0, borderType=border), atol=1e-5)
    np.testing.assert_allclose(-gy, cv2.Sobel(array, cv2.CV_32F, 0, 1, borderType=border), atol=1e-5)
    torch.testing.assert_close(sobel_magnitude(image)[0, 0], torch.from_numpy(np.abs(gx) + np.abs(gy)))


def test_ssim_equals_the_metric():
    a, b = torch.rand(2, 1, 30, 40, dtype=torch.float64), torch.rand(2, 1, 30, 40, dtype=torch.float64)
    expected = ssim_metric(a * 255, b * 255, b * 255).first
    torch.testing.assert_close(ssim_map(a, b).mean((1, 2, 3)), expected, atol=1e-9, rtol=0)


def test_ssim_of_small_and_equal_images():
    a = torch.rand(1, 3, 6, 9)
    out = ssim_map(a, a)
    assert out.shape == (1, 3, 2, 5)  # the window shrinks to 5
    torch.testing.assert_close(out, torch.ones_like(out))
