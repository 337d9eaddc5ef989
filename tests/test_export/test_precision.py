"""Half precision and int8: what is converted, what is measured on the user's pairs, and refusals that leave no file."""

import copy
import json

import cv2
import numpy as np
import pytest
import torch

from mmfusion.cli.main import main
from mmfusion.export import export_model, exporting, judging
from mmfusion.export.checking import example_pictures
from mmfusion.export.judging import Figures, UserPairs, compare
from mmfusion.export.reducing import as_accelerators_compute, to_half
from mmfusion.registry import MODELS
from mmfusion.runtime import RuntimeModel
from mmfusion.runtime.metadata import GraphInfo
from mmfusion.utils import UserError

for package in exporting.NEEDED:
    pytest.importorskip(package, reason=f'{package} is not installed: {exporting.INSTALL}')
import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


@pytest.fixture
def folders(tmp_path):
    for name, seed in (('a', 1), ('b', 2)):
        for folder, picture in zip(('vi', 'ir'), example_pictures((1, 48, 64), (3, 1), 'uint8', seed)):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f'{name}.png'), picture[0, ..., ::-1])
    return tmp_path / 'vi', tmp_path / 'ir'


@pytest.fixture(scope='module')
def full(tmp_path_factory):
    """A fuser of random weights whose result is neither flat nor cut off, and its file in float32."""
    torch.manual_seed(0)
    fuser = MODELS.build(dict(type='DenseFuse')).eval()
    file = tmp_path_factory.mktemp('full') / 'full.onnx'
    traced = []
    trace = exporting.trace

    def keep(*args, for_processors):  # half precision and int8 begin from the plain form
        traced.append(trace(*args, for_processors=False))
        return copy.deepcopy(traced[0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, 'trace', keep)
        export_model(fuser, file)
    return fuser, file, traced[0]


@pytest.fixture
def traced_once(full, monkeypatch):
    monkeypatch.setattr(exporting, 'trace', lambda *args, **kwargs: copy.deepcopy(full[2]))


def kinds(model):
    return {entry.data_type for entry in model.graph.initializer}


@pytest.mark.parametrize('precision', ['half', 'int8'])
def test_smaller_file(precision, full, traced_once, folders, tmp_path):
    fuser, file, _ = full
    report = export_model(fuser, tmp_path / 'a.onnx', precision=precision, calibrate=folders)
    info = RuntimeModel(tmp_path / 'a.onnx').info
    assert info == report.info and info.precision == precision and info.kept['pairs'] == 2
    assert 40 <= info.kept['psnr'] <= info.kept['mean_psnr'] < 120
    model = onnx.load(tmp_path / 'a.onnx')
    onnx.checker.check_model(model)
    assert {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)} == {
        TensorProto.UINT8
    }
    assert (TensorProto.FLOAT16 if precision == 'half' else TensorProto.INT8) in kinds(model)
    assert {node.domain for node in model.graph.node} <= {''} and {entry.domain for entry in model.opset_import} == {''}
    pictures = [picture[0] for picture in example_pictures((1, 37, 51), (3, 1), 'uint8', 7)]
    expected, got = (RuntimeModel(path)(*pictures).fused.astype(int) for path in (file, tmp_path / 'a.onnx'))
    assert np.abs(got - expected).mean() < 3


def test_too_much_lost(full, traced_once, folders, tmp_path, monkeypatch):
    monkeypatch.setattr(judging, 'MIN_PSNR', 200.0)
    with pytest.raises(UserError, match=r'half loses too much here: PSNR to float32 at least \d+\.\d dB.*No file was'):
        export_model(full[0], tmp_path / 'a.onnx', precision='half', calibrate=folders)
    assert not (tmp_path / 'a.onnx').exists()


@pytest.mark.parametrize(
    'change,message',
    [
        (dict(precision='int4'), "precision must be out of .*, got 'int4'"),
        (dict(precision='int8'), 'int8 is judged by your pairs of pictures: --calibrate'),
        (dict(precision='float32', calibrate=('a', 'b')), 'are for half precision and int8'),
        (dict(precision='half', calibrate=('missing', 'missing')), 'missing'),
    ],
)
def test_bad_arguments(change, message, tmp_path):
    with pytest.raises(UserError, match=message):
        export_model('AverageFuser', tmp_path / 'a.onnx', **change)
    assert not list(tmp_path.iterdir())


