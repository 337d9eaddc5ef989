"""A fuser and a segmentor as one graph: class maps against the coupling's own prediction, what is refused, and the
runtime.
"""

import cv2
import numpy as np
import pytest
import torch
from seeing_networks import segmenting

from mmfusion.cli.main import main
from mmfusion.export import export_model, exporting
from mmfusion.export.checking import example_pictures
from mmfusion.export.graph import FusionGraph
from mmfusion.runtime import RuntimeModel
from mmfusion.structures import FusionDataSample
from mmfusion.utils import UserError

for package in exporting.NEEDED:
    pytest.importorskip(package, reason=f'{package} is not installed: {exporting.INSTALL}')
NAMES = ('fcn_small', 'bisenetv2', 'segformer_b0', 'mobilenet_v2_light', 'deeplabv3plus_r50')


@pytest.mark.parametrize('name', NAMES[:4])
def test_graph_is_what_the_coupling_predicts(name):
    """The arithmetic of the preprocessor without lists and samples, before any export."""
    model = segmenting(name)
    pair = [torch.from_numpy(picture) for picture in example_pictures((2, 72, 99), (3, 1), 'uint8')]
    samples = [FusionDataSample(metainfo=dict(img_shape=(72, 99), ori_shape=(72, 99))) for _ in range(2)]
    with torch.no_grad():
        found = FusionGraph(model, ['seg'])(*pair)['class_map']
        planes = dict(zip(('first', 'second'), (picture.permute(0, 3, 1, 2).float() / 255 for picture in pair)))
        expected = torch.cat([sample.pred_sem_seg.data for sample in model(planes, samples, mode='predict')])
    assert found.shape == (2, 72, 99) and found.dtype == torch.uint8 and len(found.unique()) > 1
    assert (found != expected).float().mean() <= 1e-4


@pytest.mark.parametrize('name', [NAMES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[1:])])
def test_export(name, tmp_path):
    model, file = segmenting(name), tmp_path / 'a.onnx'
    report = export_model(model, file, tasks=['seg'])
    task = report.info.tasks['seg']
    assert task['kind'] == 'segmentation' and task['head'] == type(model.tasks['seg'].network.decode_head).__name__
    assert report.info.smallest == 64 and len(report.checks) == 3
    pictures = example_pictures((1, 81, 75), (3, 1), 'uint8')
    result = RuntimeModel(file)(*(picture[0] for picture in pictures))
    with torch.no_grad():
        expected = FusionGraph(model, ['seg'])(*map(torch.from_numpy, pictures))['class_map'][0].numpy()
    assert result.class_map.shape == (81, 75) and (result.class_map != expected).mean() <= 1e-3
    with pytest.raises(UserError, match='needs the whole picture: run it without tiles'):
        RuntimeModel(file)(*(picture[0] for picture in pictures), tile=64, overlap=8)
    for source, picture in zip('ab', pictures):
        cv2.imwrite(str(tmp_path / f'{source}.png'), picture[0, ..., ::-1])
    main(['run', str(file), *(str(tmp_path / f'{part}.png') for part in 'ab'), '--out', str(tmp_path / 'c.png')])
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / 'c_classes.png'), 0), result.class_map)


@pytest.mark.parametrize(
    'change,message',
    [
        (dict(test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(32, 32))), "is tested in mode 'slide'"),
        ('det', 'the model has no task det; it has seg'),
    ],
)
def test_refusals(change, message, tmp_path):
    model = segmenting('fcn_small', **(change if isinstance(change, dict) else {}))
    with pytest.raises(UserError, match=message):
        export_model(model, tmp_path / 'a.onnx', tasks=['seg' if isinstance(change, dict) else change])
    assert not list(tmp_path.iterdir())
