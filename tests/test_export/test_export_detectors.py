"""A fuser and a detector as one graph: boxes against the coupling's own prediction, what is refused, and the
runtime.
"""

import json

import cv2
import numpy as np
import pytest
import tiny_detectors
import torch
from seeing_networks import detecting

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
NAMES = ('fcos', 'rtmdet', 'yolox', 'retinanet', 'gfl')


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
    model = detecting(name)
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
    model, file = detecting(name), tmp_path / 'a.onnx'
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


TWO_STAGES = r'which works in two stages and cuts boxes out of features .* Export the fuser alone, without --tasks'


@pytest.mark.parametrize(
    'name,message',
    [
        ('faster_rcnn', f'a FasterRCNN, {TWO_STAGES}'),
        ('cascade_rcnn', f'a CascadeRCNN, {TWO_STAGES}'),
        ('mask_rcnn', f'a MaskRCNN, {TWO_STAGES}'),
        ('yolov3', 'a YOLOV3, which has the head YOLOV3Head; detectors with RTMDetHead'),
        ('detr', 'a DETR, which has the head DETRHead'),
    ],
)
def test_refusals(name, message, tmp_path, monkeypatch):
    """Before anything that takes time: nothing is traced, and pairs and labels are not looked at."""
    monkeypatch.setattr(exporting, 'trace', lambda *args: pytest.fail('traced before the refusal'))
    model = JointCoupling(dict(type='AverageFuser'), tasks=dict(det=getattr(tiny_detectors, name)(3))).eval()
    for options in {}, dict(precision='half', calibrate=('missing', 'missing'), labels='missing'):
        with pytest.raises(UserError, match=message):
            export_model(model, tmp_path / 'a.onnx', tasks=['det'], **options)
    assert not list(tmp_path.iterdir())


def test_refusal_of_a_shipped_config(tmp_path, capsys):
    """As a user meets it: one line, and exit code 2."""
    arguments = ['--tasks', 'det', '--out', str(tmp_path / 'a.onnx')]
    with pytest.raises(SystemExit) as error:
        main(['export', 'moe_fusion_llvip_faster_rcnn', *arguments])
    said = capsys.readouterr().err
    assert error.value.code == 2 and 'FasterRCNN, which works in two stages' in said and 'Traceback' not in said
    assert not list(tmp_path.iterdir())
