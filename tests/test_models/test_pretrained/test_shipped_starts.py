"""Starts of the shipped configs: weights of the model zoos of mmdet and mmseg that fit, and may be out of reach."""

from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import checkpoint as mmengine_checkpoint

from mmfusion.models.couplings import TaskNetwork
from mmfusion.models.pretrained import COCO_CLASSES
from mmfusion.models.scoped import build_scoped
from mmfusion.registry import MODELS

BASES = Path(__file__).parents[3] / 'configs' / '_base_'
#: Base config -> key of the network, config of the zoo.
STARTS = {
    'detectors/rtmdet_tiny_coco': ('detector', 'mmdet/rtmdet/rtmdet_tiny_8xb32-300e_coco'),
    'detectors/rtmdet_s_coco': ('detector', 'mmdet/rtmdet/rtmdet_s_8xb32-300e_coco'),
    'detectors/faster_rcnn_r50_fpn_coco': ('detector', 'mmdet/faster_rcnn/faster-rcnn_r50_fpn_1x_coco'),
    'segmentors/segformer_b0_cityscapes': (
        'segmentor',
        'mmseg/segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024',
    ),
    'segmentors/bisenetv2_cityscapes': ('segmentor', 'mmseg/bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024'),
    'segmentors/deeplabv3plus_r50_cityscapes': (
        'segmentor',
        'mmseg/deeplabv3plus/deeplabv3plus_r50-d8_4xb2-80k_cityscapes-512x1024',
    ),
}


def network_config(name, key):
    return Config.fromfile(BASES / f'{name}.py')[key].to_dict()


def zoo(name):
    """Path of a config in the model zoo of an installed package."""
    package, rest = name.split('/', 1)
    path = Path(find_spec(package).origin).parent / '.mim' / 'configs' / f'{rest}.py'
    if not path.exists():
        pytest.skip(f'{package} is installed without its configs')
    return path


@pytest.mark.parametrize('name', STARTS)
def test_the_checkpoint_is_that_of_the_zoo_and_fits(name):
    """The zoo's index has the address beside a config whose network has the same weights by name and shape."""
    key, theirs = STARTS[name]
    cfg, path = network_config(name, key), zoo(theirs)
    index = next(file for file in path.parent.glob('metafile.y*ml')).read_text().splitlines()
    weights = [line.split('Weights: ')[1].strip() for line in index if 'Weights: ' in line]
    assert cfg['init_cfg']['checkpoint'] in weights
    entry = [line for line in index if path.name in line or cfg['init_cfg']['checkpoint'] in line]
    assert len(entry) == 2 and path.name in entry[0], 'another config of the zoo goes with this address'
    network = Config.fromfile(path).model.to_dict()
    network['type'] = f'{theirs.split("/")[0]}.{network["type"]}'
    ours, published = build_scoped(cfg).state_dict(), build_scoped(network).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in published.items()}


def test_the_guide_starts_as_faster_rcnn_does():
    guide = Config.fromfile(BASES / 'fusers' / 'moe_fusion_coco.py').guide.detector
    assert guide.init_cfg == network_config('detectors/faster_rcnn_r50_fpn_coco', 'detector')['init_cfg']


@pytest.mark.parametrize(
    'name, data_set, taken',
    [
        ('detectors/rtmdet_s_coco', ('People', 'Car', 'Bus', 'Motorcycle', 'Lamp', 'Truck'), (0, 2, 5, 3, 9, 7)),
        (
            'segmentors/segformer_b0_cityscapes',
            ('unlabelled', 'car', 'person', 'bike', 'bump'),
            (None, 13, 11, 18, None),
        ),
    ],
)
def test_classes_of_a_data_set_come_from_those_of_the_checkpoint(name, data_set, taken, monkeypatch):
    """A checkpoint as the zoos publish them is fetched, and each class gets the rows of its partner."""
    key, _ = STARTS[name]
    cfg = network_config(name, key)
    published = build_scoped(cfg).state_dict()
    fetched = []

    def fetch(url, *args, **kwargs):
        fetched.append(url)
        meta = dict(CLASSES=COCO_CLASSES) if key == 'detector' else {}
        if url != cfg['init_cfg']['checkpoint']:  # that of a backbone
            return dict(state_dict={'nothing': torch.zeros(1)})
        return dict(state_dict=published, meta=meta)

    monkeypatch.setattr(mmengine_checkpoint, 'load_url', fetch)
    head = cfg['bbox_head' if key == 'detector' else 'decode_head']
    head['num_classes'] = len(data_set)
    task = TaskNetwork(cfg)
    task.network.class_names = data_set
    task.init_weights()
    assert cfg['init_cfg']['checkpoint'] in fetched
    layer = 'bbox_head.rtm_cls.0.weight' if key == 'detector' else 'decode_head.conv_seg.weight'
    ours = task.network.state_dict()
    for row, partner in enumerate(taken):
        assert any(torch.equal(ours[layer][row], other) for other in published[layer]) == (partner is not None)
        assert partner is None or torch.equal(ours[layer][row], published[layer][partner])
    same = [name for name in published if name in ours and published[name].shape == ours[name].shape]
    assert all(torch.equal(ours[name], published[name]) for name in same) and len(same) > 100


@pytest.mark.parametrize('name', ['moe_fusion_msrs_det_seg', 'plain_conv_msrs_det_seg'])
def test_without_a_network_training_starts_from_random_weights_and_says_so(name, monkeypatch, tmp_path):
    """The model of a config is initialized although no address can be reached; each network is named."""

    def unreachable(*args, **kwargs):
        raise URLError('no network')

    monkeypatch.setattr(mmengine_checkpoint, 'load_url', unreachable)
    monkeypatch.chdir(tmp_path)
    messages = []
    monkeypatch.setattr(
        'mmfusion.models.weight_init.print_log', lambda text, **kwargs: messages.append((kwargs['level'], text))
    )
    model = MODELS.build(Config.fromfile(BASES.parent / f'{name}.py').model)
    model.init_weights()
    assert messages and all(level == 30 and 'RANDOM weights' in text for level, text in messages)
    named = ' '.join(text.split()[0] for _, text in messages)
    expected = dict(
        moe_fusion_msrs_det_seg=dict(FasterRCNN=2, RTMDet=1, EncoderDecoder=1, ResNet=2, MixVisionTransformer=1),
        plain_conv_msrs_det_seg=dict(YOLOX=1, MobileNetV2=1),
    )[name]
    assert {kind: named.split().count(kind) for kind in expected} == expected
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    backbones = [text for _, text in messages if text.startswith(('FasterRCNN', 'EncoderDecoder'))]
    assert all('but for its backbone (https://' in text for text in backbones)
