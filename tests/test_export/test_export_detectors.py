"""A fuser and a detector as one graph: boxes against the coupling's own prediction, what is refused, and the runtime."""

import json

import cv2
import numpy as np
import pytest
import tiny_detectors
import torch

from mmfusion.cli.main import main
from mmfusion.export import export_model, exporting
from mmfusion.export.checking import _lost_boxes, example_pictures
from mmfusion.export.graph import FusionGraph
from mmfusion.models.couplings import JointCoupling
from mmfusion.runtime import RuntimeModel
from mmfusion.structures import FusionDataSample
from mmfusion.utils import UserError

for package in exporting.NEEDED:
    pytest.importorskip(package, reason=f'{package} is not installed: {exporting.INSTALL}')
LAST = ('conv_cls', 'conv_reg', 'conv_centerness', 'retina_cls', 'retina_reg', 'gfl_cls', 'gfl_reg')
NAMES = ('fcos', 'rtmdet', 'yolox', 'retinanet', 'gfl')


def coupling(name):
    """A rule and a detector of random weights, which sees many boxes."""
    model = JointCoupling(dict(type='AverageFuser'), tasks=dict(det=getattr(tiny_detectors, name)(3))).eval()
    torch.manual_seed(0)
    network = model.tasks['det'].network
    head = network.bbox_head
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
    last = [getattr(head, part) for part in LAST if hasattr(head, part)]
    last += [layer for part in ('cls', 'reg', 'obj') for layer in getattr(head, f'multi_level_conv_{part}', ())]
    spread = {}
    hooks = [
        module.register_forward_hook(
            lambda module, _, output: spread.update({module: max(output.abs().max().item() / 2, spread.get(module, 0))})
        )
        for module in last
    ]
    with torch.no_grad():
        head(network.extract_feat(torch.rand(1, 3, 96, 128) * 255))
        for module, value in spread.items():  # neither saturated scores, which tie, nor boxes without end
            module.weight.div_(value)
        if hasattr(head, 'gfl_reg'):  # small boxes, or each takes the others away
            head.gfl_reg.bias.view(4, -1)[:, 1] += 5
    for hook in hooks:
        hook.remove()
    head.test_cfg.update(score_thr=0.05)
    if 'nms_pre' in head.test_cfg:
        head.test_cfg.update(nms_pre=200)
    return model


def predicted(model, pair):
    """Boxes as the coupling predicts them, in the form of the graph."""
    number, height, width = pair[0].shape[:3]
    samples = [
        FusionDataSample(metainfo=dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0)))
        for _ in range(number)
    ]
    planes = dict(zip(('first', 'second'), (picture.permute(0, 3, 1, 2).float() / 255 for picture in pair)))
    with torch.no_grad():
        found = [sample.pred_instances for sample in model(planes, samples, mode='predict')]
    most = max(map(len, found))
    form = dict(
        boxes=np.zeros((number, most, 4)), scores=np.zeros((number, most)), labels=-np.ones((number, most), int)
    )
    for image, instances in enumerate(found):
        for name, values in (('boxes', instances.bboxes), ('scores', instances.scores), ('labels', instances.labels)):
            form[name][image, : len(instances)] = values
    return form


@pytest.mark.parametrize('name', NAMES)
def test_graph_is_what_the_coupling_predicts(name):
    """Dense decoding, before any export."""
    model = coupling(name)
    pair = [torch.from_numpy(picture) for picture in example_pictures((2, 72, 99), (3, 1), 'uint8')]
    with torch.no_grad():
        found = {key: value.numpy() for key, value in FusionGraph(model, ['det'])(*pair).items()}
    expected = predicted(model, pair)
    expected = {key: value[:, : found['scores'].shape[1]] for key, value in expected.items()}
    assert (expected['scores'] > 0).sum() > 10
    assert _lost_boxes(expected, found) <= 0.01
    np.testing.assert_array_equal(found['labels'] < 0, found['scores'] == 0)


@pytest.mark.parametrize('name', [pytest.param(name, marks=[pytest.mark.slow]) for name in NAMES])
def test_export(name, tmp_path):
    model, file = coupling(name), tmp_path / 'a.onnx'
    report = export_model(model, file, tasks=['det'])
    assert report.info.tasks['det']['kind'] == 'detection' and report.info.smallest == 64
    pictures = example_pictures((1, 81, 75), (3, 1), 'uint8', seed=5)
    result = RuntimeModel(file)(*(picture[0] for picture in pictures))
    expected = predicted(model, [torch.from_numpy(picture) for picture in pictures])
    got = dict(boxes=result.boxes[None], scores=result.scores[None], labels=result.labels[None])
    assert len(result.boxes) > 10 and (np.diff(result.scores) <= 0).all()
    assert _lost_boxes({key: value[:, : len(result.boxes)] for key, value in expected.items()}, got) <= 0.02
    for source, picture in zip('ab', pictures):
        cv2.imwrite(str(tmp_path / f'{source}.png'), picture[0, ..., ::-1])
    files = [str(tmp_path / f'{part}.png') for part in 'abc']
    main(['run', str(file), *files[:2], '--out', files[2], '--score-thr', '0.06'])
    rows = json.loads((tmp_path / 'c_boxes.json').read_text())
    assert len(rows) == (result.scores >= 0.06).sum() and rows[0]['label'] == str(result.labels[0])


@pytest.mark.parametrize(
    'name,message',
    [
        ('faster_rcnn', 'a FasterRCNN, which cuts boxes out of features by an operator that ONNX has not'),
        ('yolov3', 'a YOLOV3, which has the head YOLOV3Head; detectors with RTMDetHead'),
    ],
)
def test_refusals(name, message, tmp_path):
    model = JointCoupling(dict(type='AverageFuser'), tasks=dict(det=getattr(tiny_detectors, name)(3))).eval()
    with pytest.raises(UserError, match=message):
        export_model(model, tmp_path / 'a.onnx', tasks=['det'])
    assert not list(tmp_path.iterdir())
