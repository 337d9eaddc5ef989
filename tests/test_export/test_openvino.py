"""Exported files in OpenVINO, which reads them as they are: sizes and batches that it has not seen, in uint8."""

import numpy as np
import pytest
import torch
from seeing_networks import detecting, segmenting

from mmfusion.export import export_model, exporting
from mmfusion.export.checking import _lost_boxes, example_pictures
from mmfusion.registry import MODELS
from mmfusion.runtime import RuntimeModel

openvino = pytest.importorskip('openvino', reason='openvino is not installed: pip install openvino')
for package in exporting.NEEDED:
    pytest.importorskip(package, reason=f'{package} is not installed: {exporting.INSTALL}')
SHAPES = (1, 81, 75), (2, 64, 99), (3, 128, 96)


def run_both(file, model, tasks=()):
    """Outputs of OpenVINO and of onnxruntime for batches of several sizes."""
    export_model(model, file, tasks=tasks)
    compiled = openvino.Core().compile_model(str(file), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    run = RuntimeModel(file)
    for shape in SHAPES:
        pictures = example_pictures(shape, (3, 1), 'uint8')
        got = {output.get_any_name(): value for output, value in compiled(pictures).items()}
        expected = run.session.run(run.outputs, dict(zip(('first', 'second'), pictures)))
        expected = dict(zip(run.outputs, expected))
        difference = np.abs(got['fused'].astype(int) - expected['fused'])
        assert got['fused'].dtype == np.uint8 and got['fused'].shape == (*shape, 3) and got['fused'].std() > 1
        assert difference.max() <= 1 and (difference > 0).mean() <= 1e-4
        yield got, expected


def test_fuser(tmp_path):
    torch.manual_seed(0)
    assert len(list(run_both(tmp_path / 'a.onnx', MODELS.build(dict(type='DenseFuse')).eval()))) == len(SHAPES)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['fcos', 'rtmdet', 'yolox', 'retinanet', 'gfl'])
def test_detector(name, tmp_path):
    """``NonMaxSuppression``, whose number of boxes depends on the picture, included."""
    for got, expected in run_both(tmp_path / 'a.onnx', detecting(name), ['det']):
        assert (expected['scores'] > 0).sum() > 10 and got['labels'].dtype == np.int64
        assert _lost_boxes(expected, got) <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize('name', ['fcn_small', 'bisenetv2', 'segformer_b0', 'deeplabv3plus_r50'])
def test_segmentor(name, tmp_path):
    for got, expected in run_both(tmp_path / 'a.onnx', segmenting(name), ['seg']):
        assert got['class_map'].dtype == np.uint8 and len(np.unique(expected['class_map'])) > 1
        assert (got['class_map'] != expected['class_map']).mean() <= 1e-3
