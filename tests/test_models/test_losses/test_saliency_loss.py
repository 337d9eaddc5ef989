"""SaliencyFusionLoss and MS-SSIM: slow twins, an outside twin, and what they must do on constructed images."""

import itertools

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from mmfusion.evaluation.functional import ms_ssim as ms_ssim_metric
from mmfusion.models.layers import ms_ssim
from mmfusion.models.losses import SaliencyFusionLoss, saliency_weights, visual_saliency
from mmfusion.registry import MODELS


def saliency_by_loops(image):
    """Slow twin: every pixel against every other, no histogram."""
    levels = np.round(image.astype(np.float64) * 255)
    contrast = np.array([np.abs(levels - value).sum() for value in levels.flat]).reshape(levels.shape)
    return contrast / contrast.max() if contrast.max() else contrast


def picture(seed=0, size=(1, 1, 19, 23), dtype=torch.float32):
    return torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=dtype).square()  # dark on the whole


def test_saliency_against_a_loop_over_pixels():
    batch = torch.cat([picture(0), picture(1).round(), torch.full((1, 1, 19, 23), 0.4)])  # gray, two levels, one level
    maps = visual_saliency(batch)
    for image, found in zip(batch, maps):
        np.testing.assert_allclose(found[0].numpy(), saliency_by_loops(image[0].numpy()), atol=1e-6)
    assert maps.amax(dim=(1, 2, 3)).tolist() == [1, 1, 0]


def test_saliency_of_rgb_out_of_range_and_differentiable_sources():
    rgb = picture(size=(2, 3, 17, 16))
    grey = (rgb * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(
        visual_saliency(rgb), visual_saliency(grey), atol=2e-2, rtol=0
    )  # rounding may move a level
    wild = torch.cat([grey - 2, grey + 3], dim=2)
    assert visual_saliency(wild).min() == 1  # two clamped levels, equally frequent
    grey.requires_grad_()
    assert not visual_saliency(grey).requires_grad


def test_weights_are_a_softmax_of_both_maps():
    first, second = picture(0), picture(1)
    a, b = (saliency_by_loops(x[0, 0].numpy()) for x in (first, second))
    expected = np.exp(5 * a) / (np.exp(5 * a) + np.exp(5 * b))
    weights = saliency_weights(first, second)
    np.testing.assert_allclose(weights[0, 0].numpy(), expected, atol=2e-6)
    torch.testing.assert_close(weights.sum(1), torch.ones(1, 19, 23))
    torch.testing.assert_close(saliency_weights(second, first).flip(1), weights)
    assert (saliency_weights(first, second, 0) == 0.5).all()


def test_a_warm_object_comes_from_the_source_that_shows_it():
    visible, infrared = torch.full((1, 1, 32, 32), 0.3), torch.full((1, 1, 32, 32), 0.2)
    visible[..., 2:6, 2:6] = 0.9  # a lamp, in the visible image only
    infrared[..., 20:26, 10:16] = 1.0  # a person, in the infrared image only
    target = SaliencyFusionLoss().composite(visible, infrared)
    assert target[0, 0, 3, 3] > 0.85 and target[0, 0, 22, 12] > 0.95
    loss = SaliencyFusionLoss()
    assert loss(target, visible, infrared) < 1e-6 < loss((visible + infrared) / 2, visible, infrared)


@pytest.mark.parametrize('channels', [1, 3])
def test_loss_against_numpy_and_scikit_image(channels):
    fused, first, second = (picture(seed, (2, channels, 24, 27), torch.float64) for seed in range(3))
    expected = []
    for image, a, b in zip(fused, first, second):
        w = saliency_weights(a[None], b[None])[0].numpy()
        target = w[:1] * a.numpy() + w[1:] * b.numpy()
        similarity = np.mean(
            [
                structural_similarity(
                    image[c].numpy(),
                    target[c],
                    data_range=1,
                    gaussian_weights=True,
                    sigma=1.5,
                    use_sample_covariance=False,
                )
                for c in range(channels)
            ]
        )
        expected.append((np.abs(image.numpy() - target).mean(), ((image.numpy() - target) ** 2).mean(), similarity))
    l1, mse, similarity = np.mean(expected, axis=0)
    assert SaliencyFusionLoss()(fused, first, second).item() == pytest.approx(l1 + 1.1 * (1 - similarity), rel=1e-9)
    other = SaliencyFusionLoss(pixel='mse', pixel_weight=3, similarity_weight=0.5, loss_weight=2)
    assert other(fused, first, second).item() == pytest.approx(2 * (3 * mse + 0.5 * (1 - similarity)), rel=1e-9)


def test_batch_is_the_mean_over_images():
    loss = SaliencyFusionLoss()
    images = [picture(seed, (3, 1, 20, 31)) for seed in range(3)]
    each = [loss(*(x[i : i + 1] for x in images)) for i in range(3)]
    torch.testing.assert_close(loss(*images), torch.stack(each).mean())


def test_ms_ssim_against_the_metric_and_on_small_images():
    fused, first, second = ((picture(seed, (2, 1, 171, 180), torch.float64) * 255).round() for seed in range(3))
    fused = (fused + first + second).clamp(0, 255)
    torch.testing.assert_close(
        ms_ssim(fused / 255, first / 255), ms_ssim_metric(fused, first, second).first, rtol=1e-6, atol=1e-9
    )
    small = picture(3, (2, 1, 16, 45), torch.float64)
    torch.testing.assert_close(ms_ssim(small, small), torch.ones(2, dtype=torch.float64))
    assert (ms_ssim(small, 1 - small) < 0.1).all()
    noisy = (small[:1, :, :, :40] + 0.3 * picture(4, (1, 1, 16, 40), torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ms_ssim(x, small[:1, :, :, :40]), noisy)


def test_ms_ssim_loss_learns_the_composite():
    first, second = picture(0, (1, 1, 48, 48)), picture(1, (1, 1, 48, 48))
    loss = MODELS.build(dict(type='SaliencyFusionLoss', pixel='mse', similarity='ms_ssim', similarity_weight=10.0))
    fused = torch.full_like(first, 0.5).requires_grad_()
    optimizer = torch.optim.Adam([fused], lr=0.03)
    start = loss(fused, first, second).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss(fused, first, second).backward()
        optimizer.step()
    assert loss(fused, first, second).item() < 0.1 * start


def test_bad_options_are_named():
    for options, message in (
        (dict(pixel='huber'), 'pixel'),
        (dict(similarity='lpips'), 'similarity'),
        (dict(sharpness=-1), 'negative'),
        (dict(pixel_weight=0, similarity_weight=0), 'positive'),
        (dict(window=10), 'odd'),
    ):
        with pytest.raises(ValueError, match=message):
            SaliencyFusionLoss(**options)
    for shape in itertools.product((1, 3), (16, 33)):
        images = [picture(i, (1, shape[0], shape[1], 16)) for i in range(3)]
        assert torch.isfinite(SaliencyFusionLoss()(*images))  # any size, gray and color
