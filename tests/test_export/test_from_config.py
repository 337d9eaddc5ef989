"""From a config and a checkpoint to boxes and class maps, as a user goes: mmfusion export, mmfusion run on a folder,
against FusionInferencer.
"""

import json

import cv2
import numpy as np
import pytest
import tiny_detectors
import torch
from mmengine.config import Config, ConfigDict
from seeing_networks import FOLDER, detecting, segmenting

from mmfusion.apis import FusionInferencer
from mmfusion.cli.main import main
from mmfusion.export import exporting
from mmfusion.export.checking import example_pictures
from mmfusion.export.detectors import MAX_BOXES
from mmfusion.runtime import RuntimeModel

for package in exporting.NEEDED:
    pytest.importorskip(package, reason=f'{package} is not installed: {exporting.INSTALL}')
SIZES = (97, 131), (80, 75), (112, 96)
DETECTORS = ('fcos', 'rtmdet', 'yolox', 'retinanet', 'gfl')
SEGMENTORS = ('fcn_small', 'bisenetv2', 'segformer_b0', 'deeplabv3plus_r50')
TEXT = """
default_scope = 'mmfusion'
model = dict(type='JointCoupling', fuser=dict(type='AverageFuser'), tasks=dict({kind}={network!r}))
test_dataloader = dict(dataset=dict(type='MSRS{data_set}Dataset', pipeline=[dict(type='LoadPair'), dict(type='PackFusionInputs')]))
"""


@pytest.fixture
def folders(tmp_path):
    for number, size in enumerate(SIZES):
        for folder, picture in zip(('vi', 'ir'), example_pictures((1, *size), (3, 1), 'uint8', number)):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f'{number}.png'), picture[0, ..., ::-1])
    return tmp_path / 'vi', tmp_path / 'ir'


def write_model(kind, name, folder):
    """Config and checkpoint of a network that tells things apart."""
    if kind == 'det':
        model, network = detecting(name), tiny_detectors.FAMILIES[name](3)
        network['test_cfg'] = ConfigDict(model.tasks['det'].network.bbox_head.test_cfg).to_dict()
    else:
        model, network = segmenting(name), Config.fromfile(FOLDER / f'{name}.py').segmentor.to_dict()
        network['backbone'].pop('init_cfg', None)
    text = TEXT.format(kind=kind, network=network, data_set=kind.title())
    (folder / f'{name}.py').write_text(text)
    torch.save(dict(state_dict=model.state_dict()), folder / f'{name}.pth')
    return [str(folder / f'{name}.{suffix}') for suffix in ('py', 'pth', 'onnx')]


@pytest.mark.slow
@pytest.mark.parametrize('kind,name', [*(('det', name) for name in DETECTORS), *(('seg', name) for name in SEGMENTORS)])
def test_as_the_inferencer(kind, name, folders, tmp_path):
    config, weights, file = write_model(kind, name, tmp_path)
    main(['export', config, '--weights', weights, '--tasks', kind, '--out', file])
    out = tmp_path / 'out'
    main(['run', file, *map(str, folders), '--out', str(out), '--score-thr', '0.05'])
    for result in FusionInferencer(config, weights)(*folders, predict=True, return_images=True, progress=False):
        fused = cv2.imread(str(out / f'{result.name}.png'))[..., ::-1]
        difference = np.abs(fused.astype(int) - result.fused)
        assert difference.max() <= 1 and (difference > 0).mean() <= 1e-4
        if kind == 'seg':
            classes = cv2.imread(str(out / f'{result.name}_classes.png'), cv2.IMREAD_GRAYSCALE)
            expected = result.data_sample.pred_sem_seg.data[0].numpy()
            assert (classes != expected).mean() <= 1e-3 and len(np.unique(expected)) > 1
            continue
        rows = json.loads((out / f'{result.name}_boxes.json').read_text())
        kept = result.instances[result.instances.scores >= 0.05][:MAX_BOXES]  # YOLOX has no limit of its own
        found, expected = np.array([row['box'] for row in rows]), kept.bboxes.numpy()
        assert len(found) == len(expected) > 10 and {row['label'] for row in rows} <= {'person', 'bicycle', 'car'}
        near = np.abs(found[:, None] - expected).max(2) <= 0.1
        assert (~near.any(1)).mean() <= 0.01 and (~near.any(0)).mean() <= 0.01


@pytest.mark.slow
def test_a_batch_is_its_pictures(tmp_path):
    config, weights, file = write_model('det', 'fcos', tmp_path)
    main(['export', config, '--weights', weights, '--tasks', 'det', '--out', file])
    run = RuntimeModel(file)
    batch = dict(zip(('first', 'second'), example_pictures((3, 97, 131), (3, 1), 'uint8')))
    together = run.session.run(run.outputs, batch)
    for index in range(3):
        alone = run.session.run(run.outputs, {name: pictures[index : index + 1] for name, pictures in batch.items()})
        for of_batch, of_one in zip(together, alone):
            np.testing.assert_allclose(of_batch[index], of_one[0], atol=1e-3)
