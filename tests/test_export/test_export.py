"""mmfusion export: graphs of every fuser against the network, what the file says of itself, and refusals that leave no
file.
"""

import json
import sys

import numpy as np
import pytest
import torch
from small_fusers import SMALL

from mmfusion.cli.main import main
from mmfusion.export import checking, export_model, exporting
from mmfusion.model_zoo.catalog import card_files
from mmfusion.models.fusers import BaseFuser, FuserOutput
from mmfusion.registry import MODELS
from mmfusion.runtime.metadata import KEY, GraphInfo
from mmfusion.utils import UserError, compat

for package in exporting.NEEDED:
    pytest.importorskip(package, reason=f'{package} is not installed: {exporting.INSTALL}')
FAST = ('AverageFuser', 'DenseFuse')  # the others take ten seconds and more each
FUSERS = sorted(
    name for name, entry in MODELS.module_dict.items() if isinstance(entry, type) and issubclass(entry, BaseFuser)
)


def small(name):
    """A small fuser whose parameters are not zero."""
    torch.manual_seed(1)
    fuser = MODELS.build(dict(type=name, **SMALL.get(name, {}))).eval()
    with torch.no_grad():
        for parameter in fuser.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return fuser


@pytest.mark.parametrize(
    'name', [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in FUSERS]
)
def test_every_fuser(name, tmp_path):
    report = export_model(small(name), tmp_path / 'a.onnx')
    assert len(report.checks) == 3 and len({check.shape for check in report.checks}) == 3
    assert all(check.difference <= 1e-5 for check in report.checks)
    assert report.info.fuser == name and report.size == (tmp_path / 'a.onnx').stat().st_size


@pytest.mark.parametrize('name', FUSERS)
def test_forms_for_every_size_give_the_same(name, monkeypatch):
    """What a fuser does only while it is exported, against what it does otherwise, without an export."""
    fuser = small(name)
    asking = [module for key, module in sys.modules.items() if key.startswith('mmfusion.models.')]
    asking = [module for module in asking if getattr(module, 'exporting', None) is compat.exporting]
    assert asking
    for extra in (0, 0), (21, 35), (24, 32):
        height, width = (fuser.graph_min_size + more for more in extra)
        pair = [torch.rand(2, 3 if fuser.color_space == 'rgb' else 1, height, width) for _ in range(2)]
        with torch.no_grad():
            expected = fuser(*pair).fused
            with monkeypatch.context() as patch:
                for module in asking:
                    patch.setattr(module, 'exporting', lambda: True)
                got = fuser(*pair).fused
        torch.testing.assert_close(got, expected, rtol=0, atol=2e-6)


def test_what_the_file_says(tmp_path):
    import onnx

    report = export_model('AverageFuser', tmp_path / 'a.onnx', channels=(3, 3), output='float32')
    model = onnx.load(tmp_path / 'a.onnx')
    onnx.checker.check_model(model)
    assert what_it_says(model) == report.info
    assert report.info.channels == (3, 3) and report.info.sha256 is None
    assert [value.name for value in model.graph.output] == ['fused_float']
    shape = [axis.dim_param or axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape[3] == 3 and all(isinstance(axis, str) for axis in shape[:3])
    assert {entry.version for entry in model.opset_import if not entry.domain} == {exporting.OPSET}
    assert b'/mmfusion/' not in (tmp_path / 'a.onnx').read_bytes()  # no paths of this machine


def what_it_says(model):
    content = json.loads({entry.key: entry.value for entry in model.metadata_props}[KEY])
    assert content.pop('version') == 1
    return GraphInfo(**{**content, **{key: tuple(content[key]) for key in ('sources', 'channels', 'checked')}})


@pytest.mark.slow
@pytest.mark.parametrize('name', sorted(card_files()))
def test_a_shipped_model(name, tmp_path):
    report = export_model(name, tmp_path / 'a.onnx')
    assert report.info.sources == ('visible', 'infrared') and report.info.name == name
    assert len(report.info.sha256) == 64 and report.info.license
    assert all(check.passed for check in report.checks)


def test_failed_check_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(checking, 'MAX_DIFFERENCE', -1.0)
    with pytest.raises(UserError, match='differs from the network .* No file was written'):
        export_model('AverageFuser', tmp_path / 'a.onnx')
    assert not list(tmp_path.iterdir())


class FixedBatch(BaseFuser):
    """Made for one number of pictures once it is traced."""

    def fuse(self, first, second):
        return FuserOutput(torch.stack([first[i] + second[i] for i in range(len(first))]) / 2, {})


class Untraceable(BaseFuser):
    """Looks at values."""

    def fuse(self, first, second):
        return FuserOutput(first if first.mean().item() > second.mean().item() else second, {})


@pytest.mark.parametrize(
    'fuser,message',
    [(FixedBatch, 'for all sizes: first would be fixed to'), (Untraceable, 'Untraceable cannot be exported')],
)
def test_what_cannot_be_exported(fuser, message, tmp_path):
    with pytest.raises(UserError, match=message):
        export_model(fuser().eval(), tmp_path / 'a.onnx')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'change,message',
    [
        (dict(out='a.bin'), 'must end with .onnx'),
        (dict(channels=(2, 1)), 'channels are two numbers out of 1'),
        (dict(input='uint16'), 'input and output must be out of'),
        (dict(fuser_options=dict(shift=1)), 'AverageFuser has no option shift'),
    ],
)
def test_bad_arguments(change, message, tmp_path):
    with pytest.raises(UserError, match=message):
        export_model(**{'model': 'AverageFuser', 'out': tmp_path / 'a.onnx', **change})


def test_missing_package(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(exporting, 'NEEDED', ('onnx', 'no_such_package'))
    with pytest.raises(SystemExit) as error:
        main(['export', 'AverageFuser', '--out', str(tmp_path / 'a.onnx')])
    assert error.value.code == 2 and 'export needs no_such_package: pip install' in capsys.readouterr().err


def test_command(tmp_path, capsys):
    main(['export', 'MaximumFuser', '--out', str(tmp_path / 'a.onnx'), '--channels', '1', '1'])
    printed = capsys.readouterr().out
    assert 'compared with MaximumFuser' in printed and '0 gray levels' in printed and 'mmfusion run' in printed


def test_pictures_of_the_check_are_of_their_kind():
    for dtype in exporting.DTYPES:
        for picture, channels in zip(checking.example_pictures((2, 16, 20), (3, 1), dtype), (3, 1)):
            assert picture.shape == (2, 16, 20, channels) and picture.dtype == np.dtype(dtype)
            assert picture.std() > 0.1 * picture.max()
