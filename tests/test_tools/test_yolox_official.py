"""The converter of official YOLOX checkpoints, on a network written down with the official names."""

import importlib.util

import pytest
import tiny_models
import torch
from torch import nn

from mmfusion.models.couplings import TaskNetwork
from mmfusion.models.pretrained.class_names import COCO_CLASSES
from mmfusion.models.scoped import build_scoped


class Base(nn.Module):
    """BaseConv: convolution, batch norm, SiLU."""

    def __init__(self, a, b, kernel, stride=1, groups=1):
        super().__init__()
        self.conv = nn.Conv2d(a, b, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(b, eps=1e-3, momentum=0.03)

    def forward(self, x):
        return nn.functional.silu(self.bn(self.conv(x)))


class Depthwise(nn.Module):
    """DWConv."""

    def __init__(self, a, b, kernel, stride=1):
        super().__init__()
        self.dconv, self.pconv = Base(a, a, kernel, stride, groups=a), Base(a, b, 1)

    def forward(self, x):
        return self.pconv(self.dconv(x))


class Bottleneck(nn.Module):
    def __init__(self, c, shortcut):
        super().__init__()
        self.conv1, self.conv2, self.shortcut = Base(c, c, 1), Depthwise(c, c, 3), shortcut

    def forward(self, x):
        return self.conv2(self.conv1(x)) + (x if self.shortcut else 0)


class Csp(nn.Module):
    """CSPLayer."""

    def __init__(self, a, b, n, shortcut=True):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = Base(a, b // 2, 1), Base(a, b // 2, 1), Base(b, b, 1)
        self.m = nn.Sequential(*(Bottleneck(b // 2, shortcut) for _ in range(n)))

    def forward(self, x):
        return self.conv3(torch.cat((self.m(self.conv1(x)), self.conv2(x)), 1))


class Pooling(nn.Module):
    """SPPBottleneck."""

    def __init__(self, a, b):
        super().__init__()
        self.conv1, self.conv2 = Base(a, a // 2, 1), Base(a // 2 * 4, b, 1)

    def forward(self, x):
        x = self.conv1(x)
        return self.conv2(torch.cat([x, *(nn.functional.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13))], 1))


class Focus(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.conv = Base(a * 4, b, 3)

    def forward(self, x):
        return self.conv(torch.cat((x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]), 1))


class Darknet(nn.Module):
    """CSPDarknet of depth 0.33."""

    def __init__(self, c):
        super().__init__()
        self.stem = Focus(3, c)
        for stage, n in zip((2, 3, 4, 5), (1, 3, 3, 1)):
            pooling = [Pooling(2 * c, 2 * c)] if stage == 5 else []
            setattr(
                self,
                f'dark{stage}',
                nn.Sequential(Depthwise(c, 2 * c, 3, 2), *pooling, Csp(2 * c, 2 * c, n, stage != 5)),
            )
            c *= 2

    def forward(self, x):
        x = self.dark2(self.stem(x))
        third = self.dark3(x)
        fourth = self.dark4(third)
        return third, fourth, self.dark5(fourth)


class Pafpn(nn.Module):
    """YOLOPAFPN."""

    def __init__(self, c):
        super().__init__()
        self.backbone = Darknet(c)
        a, b, d = 4 * c, 8 * c, 16 * c
        self.lateral_conv0, self.C3_p4 = Base(d, b, 1), Csp(2 * b, b, 1, False)
        self.reduce_conv1, self.C3_p3 = Base(b, a, 1), Csp(2 * a, a, 1, False)
        self.bu_conv2, self.C3_n3 = Depthwise(a, a, 3, 2), Csp(2 * a, b, 1, False)
        self.bu_conv1, self.C3_n4 = Depthwise(b, b, 3, 2), Csp(2 * b, d, 1, False)

    def forward(self, x):
        def up(value):
            return nn.functional.interpolate(value, scale_factor=2, mode='nearest')

        third, fourth, fifth = self.backbone(x)
        top = self.lateral_conv0(fifth)
        middle = self.reduce_conv1(self.C3_p4(torch.cat((up(top), fourth), 1)))
        out = self.C3_p3(torch.cat((up(middle), third), 1))
        below = self.C3_n3(torch.cat((self.bu_conv2(out), middle), 1))
        return out, below, self.C3_n4(torch.cat((self.bu_conv1(below), top), 1))


class Head(nn.Module):
    def __init__(self, c, classes):
        super().__init__()
        widths = (4 * c, 8 * c, 16 * c)
        self.stems = nn.ModuleList(Base(width, 4 * c, 1) for width in widths)
        for kind, out in (('cls', classes), ('reg', 4)):
            setattr(
                self,
                f'{kind}_convs',
                nn.ModuleList(nn.Sequential(Depthwise(4 * c, 4 * c, 3), Depthwise(4 * c, 4 * c, 3)) for _ in widths),
            )
            setattr(self, f'{kind}_preds', nn.ModuleList(nn.Conv2d(4 * c, out, 1) for _ in widths))
        self.obj_preds = nn.ModuleList(nn.Conv2d(4 * c, 1, 1) for _ in widths)

    def forward(self, maps):
        stems = [stem(x) for stem, x in zip(self.stems, maps)]
        classes = [pred(convs(x)) for pred, convs, x in zip(self.cls_preds, self.cls_convs, stems)]
        features = [convs(x) for convs, x in zip(self.reg_convs, stems)]
        return (
            classes,
            [pred(x) for pred, x in zip(self.reg_preds, features)],
            [pred(x) for pred, x in zip(self.obj_preds, features)],
        )


class Official(nn.Module):
    def __init__(self, classes=80, c=16):
        super().__init__()
        self.backbone, self.head = Pafpn(c), Head(c, classes)

    def forward(self, x):
        return self.head(self.backbone(x))


@pytest.fixture
def tool(repo_dir):
    spec = importlib.util.spec_from_file_location(
        'yolox_official', repo_dir / 'tools/model_converters/yolox_official.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def lively(network):
    """Batch norm statistics that are not those of a fresh layer."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.8, 1.5)
    return network.eval()


def test_outputs_are_those_of_the_official_network(tool, tmp_path, capsys):
    official = lively(Official())
    torch.save(dict(model=official.state_dict(), start_epoch=300), tmp_path / 'yolox_nano.pth')
    tool([str(tmp_path / 'yolox_nano.pth'), str(tmp_path / 'out.pth')])
    assert '642 entries' in capsys.readouterr().out
    cfg = tiny_models._shipped('yolox_nano')
    cfg['init_cfg'] = dict(type='mmfusion.PretrainedTask', checkpoint=str(tmp_path / 'out.pth'))
    task = TaskNetwork(cfg).eval()
    task.init_weights()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        for theirs, ours in zip(official(image), task.network(image), strict=True):
            for a, b in zip(theirs, ours, strict=True):
                torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-5)
    assert torch.load(tmp_path / 'out.pth', weights_only=True)['meta']['dataset_meta']['classes'] == COCO_CLASSES


def test_the_real_file_has_these_names(shared_dir):
    path = shared_dir / 'weights' / 'yolox_nano_coco_mmdet.pth'
    if not path.is_file():
        pytest.skip(f'{path.name} is not on this machine')
    cfg = tiny_models._shipped('yolox_nano')
    assert set(torch.load(path, weights_only=True)['state_dict']) == set(build_scoped(cfg).state_dict())


def test_other_classes_and_other_networks(tool, tmp_path, capsys):
    torch.save(dict(model=Official(classes=3).state_dict()), tmp_path / 'three.pth')
    tool([str(tmp_path / 'three.pth'), str(tmp_path / 'out.pth')])
    assert 'dataset_meta' not in torch.load(tmp_path / 'out.pth', weights_only=True)['meta']
    torch.save(dict(model=Official(c=8).state_dict()), tmp_path / 'narrow.pth')
    with pytest.raises(SystemExit):
        tool([str(tmp_path / 'narrow.pth'), str(tmp_path / 'no.pth')])
    assert 'has shape (8, 12, 3, 3), the config needs (16, 12, 3, 3)' in capsys.readouterr().err
    torch.save(dict(model=dict(Official().state_dict(), extra=torch.zeros(1))), tmp_path / 'extra.pth')
    with pytest.raises(SystemExit):
        tool([str(tmp_path / 'extra.pth'), str(tmp_path / 'no.pth')])
    assert 'unexpected keys: extra' in capsys.readouterr().err and not (tmp_path / 'no.pth').exists()
