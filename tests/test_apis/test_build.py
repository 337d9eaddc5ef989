"""The fuser of a trained model in the place of a config's."""

import pytest
import tiny_detectors
import torch
from mmengine.config import Config
from tiny_config import write_tiny_config

from mmfusion.apis import build_coupling
from mmfusion.model_zoo import load_model
from mmfusion.utils import UserError


@pytest.fixture
def config():
    return dict(
        default_scope='mmfusion',
        model=dict(
            type='JointCoupling',
            fuser=dict(type='DenseFuse'),
            fusion_loss=dict(l1=dict(type='MaxIntensityLoss')),
            tasks=dict(det=tiny_detectors.yolox(3)),
        ),
        test_dataloader=dict(dataset=dict(type='MSRSDetDataset')),
    )


def test_with_a_detector_alone(config, tmp_path, monkeypatch):
    """Its classes are taken by name, and the fuser is the trained one."""
    theirs = tiny_detectors.checkpoint_of('yolox', tmp_path / 'detector.pth')
    listing = 'mmengine.model.BaseModule._dump_init_info'  # three lines for each of its hundreds of parameters
    monkeypatch.setattr(listing, lambda module: pytest.fail('parameters are listed on the screen'))
    built = build_coupling(config, tmp_path / 'detector.pth', fuser='plain_conv_det')
    trained, card = load_model('plain_conv_det')
    assert built.card == card and not built.coupling.training and config['model']['fuser'] == dict(type='DenseFuse')
    for (name, value), expected in zip(built.coupling.fuser.state_dict().items(), trained.state_dict().values()):
        assert torch.equal(value, expected), name
    person = tiny_detectors.THEIRS.index('person')
    ours, rows = (
        network.bbox_head.multi_level_conv_cls[0].weight for network in (built.coupling.tasks['det'].network, theirs)
    )
    assert torch.equal(ours[built.meta['classes'].index('person')], rows[person])


def test_with_the_checkpoint_of_a_coupling(config, tmp_path):
    whole = build_coupling(config, warn=False).coupling
    tiny_detectors.scramble(whole)
    torch.save(dict(state_dict=whole.state_dict()), tmp_path / 'whole.pth')
    built = build_coupling(Config(config), tmp_path / 'whole.pth', fuser='plain_conv_det').coupling
    assert type(built.fuser).__name__ == 'PlainConvFuser'
    found, expected = (part.tasks['det'].network.backbone.stem.conv.conv.weight for part in (built, whole))
    assert torch.equal(found, expected)


def test_sources_in_the_order_of_the_config(config):
    config['test_dataloader']['dataset']['metainfo'] = dict(modalities=('infrared', 'visible'))
    built = build_coupling(config, warn=False, fuser='plain_conv_det').coupling
    alone = load_model('plain_conv_det').fuser
    first, second = torch.rand(2, 1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(built.fuser(first, second).fused, alone(second, first).fused)


def test_random_task_networks_are_said(config):
    with pytest.warns(UserWarning, match='the task networks are used without weights'):
        build_coupling(config, fuser='plain_conv_det')


def test_refusals(config, tmp_path):
    with pytest.raises(UserError, match="there is no model 'nothing'"):
        build_coupling(config, fuser='nothing')
    for model in 'tdfusion', 'AverageFuser', dict(type='DenseFuse'):
        with pytest.raises(UserError, match='can stand in a config that has a detector or a segmentor'):
            build_coupling(model, fuser='plain_conv_det')
    guided = write_tiny_config(tmp_path, "model['guide'] = dict(type='TwoStreamGuide')\n")
    with pytest.raises(UserError, match='guides its own fuser'):
        build_coupling(guided, fuser='plain_conv_det')
