import copy

import pytest
import tiny_models
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmfusion.models.guides import CrossModalAttention, TwoStreamGuide
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample

DETECTORS = {'single-stage': tiny_models.rtmdet, 'two-stage': tiny_models.faster_rcnn, 'transformer': tiny_models.detr}


def make_guide(kind='single-stage', **kwargs):
    guide = TwoStreamGuide(DETECTORS[kind](), **{**dict(in_channels=32, attention_channels=8), **kwargs})
    guide.init_weights()
    return guide


def make_batch(size=(64, 96), batch=2):
    samples = []
    for _ in range(batch):
        sample = FusionDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0), sample_id='a'))
        boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0], [30.0, 20.0, 60.0, 50.0]])
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 2]))
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        samples.append(sample)
    return torch.rand(batch, 3, *size), torch.rand(batch, 1, *size), samples


def total(losses):
    return sum(sum(value) if isinstance(value, list) else value for key, value in losses.items() if 'loss' in key)


@pytest.mark.parametrize('kind', DETECTORS)
def test_any_detector(kind):
    guide = make_guide(kind).train()
    first, second, samples = make_batch()
    guidance, losses = guide.loss(first, second, samples)
    attention = guidance['attention']
    assert (
        attention.shape[:2] == (2, 2) and attention.min() >= 0 and attention.max() <= 1 and not attention.requires_grad
    )
    assert {key.split('.')[0] for key in losses} == {'first', 'second'}
    assert sum('loss' in key for key in losses) >= 4
    total(losses).backward()
    for stream in (guide.first, guide.second):
        assert all(p.grad is not None for p in stream.backbone.parameters() if p.requires_grad)
        assert sum(p.grad.abs().sum() for p in stream.neck.parameters() if p.grad is not None) > 0
    assert all(
        p.grad.abs().sum() > 0 for p in (guide.attention.fusion_conv.weight, guide.attention.first.reduce.weight)
    )
    guide.eval()
    with torch.no_grad():
        predictions = guide.predict(first, second, samples)
    assert all('pred_instances' in sample for stream in ('first', 'second') for sample in predictions[stream])
    assert all('pred_instances' not in sample for sample in samples)


def test_forward_stops_after_the_finest_attention():
    guide = make_guide().eval()
    first, second, samples = make_batch()
    calls = []
    for stream in (guide.first, guide.second):
        stream.bbox_head.register_forward_hook(lambda *args: calls.append('head'))
    guide.attention.fusion_conv.register_forward_hook(lambda layer, args, out: calls.append(tuple(out.shape[-2:])))
    with torch.no_grad():
        guidance = guide(first, second)
    assert calls == [(8, 12)]  # stride 8, one level, no head
    with torch.no_grad():
        same, _ = guide.loss(first, second, samples)
    torch.testing.assert_close(guidance['attention'], same['attention'])


def test_nobodys_data_change():
    guide = make_guide('two-stage').train()
    first, second, samples = make_batch()
    before = copy.deepcopy(samples)
    kept = first.clone(), second.clone()
    guide.loss(first, second, samples)
    assert torch.equal(first, kept[0]) and torch.equal(second, kept[1])
    for sample, old in zip(samples, before):
        assert sample.metainfo == old.metainfo
        assert torch.equal(sample.gt_instances.bboxes, old.gt_instances.bboxes)
        assert torch.equal(sample.gt_instances.labels, old.gt_instances.labels)


def test_streams_learn_as_the_detector_itself_does():
    """With exchange and attention silenced, each stream's losses are the plain detector's on the gray image."""
    guide = make_guide().train()
    with torch.no_grad():
        guide.attention.fusion_conv.weight.zero_()
        guide.attention.fusion_conv.bias.zero_()
        for source in (guide.attention.first, guide.attention.second):
            source.score_norms[0].weight.zero_()
            source.score_norms[0].bias.fill_(-100.0)
    first, second, samples = make_batch()
    _, losses = guide.loss(first, second, samples)
    cfg = dict(tiny_models.rtmdet(), _scope_='mmdet')
    for name, image in (('first', first), ('second', second)):
        plain = MODELS.build(cfg).train()
        plain.load_state_dict(getattr(guide, name).state_dict())
        weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        grey = (image * weights).sum(1, keepdim=True) if image.shape[1] == 3 else image
        data = plain.data_preprocessor(
            dict(inputs=list(grey.expand(-1, 3, -1, -1) * 255), data_samples=copy.deepcopy(samples)), True
        )
        expected = plain(**data, mode='loss')
        assert {f'{name}.{key}' for key in expected} == {key for key in losses if key.startswith(name)}
        for key, value in expected.items():
            torch.testing.assert_close(torch.stack(losses[f'{name}.{key}']), torch.stack(value), rtol=1e-4, atol=1e-4)


def test_boxes_are_cut_out_of_features_in_any_layout():
    """mmcv's RoIAlign on a CPU does not look at strides; the guide's features lie in channels_last there."""
    guide = make_guide('two-stage').eval()
    first, second, _ = make_batch()
    boxes = [torch.tensor([[4.0, 6.0, 50.0, 40.0], [30.0, 10.0, 90.0, 60.0]]), torch.tensor([[0.0, 0.0, 96.0, 64.0]])]
    rois = torch.cat([torch.cat([torch.full((len(box), 1), float(index)), box], 1) for index, box in enumerate(boxes)])
    with torch.no_grad():
        (features, _), _ = guide._gate(first, second, [(64, 96)] * 2)
        assert any(not level.is_contiguous() for level in features)
        extractor = guide.first.roi_head.bbox_roi_extractor
        found, expected = (
            extractor(levels[:4], rois) for levels in (features, [level.contiguous() for level in features])
        )
    assert expected.std() > 0
    torch.testing.assert_close(found, expected)


