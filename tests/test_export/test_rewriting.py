"""Rewriting of traced graphs: the same results, fewer operators; the forms of operators that an export writes."""

from collections import Counter

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

from mmfusion.export.exporting import open_session, trace
from mmfusion.export.rewriting import rewrite
from mmfusion.models.layers.open_sizes import repeat_to_multiple
from mmfusion.models.layers.restormer import RestormerBlock

CHANNELS = 3


def model(nodes, weights, outputs=('y',)):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ('x', *outputs)]
    tensors = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, 'graph', values[:1], values[1:], tensors)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid('', 18)])


def run(proto, x):
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=['CPUExecutionProvider'])
    return session.run(None, {'x': x})


def kinds(proto):
    return Counter(node.op_type for node in proto.graph.node)


def picture(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def conv(name, source, kernel=3, bias=True):
    inputs = [source, f'{name}.w', *([f'{name}.b'] if bias else [])]
    return helper.make_node('Conv', inputs, [name], pads=[kernel // 2] * 4, kernel_shape=[kernel] * 2)


def weights(name, out, into, kernel=3, bias=True):
    rng = np.random.default_rng(len(name) + out)
    found = {f'{name}.w': rng.standard_normal((out, into, kernel, kernel))}
    return {**found, **({f'{name}.b': rng.standard_normal(out)} if bias else {})}


@pytest.mark.parametrize('bias', [True, False])
def test_pointwise_behind_a_convolution(bias):
    nodes = [conv('a', 'x', 3, bias), conv('y', 'a', 1, bias)]
    proto = model(nodes, {**weights('a', 4, CHANNELS, 3, bias), **weights('y', 2, 4, 1, bias)})
    x = picture(2, CHANNELS, 9, 7)
    (expected,) = run(proto, x)
    rewrite(proto)
    assert kinds(proto) == {'Conv': 1} and len(proto.graph.initializer) == 2
    np.testing.assert_allclose(run(proto, x)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('case', ['wider', 'used twice', 'kernel'])
def test_convolutions_that_stay(case):
    kernel, out = (3 if case == 'kernel' else 1), (5 if case == 'wider' else 2)
    outputs = ('y', 'a') if case == 'used twice' else ('y',)
    proto = model(
        [conv('a', 'x'), conv('y', 'a', kernel)], {**weights('a', 4, CHANNELS), **weights('y', out, 4, kernel)}, outputs
    )
    assert kinds(rewrite(proto)) == {'Conv': 2}


def test_pointwise_behind_what_others_read():
    nodes = [conv('a', 'x', 1), conv('y', 'a', 1)]
    proto = model(nodes, {**weights('a', 4, CHANNELS, 1), **weights('y', 4, 4, 1)}, ('y', 'a'))
    x = picture(1, CHANNELS, 4, 5)
    before = run(proto, x)
    assert [node.input[0] for node in rewrite(proto).graph.node] == ['x', 'x']
    for got, expected in zip(run(proto, x), before):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    'slope,expected',
    [
        ([0.3], {'Relu': 1}),
        ([-0.3], {'LeakyRelu': 1, 'Relu': 1}),
        ([[[0.1]], [[0.2]], [[0.3]]], {'PRelu': 1, 'Relu': 1}),
    ],
)
def test_activations(slope, expected):
    nodes = [helper.make_node('PRelu', ['x', 's'], ['a']), helper.make_node('Relu', ['a'], ['y'])]
    proto = model(nodes, dict(s=slope))
    x = picture(1, CHANNELS, 4, 5)
    before = run(proto, x)[0]
    assert kinds(rewrite(proto)) == expected
    np.testing.assert_allclose(run(proto, x)[0], before, rtol=1e-6)


def test_prelu_with_one_slope():
    proto = model([helper.make_node('PRelu', ['x', 's'], ['y'])], dict(s=[0.3]))
    assert kinds(rewrite(proto)) == {'LeakyRelu': 1} and not proto.graph.initializer
    np.testing.assert_allclose(run(proto, np.float32([[-2, 4]]))[0], [[-0.6, 4]], rtol=1e-6)


def test_weights_go_into_branches():
    def branch(name, number):
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([conv(name, 'x', 1)], name, [], [value], []), number

    (yes, _), (no, _) = branch('yes', 0), branch('no', 1)
    yes.node[0].input[2] = 'both'
    no.node[0].input[2] = 'both'
    tensors = {**weights('yes', 2, CHANNELS, 1, False), **weights('no', 2, CHANNELS, 1, False), 'both': [1, 2]}
    nodes = [
        helper.make_node('ReduceMax', ['x'], ['most'], keepdims=0),
        helper.make_node('Greater', ['most', 'limit'], ['any']),
        helper.make_node('If', ['any'], ['y'], then_branch=yes, else_branch=no),
    ]
    proto = model(nodes, {**tensors, 'limit': 0})
    pictures = [picture(1, CHANNELS, 4, 5), -np.abs(picture(1, CHANNELS, 4, 5))]
    before = [run(proto, x)[0] for x in pictures]
    rewrite(proto)
    inside = [{t.name for t in a.g.initializer} for a in proto.graph.node[-1].attribute]
    assert all(len(names) == 2 for names in inside) and not inside[0] & inside[1]
    assert [tensor.name for tensor in proto.graph.initializer] == ['limit']
    for x, expected in zip(pictures, before):
        np.testing.assert_allclose(run(proto, x)[0], expected, rtol=1e-5, atol=1e-6)


class Operators(torch.nn.Module):
    """What has a form of its own, on a picture (N, H, W, C)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.block = RestormerBlock(4, heads=2, bias=True)

    def forward(self, first, second):
        x = torch.cat([first, second], 3).permute(0, 3, 1, 2)
        x = repeat_to_multiple(x, 8)
        large = F.interpolate(F.gelu(x, approximate='tanh'), scale_factor=2, mode='bilinear', align_corners=False)
        fixed = F.interpolate(x, size=(5, 6), mode='bilinear', align_corners=True)
        return dict(attended=self.block(x), larger=large, resized=fixed, bent=F.gelu(x))


def test_operators_of_an_export():
    graph = Operators().eval()
    proto = trace(graph, (3, 1), 'float32', 16, 'operators')
    found = kinds(proto)
    assert found['Pad'] == 1
    assert [len(node.input) for node in proto.graph.node if node.op_type == 'Resize'] == [3, 4]
    assert found['Transpose'] <= 8  # into norms and out of them; the rest keeps the layout of convolutions
    session = open_session(proto)
    for height, width in ((16, 24), (37, 51)):
        rng = np.random.default_rng(0)
        pictures = [rng.random((2, height, width, channels), np.float32) for channels in (3, 1)]
        with torch.no_grad():
            expected = graph(*map(torch.from_numpy, pictures))
        values = session.run(None, dict(zip(('first', 'second'), pictures)))
        for output, value in zip(session.get_outputs(), values):
            np.testing.assert_allclose(value, expected[output.name].numpy(), atol=2e-6, err_msg=output.name)


@pytest.mark.parametrize('out,kind', [(1, 'ConvTranspose'), (2, 'ConvTranspose'), (3, 'Conv')])
@pytest.mark.parametrize('pad', [0, 1])
def test_a_convolution_to_few_channels(out, kind, pad):
    proto = model([conv('y', 'x')], weights('y', out, 8))
    next(entry for entry in proto.graph.node[0].attribute if entry.name == 'pads').ints[:] = [pad] * 4
    x = picture(2, 8, 9, 7)
    (expected,) = run(proto, x)
    rewrite(proto)
    assert kinds(proto) == {kind: 1} and len(proto.graph.initializer) == 2
    np.testing.assert_allclose(run(proto, x)[0], expected, rtol=1e-4, atol=1e-5)


def test_only_for_processors():
    proto = model([conv('y', 'x')], weights('y', 1, 8))
    assert kinds(rewrite(proto, for_processors=False)) == {'Conv': 1}


def test_what_follows_from_stored_arrays():
    tensors = {**weights('y', 4, CHANNELS, 3), 'more': np.ones((4, CHANNELS, 3, 3))}
    nodes = [helper.make_node('Add', ['y.w', 'more'], ['w']), conv('y', 'x')]
    nodes[1].input[0], nodes[1].input[1] = 'x', 'w'
    proto = model(nodes, tensors)
    (expected,) = run(proto, picture(1, CHANNELS, 4, 5))
    assert kinds(rewrite(proto)) == {'Conv': 1} and len(proto.graph.initializer) == 2
    np.testing.assert_allclose(run(proto, picture(1, CHANNELS, 4, 5))[0], expected, rtol=1e-5)


@pytest.mark.parametrize('factors,left', [((0.5, 0.5), 0), ((0.5, 0.25), 2)])
def test_factors_go_into_weights(factors, left):
    nodes = [helper.make_node('Mul', ['x', f'factor{index}'], [f'm{index}']) for index in (0, 1)]
    nodes += [helper.make_node('Concat', ['m0', 'm1'], ['c'], axis=1), conv('y', 'c')]
    tensors = {f'factor{index}': value for index, value in enumerate(factors)}
    proto = model(nodes, {**weights('y', 4, 2 * CHANNELS), **tensors})
    x = picture(1, CHANNELS, 4, 5)
    (expected,) = run(proto, x)
    assert kinds(rewrite(proto))['Mul'] == left
    np.testing.assert_allclose(run(proto, x)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('threshold', [[0.1, 0.4, 0.0], [0.1, -0.3, 0.0]])
def test_soft_threshold(threshold):
    nodes = [
        helper.make_node('Sign', ['x'], ['s']),
        helper.make_node('Abs', ['x'], ['a']),
        helper.make_node('Sub', ['a', 't'], ['d']),
        helper.make_node('Relu', ['d'], ['r']),
        helper.make_node('Mul', ['s', 'r'], ['y']),
    ]
    proto = model(nodes, dict(t=np.reshape(threshold, (3, 1, 1))))
    x = picture(2, CHANNELS, 9, 7)
    x[0, :, 0, 0] = 0
    (expected,) = run(proto, x)
    found = kinds(rewrite(proto))
    assert not found['Sign'] and found['Mul'] == (min(threshold) < 0)
    np.testing.assert_allclose(run(proto, x)[0], expected, rtol=1e-6, atol=1e-7)


def test_an_if_that_only_a_branch_needs():
    """Of three, each used where the one behind it does nothing, one stays outside."""

    def choice(number, before):
        value = helper.make_tensor_value_info
        yes = helper.make_node('Mul', ['x', f'factor{number}'], [f'yes{number}'])
        no = helper.make_node('Identity', [before], [f'no{number}'])
        parts = [
            helper.make_graph([node], node.output[0], [], [value(node.output[0], TensorProto.FLOAT, None)])
            for node in (yes, no)
        ]
        condition = helper.make_node('Greater', ['most', f'limit{number}'], [f'is{number}'])
        out = f'c{number}' if number < 2 else 'y'
        return condition, helper.make_node('If', [f'is{number}'], [out], then_branch=parts[0], else_branch=parts[1])

    nodes = [helper.make_node('ReduceMax', ['x'], ['most'], keepdims=0)]
    for number, before in enumerate(['x', 'c0', 'c1']):
        nodes.extend(choice(number, before))
    tensors = {f'factor{number}': 2.0 + number for number in range(3)}
    tensors.update(limit0=3, limit1=2, limit2=1)
    proto = model(nodes, tensors)
    pictures = [np.full((1, 1, 2, 2), most, np.float32) for most in (0.5, 1.5, 2.5, 3.5)]
    before = [run(proto, x)[0] for x in pictures]
    assert kinds(rewrite(proto))['If'] == 1
    for x, expected in zip(pictures, before):
        np.testing.assert_array_equal(run(proto, x)[0], expected)
