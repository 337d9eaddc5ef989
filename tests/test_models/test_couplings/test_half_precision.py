"""Autocast on a CPU: guides and task networks of every kind train and predict, mmcv's operators included."""

import pytest
import torch
from small_fusers import SMALL
from tiny_models import TASKS, faster_rcnn, make_batch

import mmfusion.models  # noqa: F401
from mmfusion.engine.optim_wrappers import BFloat16OptimWrapper
from mmfusion.models.couplings.task_network import TaskNetwork
from mmfusion.registry import MODELS
from mmfusion.utils.mmcv_precision import widen_mmcv_ops

GUIDE = dict(type='TwoStreamGuide', in_channels=32, attention_channels=16)


def total(losses):
    return sum(sum(value) if isinstance(value, list) else value for name, value in losses.items() if 'loss' in name)


@pytest.mark.parametrize('task', sorted(TASKS))
def test_task_networks_train_and_predict(task):
    torch.manual_seed(0)
    inputs, samples = make_batch(2, 96, 128)
    image = inputs['first'].requires_grad_()
    network = TaskNetwork(TASKS[task]()).train()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = total(network.loss(image, samples))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(image.grad).all() and image.grad.any()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    network.eval()
    with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):
        results = network.predict(image, samples)
    for sample in results:
        assert 'seg_logits' in sample if task == 'segmentor' else torch.isfinite(sample.pred_instances.bboxes).all()


def test_a_coupling_with_two_stage_guide_and_task_trains_with_amp():
    torch.manual_seed(0)
    coupling = MODELS.build(
        dict(
            type='JointCoupling',
            fuser=dict(type='MoEFusion', **SMALL['MoEFusion']),
            guide=dict(GUIDE, detector=faster_rcnn()),
            tasks=dict(det=faster_rcnn()),
            fusion_loss=dict(pixel=dict(type='BoxGuidedPixelLoss')),
        )
    ).train()
    wrapper = BFloat16OptimWrapper(optimizer=torch.optim.SGD(coupling.parameters(), lr=1e-3))
    before = [p.detach().clone() for p in coupling.parameters()]
    inputs, samples = make_batch(2, 64, 96)
    data = dict(inputs={name: list(images) for name, images in inputs.items()}, data_samples=samples)
    log = coupling.train_step(data, wrapper)
    assert all(torch.isfinite(value).all() for value in log.values())
    changed = sum(not torch.equal(a, b) for a, b in zip(before, coupling.parameters()))
    assert changed > len(before) // 2 and all(torch.isfinite(p).all() for p in coupling.parameters())
    coupling.eval()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        results = coupling.test_step(data)
    assert all(torch.isfinite(sample.pred_instances.scores).all() for sample in results)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_operators_compute_in_float32_and_return_what_they_were_given(dtype):
    from mmcv.ops import nms, roi_align

    widen_mmcv_ops()
    torch.manual_seed(0)
    feature = torch.randn(1, 3, 12, 16).to(dtype)
    rois = torch.tensor([[0.0, 1.0, 2.0, 9.0, 8.0], [0.0, 3.0, 1.0, 14.0, 11.0]])
    found, gradients = [], []
    for x in (feature.clone(), feature.float()):
        x.requires_grad_()
        y = roi_align(x, rois, (4, 4))
        y.float().square().sum().backward()
        found.append(y)
        gradients.append(x.grad)
    assert found[0].dtype == gradients[0].dtype == dtype
    assert torch.equal(found[0], found[1].to(dtype))
    torch.testing.assert_close(gradients[0].float(), gradients[1], atol=0.05, rtol=0.02)
    boxes, scores = torch.rand(50, 4) * 40, torch.rand(50).to(dtype)
    boxes[:, 2:] += boxes[:, :2]
    assert torch.equal(nms(boxes, scores, 0.5)[1], nms(boxes, scores.float(), 0.5)[1])


def test_float32_passes_untouched():
    from mmcv.ops.roi_align import RoIAlignFunction

    widen_mmcv_ops()
    once = RoIAlignFunction.forward
    widen_mmcv_ops()
    assert RoIAlignFunction.forward is once
    x = torch.randn(1, 2, 9, 9, dtype=torch.double, requires_grad=True)
    rois = torch.tensor([[0.0, 1.0, 1.0, 7.0, 7.0]], dtype=torch.double)
    assert torch.autograd.gradcheck(lambda value: RoIAlignFunction.apply(value, rois, (2, 2), 1.0, 2, 'avg', True), x)


def test_operators_in_channels_last():
    from mmcv.ops import RoIAlign

    widen_mmcv_ops()
    operator = RoIAlign(3, 0.5)
    rois = torch.tensor([[0, 1.0, 1, 12, 14], [1, 3, 2, 15, 10]])
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        x = (
            torch.rand(2, 4, 9, 8, generator=torch.Generator().manual_seed(0))
            .contiguous(memory_format=layout)
            .requires_grad_()
        )
        output = operator(x, rois)
        output.square().sum().backward()
        results.append((output, x.grad))
    torch.testing.assert_close(*results)