def test_attention_formula():
    layer = CrossModalAttention(in_channels=6, attention_channels=5).eval()
    first, second = [[torch.randn(2, 6, s, s + 1) for s in (8, 4)] for _ in range(2)]
    for source in (layer.first, layer.second):
        source.reduce_norms[0].running_mean.normal_()
        source.reduce_norms[0].running_var.uniform_(0.5, 2)
    kept = [x.clone() for x in first]
    gated_first, gated_second, maps = layer(first, second)
    for level in range(2):
        assert torch.equal(first[level], kept[level])
        both = torch.cat([first[level], second[level]], 1)
        w, b = layer.fusion_conv.weight[:, :, 0, 0], layer.fusion_conv.bias
        common = (torch.einsum('oc,nchw->nohw', w, both) + b.view(1, -1, 1, 1)).clamp(min=0)
        for side, (x, source, gated) in enumerate(
            ((first, layer.first, gated_first), (second, layer.second, gated_second))
        ):
            f = x[level] + common
            norm = source.reduce_norms[0]
            y = torch.einsum('oc,nchw->nohw', source.reduce.weight[:, :, 0, 0], f)
            y = (y - norm.running_mean.view(1, -1, 1, 1)) / (norm.running_var.view(1, -1, 1, 1) + 1e-5).sqrt()
            y = torch.einsum('oc,nchw->nohw', source.score.weight[:, :, 0, 0], y.clamp(min=0)) / (1 + 1e-5) ** 0.5
            torch.testing.assert_close(maps[level][:, side : side + 1], y.sigmoid(), atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(gated[level], f * (1 + y.sigmoid()), atol=1e-5, rtol=1e-5)


def test_batch_norms_shared_or_per_level():
    features = [torch.randn(2, 6, s, s) for s in (8, 4, 2)]
    shared = CrossModalAttention(6, 5, num_levels=3).train()
    shared(features, features)
    assert shared.first.reduce_norms[0].num_batches_tracked == 3
    own = CrossModalAttention(6, 5, num_levels=3, levels_shared_bn=False).train()
    own(features, features)
    assert [norm.num_batches_tracked.item() for norm in own.first.reduce_norms] == [1, 1, 1]
    with pytest.raises(ValueError, match='num_levels=3'):
        own([*features, features[0]], [*features, features[0]])


def test_detach_or_not():
    first, second, samples = make_batch()
    guide = make_guide(detach=False).train()
    guide(first, second)['attention'].sum().backward()
    assert guide.first.backbone.stem[0].conv.weight.grad.abs().sum() > 0
    assert not make_guide()(first, second)['attention'].requires_grad


@pytest.mark.parametrize('size', [(50, 70), (64, 65)])
def test_sizes_that_need_padding(size):
    """The padding is no part of the guidance: more of it changes the map only near the border (through the receptive
    field).
    """
    guide = make_guide('two-stage').eval()
    first, second, samples = make_batch(size)
    with torch.no_grad():
        attention = guide(first, second)['attention']
    assert attention.shape == (2, 2, *size)
    guide.train()
    assert torch.isfinite(total(guide.loss(first, second, samples)[1]))


def test_clear_errors():
    first, second, samples = make_batch()
    with pytest.raises(ValueError, match='in_channels=48'):
        make_guide(in_channels=48)(first, second)
    del samples[1].gt_instances
    with pytest.raises(ValueError, match="sample 'a' has no gt_instances"):
        make_guide().loss(first, second, samples)
    with pytest.raises(TypeError, match='given by its config'):
        TwoStreamGuide('mmdet.RTMDet')
    with pytest.raises(TypeError, match='needs a detector'):
        TwoStreamGuide(dict(type='mmdet.FPN', in_channels=[8], out_channels=8, num_outs=1))


def test_copies_and_state():
    guide = make_guide().eval()
    twin = copy.deepcopy(guide)
    first, second, _ = make_batch()
    with torch.no_grad():
        torch.testing.assert_close(twin(first, second)['attention'], guide(first, second)['attention'])
    assert not any('extract_feat' in key for key in guide.state_dict())


def test_published_numbers_of_parameters(repo_dir):
    cfg = Config.fromfile(repo_dir / 'configs/_base_/fusers/moe_fusion.py')
    with torch.device('meta'):
        guide = MODELS.build(cfg.guide)

    def count(module):
        return sum(p.numel() for p in module.parameters())

    streams = guide.first, guide.second
    assert sum(count(s.backbone) for s in streams) == 47_016_064
    assert sum(count(s.neck) for s in streams) == 6_688_768
    assert sum(count(s.rpn_head) for s in streams) == 1_187_870
    background_box = 4 * (1024 + 1)  # the original regresses a box for background too
    assert sum(count(s.roi_head) for s in streams) == 27_863_110 - 2 * background_box
    assert count(guide.attention) == 131_328 + 66_308


@pytest.mark.parametrize('name', ['moe_fusion', 'moe_fusion_light'])
def test_base_configs_build(repo_dir, name):
    cfg = Config.fromfile(repo_dir / f'configs/_base_/fusers/{name}.py')
    assert set(cfg.keys()) == {'fuser', 'guide', 'fusion_loss'}  # nothing else may leak into configs that inherit
    with torch.device('meta'):
        fuser, guide = MODELS.build(cfg.fuser), MODELS.build(cfg.guide)
    assert 'attention' in fuser.guidance_keys and isinstance(guide, TwoStreamGuide)
    for loss in cfg.fusion_loss.values():
        MODELS.build(loss)
