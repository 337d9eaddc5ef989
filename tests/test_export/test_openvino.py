"""An exported file in OpenVINO, which reads it as it is."""

import numpy as np
import pytest
import torch

from mmfusion.export import export_model, exporting
from mmfusion.export.checking import example_pictures
from mmfusion.registry import MODELS
from mmfusion.runtime import RuntimeModel

openvino = pytest.importorskip('openvino', reason='openvino is not installed: pip install openvino')
for package in exporting.NEEDED:
    pytest.importorskip(package, reason=f'{package} is not installed: {exporting.INSTALL}')


def test_same_result(tmp_path):
    torch.manual_seed(0)
    file = tmp_path / 'a.onnx'
    export_model(MODELS.build(dict(type='DenseFuse')).eval(), file)
    compiled = openvino.Core().compile_model(str(file), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    run = RuntimeModel(file)
    for shape in (1, 61, 83), (2, 48, 64):
        pictures = example_pictures(shape, (3, 1), 'uint8')
        got = compiled(pictures)['fused']
        expected = np.stack([run(*pair).fused for pair in zip(*pictures)])
        difference = np.abs(got.astype(int) - expected)
        assert got.dtype == np.uint8 and got.shape == expected.shape
        assert difference.max() <= 1 and (difference > 0).mean() <= 1e-4 and got.std() > 1