def test_no_weights(folders, tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        arguments = ['--precision', 'int8', '--calibrate', *map(str, folders)]
        main(['export', 'AverageFuser', '--out', str(tmp_path / 'a.onnx'), *arguments])
    assert error.value.code == 2 and 'the fuser has no weights' in capsys.readouterr().err
    assert not (tmp_path / 'a.onnx').exists()


def test_half_only_between_weights():
    """What is added to the result of the last weights keeps all its digits, and so does an output in float32."""
    shape = [1, 1, 4, 4]
    weight = np.full((1, 1, 1, 1), 0.5, np.float32)
    graph = helper.make_graph(
        [
            helper.make_node('Mul', ['x', 'scale'], ['scaled'], 'before'),
            helper.make_node('Conv', ['scaled', 'weight'], ['first'], 'one'),
            helper.make_node('Relu', ['first'], ['bent'], 'between'),
            helper.make_node('Conv', ['bent', 'weight'], ['second'], 'two'),
            helper.make_node('Add', ['second', 'x'], ['sum'], 'after'),
            helper.make_node('Mul', ['sum', 'scale'], ['out'], 'last'),
        ],
        'g',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info('out', TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(weight, 'weight'),
            numpy_helper.from_array(np.array(1, np.float32), 'scale'),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=10)
    reduced = to_half(proto)
    x = np.linspace(1000, 1001, 16, dtype=np.float32).reshape(shape)
    full, half, judged = (
        exporting.open_session(model).run(None, {'x': x})[0]
        for model in (proto, reduced, as_accelerators_compute(reduced))
    )
    rounded = x.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(judged, rounded / 4 + x)  # a quarter and a half are exact
    assert np.abs(judged - full).max() > 0.01 and np.abs(half - full).max() < 0.1
    assert kinds(proto) == {TensorProto.FLOAT} and TensorProto.FLOAT16 in kinds(reduced)
    assert len([node for node in reduced.graph.node if node.op_type == 'Cast']) == 2


class Answers:
    """A session that gives what it was told."""

    def __init__(self, **outputs):
        self.outputs = outputs

    def get_outputs(self):
        return [type('Output', (), dict(name=name)) for name in self.outputs]

    def run(self, names, feeds):
        return [self.outputs[name] for name in names]


def detecting(boxes, fused=0.5):
    boxes = np.array(boxes, np.float32).reshape(1, -1, 4)
    number = boxes.shape[1]
    return Answers(
        fused_float=np.full((1, 48, 64, 3), fused, np.float32),
        boxes=boxes,
        scores=np.linspace(0.9, 0.5, number, dtype=np.float32)[None],
        labels=np.zeros((1, number), np.int64),
    )


INFO = GraphInfo(
    'a',
    'A',
    '1',
    ('visible', 'infrared'),
    (3, 1),
    'uint8',
    'uint8',
    16,
    tasks=dict(det=dict(kind='detection', classes=['person'])),
)
BOX = [4.0, 5, 24, 35]


def coco(folder):
    content = dict(
        images=[dict(id=index, file_name=f'{name}.png', height=48, width=64) for index, name in enumerate('ab')],
        categories=[dict(id=3, name='person'), dict(id=5, name='tree')],
        annotations=[
            dict(id=index, image_id=index, category_id=3, bbox=[4, 5, 20, 30], area=600, iscrowd=0) for index in (0, 1)
        ],
    )
    path = folder / 'boxes.json'
    path.write_text(json.dumps(content))
    return path


def voc(folder):
    target = folder / 'voc'
    target.mkdir()
    for name in 'ab':
        (target / f'{name}.xml').write_text(
            '<annotation><size><width>64</width><height>48</height></size><object><name>person</name><bndbox><xmin>4</xmin>'
            '<ymin>5</ymin><xmax>24</xmax><ymax>35</ymax></bndbox></object></annotation>'
        )
    return target


def yolo(folder):
    target = folder / 'labels'
    target.mkdir()
    (folder / 'classes.txt').write_text('person\n')
    for name in 'ab':
        (target / f'{name}.txt').write_text(f'0 {14 / 64} {20 / 48} {20 / 64} {30 / 48}\n')
    return target


@pytest.mark.parametrize('write', [coco, voc, yolo])
def test_map_on_labels(write, folders, tmp_path):
    pairs = UserPairs(*folders, write(tmp_path))
    right, wrong = detecting([BOX]), detecting([[40, 5, 60, 35]], 0.5 + 1e-3)
    kept = compare(right, wrong, pairs, INFO)
    assert kept.map50 == pytest.approx((100, 0), abs=1e-6) and kept.psnr == pytest.approx(60, abs=0.01)
    assert not kept.passed and 'mAP50 0.0 against 100.0' in str(kept)
    same = compare(right, right, pairs, INFO)
    assert same.passed and same.to_dict() == dict(pairs=2, psnr=None, mean_psnr=None, map50_float32=100.0, map50=100.0)


def test_labels_that_do_not_fit(folders, tmp_path):
    with pytest.raises(UserError, match='there are no labels at'):
        UserPairs(*folders, tmp_path / 'none')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='has neither a.xml nor a.txt'):
        compare(detecting([BOX]), detecting([BOX]), UserPairs(*folders, tmp_path / 'empty'), INFO)
    labels = voc(tmp_path)
    (labels / 'a.xml').write_text((labels / 'a.xml').read_text().replace('person', 'tree'))
    (labels / 'b.xml').write_text((labels / 'b.xml').read_text().replace('person', 'tree'))
    with pytest.raises(UserError, match=r'no box of a class that the detector knows \(person\); it has tree'):
        compare(detecting([BOX]), detecting([BOX]), UserPairs(*folders, labels), INFO)


@pytest.mark.parametrize(
    'figures,passed',
    [
        (Figures(1, 40.0, 40.0), True),
        (Figures(1, 39.9, 50.0), False),
        (Figures(1, float('inf'), float('inf'), (50.0, 49.0)), True),
        (Figures(1, 60.0, 60.0, (50.0, 48.9)), False),
        (Figures(1, 60.0, 60.0, None, 0.02), False),
    ],
)
def test_bounds(figures, passed):
    assert figures.passed is passed


def test_some_pairs_calibrate(folders):
    assert len(UserPairs(*folders)) == 2
    assert [len(list(UserPairs(*folders).feeds(INFO, most))) for most in (None, 1, 5)] == [2, 1, 2]
