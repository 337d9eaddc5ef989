"""Every shipped segmentor as a task network: gradient, sizes, ignored pixels, padding, learning."""

import copy
from pathlib import Path

import pytest
import tiny_models
import torch
from mmengine.config import Config

from mmfusion.models.couplings import JointCoupling, TaskNetwork
from mmfusion.models.couplings.steps.task_labels import needed_labels

FILES = sorted((Path(__file__).parents[3] / 'configs' / '_base_' / 'segmentors').glob('*.py'))


def build(path, classes=tiny_models.CLASSES):
    cfg = Config.fromfile(path).segmentor.to_dict()
    heads = [
        cfg['decode_head'],
        *([cfg['auxiliary_head']] if isinstance(cfg.get('auxiliary_head'), dict) else cfg.get('auxiliary_head', [])),
    ]
    for head in heads:
        head['num_classes'] = classes
    cfg['backbone'].pop('init_cfg', None)
    return cfg


def total(losses):
    return sum(value for name, value in losses.items() if 'loss' in name)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_gradient_sizes_and_ignored_pixels(path):
    task = TaskNetwork(build(path)).train()
    assert all('Sync' not in type(module).__name__ for module in task.modules())
    _, samples = tiny_models.make_batch(2, 70, 100)  # no multiple of anything
    for sample in samples:
        sample.gt_sem_seg.data[:, 40:] = 255
    image = torch.rand(2, 3, 70, 100, requires_grad=True)
    loss = total(task.loss(image, samples))
    loss.backward()
    assert torch.isfinite(loss) and image.grad.abs().sum() > 0
    samples[0].set_metainfo(dict(ori_shape=(140, 200), scale_factor=(0.5, 0.5)))
    with torch.no_grad():
        predicted = task.eval().predict(image.detach(), samples)
    assert [sample.pred_sem_seg.data.shape for sample in predicted] == [(1, 140, 200), (1, 70, 100)]
    for sample in samples:
        sample.gt_sem_seg.data[:] = 255
    nothing = total(task.train().loss(image, samples))
    assert nothing.item() == pytest.approx(0, abs=1e-6)  # neither NaN nor a loss


@pytest.mark.parametrize(
    'path', [path for path in FILES if path.stem in ('fcn_small', 'segformer_b0')], ids=lambda path: path.stem
)
def test_padding_of_the_batch_does_not_thin_out_the_loss(path):
    """Cross-entropy is the mean over labeled pixels, here against the formula."""
    cfg = build(path)
    cfg['decode_head'].update(dropout_ratio=0.0, sampler=None)
    task = TaskNetwork(cfg).eval()  # fixed statistics
    _, samples = tiny_models.make_batch(1)
    samples[0].gt_sem_seg.data[:, :, 50:] = 255
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        found = task.loss(image, samples)['decode.loss_ce']
        inputs, _ = task.preprocess(image, copy.deepcopy(samples), training=True)
        logits = torch.nn.functional.interpolate(
            task.network.encode_decode(inputs, [dict(img_shape=(64, 96))]), (64, 96), mode='bilinear'
        )
        wanted = torch.nn.functional.cross_entropy(logits[..., :50], samples[0].gt_sem_seg.data[..., :50])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_the_small_one_learns_and_teaches_the_fused_image():
    """A few steps on one batch: what is bright is class 1, and the segmentor finds out."""
    inputs, samples = tiny_models.make_batch(2, 64, 96)
    coarse = (torch.rand(2, 1, 8, 12) > 0.7).float()
    inputs['second'] = torch.nn.functional.interpolate(coarse, (64, 96))
    inputs['first'] = inputs['first'] * 0.3
    for sample, picture in zip(samples, inputs['second']):
        sample.gt_sem_seg.data = picture.long()
    model = JointCoupling(
        dict(type='AverageFuser'), tasks=dict(seg=build(FILES[[path.stem for path in FILES].index('fcn_small')], 2))
    ).train()
    model.init_weights()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    accuracies = []
    for _ in range(40):
        losses = model(inputs, samples, mode='loss')
        accuracies.append(losses['seg.decode.acc_seg'].item())
        optimizer.zero_grad()
        total(losses).backward()
        optimizer.step()
    share = inputs['second'].mean().item()
    assert accuracies[-1] > 100 * max(share, 1 - share) + 5


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_segmentors_learn_from_class_maps(path):
    """Heads of depthwise convolutions are no heads of depth."""
    assert list(needed_labels(TaskNetwork(build(path)).network, 'segmentation')) == ['gt_sem_seg']
