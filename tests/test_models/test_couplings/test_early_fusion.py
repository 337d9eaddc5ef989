"""Four-channel task networks: what they compute before training, what weights they take, and that both sources teach
them."""

import copy

import pytest
import tiny_models
import torch

from mmfusion.models.couplings import EarlyFusionCoupling, TaskNetwork
from mmfusion.models.couplings.early_fusion import EarlyFusionNetwork, first_convolution, inflate
from mmfusion.registry import MODELS


def yolox():
    """A detector that moves pixels into channels before its first convolution."""
    return dict(
        type='mmdet.YOLOX',
        data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
        backbone=dict(
            type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125, out_indices=(2, 3, 4), use_depthwise=True
        ),
        neck=dict(type='YOLOXPAFPN', in_channels=[32, 64, 128], out_channels=32, num_csp_blocks=1, use_depthwise=True),
        bbox_head=dict(
            type='YOLOXHead', num_classes=tiny_models.CLASSES, in_channels=32, feat_channels=32, use_depthwise=True
        ),
        train_cfg=dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5)),
        test_cfg=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.65)),
    )


NETWORKS = dict(tiny_models.TASKS, yolox=yolox)


@pytest.mark.parametrize('name', list(NETWORKS))
def test_equal_channels_give_the_response_of_the_network_as_published(name):
    """Color passes the preprocessor as ever; of four equal channels the features are those of three."""
    config = NETWORKS[name]()
    wide, plain = EarlyFusionNetwork(copy.deepcopy(config)), TaskNetwork(config)
    wide.load_state_dict(plain.state_dict())  # weights of three channels are taken
    inputs, samples = tiny_models.make_batch(2, first_channels=1)
    image = inputs['first']
    four, _ = wide.eval().preprocess(image.expand(-1, 4, -1, -1), samples, training=False)
    three, _ = plain.eval().preprocess(image, samples, training=False)
    assert four.shape[1] == 4 and torch.equal(four[:, :3], three)
    grey = three.mean(1, keepdim=True)
    with torch.no_grad():
        ours, theirs = (
            wide.network.backbone(grey.expand(-1, 4, -1, -1)),
            plain.network.backbone(grey.expand(-1, 3, -1, -1)),
        )
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(
            a, b, rtol=1e-3, atol=1e-4
        )  # the first convolution sums other products in another order


def test_inflated_weights_of_moved_pixels():
    """With pixels in channels every place keeps its own colors: (place, color), not (color, place)."""
    weight = torch.arange(12.0).view(1, 12, 1, 1)
    wide = inflate(weight).flatten().tolist()
    assert wide == [0.75 * value for value in (0, 1, 2, 1, 3, 4, 5, 4, 6, 7, 8, 7, 9, 10, 11, 10)]


def test_pretrained_weights_are_inflated(tmp_path):
    plain = TaskNetwork(tiny_models.rtmdet())
    path = tmp_path / 'det.pth'
    torch.save(dict(state_dict=plain.network.state_dict(), meta={}), path)
    config = dict(tiny_models.rtmdet(), init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    coupling = EarlyFusionCoupling(tasks=dict(det=config))
    coupling.init_weights()
    task = coupling.tasks['det']
    stem = task._stem[0]
    own = dict(plain.network.named_parameters())
    for key, value in task.network.named_parameters():
        assert torch.equal(value, inflate(own[key]) if value is stem.weight else own[key]), key
    before = stem.weight.clone()
    task.init_weights()  # a second call changes nothing
    assert torch.equal(before, stem.weight)
    again = EarlyFusionCoupling(tasks=dict(det=tiny_models.rtmdet()))
    again.load_state_dict(coupling.state_dict())  # and weights of four channels are taken as they are
    assert torch.equal(again.tasks['det']._stem[0].weight, stem.weight)


@pytest.mark.parametrize('name', list(NETWORKS))
def test_trains_and_predicts(name):
    coupling = MODELS.build(
        dict(type='EarlyFusionCoupling', tasks=dict(task=NETWORKS[name]()), task_weights=dict(task=0.5))
    )
    inputs, samples = tiny_models.make_batch(2)
    inputs = {key: value.requires_grad_() for key, value in inputs.items()}
    losses, logged = coupling.parse_losses(coupling(inputs, samples, mode='loss'))
    losses.backward()
    assert all(key.startswith('task.') or key == 'loss' for key in logged)
    assert all(value.grad.abs().sum() > 0 for value in inputs.values())
    stem = coupling.tasks['task']._stem[0]
    assert (stem.weight.grad.unflatten(1, (-1, 4)).abs().sum((0, 1, 3, 4)) > 0).all()
    coupling.eval()
    with torch.no_grad():
        results = coupling(*tiny_models.make_batch(2), mode='predict')
    assert (
        all('pred_instances' in sample or 'pred_sem_seg' in sample for sample in results) and 'fused' not in results[0]
    )


def test_color_may_be_the_second_source():
    coupling = EarlyFusionCoupling(tasks=dict(det=tiny_models.rtmdet()))
    inputs, _ = tiny_models.make_batch(1)
    image = coupling(inputs)
    assert (
        image.shape[1] == 4
        and torch.equal(image[:, :3], inputs['first'])
        and torch.equal(image[:, 3:], inputs['second'])
    )
    assert torch.equal(coupling(dict(first=inputs['second'], second=inputs['first'])), image)


def test_a_backbone_without_a_convolution_at_its_beginning():
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(4, 4, 1)

        def forward(self, x):
            return self.conv(torch.cat([x, x[:, :1]], 1))

    with pytest.raises(ValueError, match='first convolution'):
        first_convolution(Odd())
