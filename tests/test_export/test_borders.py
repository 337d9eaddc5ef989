"""Borders computed apart from the middle of a picture: the same results for every size, and no frames around wide
features.
"""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_rewriting import kinds, picture, run, weights

from mmfusion.export.borders import MAX_REACH, compute_borders_apart
from mmfusion.export.nodes import put_in_order

SIZES = (16, 16), (9, 40), (64, 7), (37, 51)


def model(nodes, tensors, shapes, outputs=('y',), channels=2):
    """Model from x (n, channels, h, w), with the channels of what lies between."""

    def value(name, count, more=0):
        sides = [f'{side} + {more}' if more else side for side in 'hw']
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ['n', count, *sides])

    known = [value(name, *(count if isinstance(count, tuple) else (count,))) for name, count in shapes.items()]
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in tensors.items()]
    stored = [tensor if tensor.data_type == TensorProto.INT64 else _float(tensor) for tensor in stored]
    made = [entry for entry in known if entry.name in outputs]
    inner = [entry for entry in known if entry.name not in outputs]
    graph = helper.make_graph(nodes, 'graph', [value('x', channels)], made, stored, value_info=inner)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid('', 18)])


def _float(tensor):
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)


def frame(name, source, width=1, mode='reflect'):
    return helper.make_node('Pad', [source, f'frame{width}'], [name], mode=mode)


def frames(*widths):
    return {f'frame{width}': np.array([0, 0, width, width] * 2) for width in widths}


def conv(name, source, dilation=1, pad=0, group=1):
    inputs = [source, f'{name}.w', f'{name}.b']
    return helper.make_node('Conv', inputs, [name], pads=[pad] * 4, dilations=[dilation] * 2, group=group)


def same_everywhere(proto, channels=2, atol=2e-5):
    """Run before and after for all sizes; returns the kinds of nodes after."""
    before = {size: run(proto, picture(2, channels, *size)) for size in SIZES}
    assert compute_borders_apart(proto.graph)
    for size, expected in before.items():
        for got, wanted in zip(run(proto, picture(2, channels, *size)), expected):
            assert got.shape == wanted.shape
            np.testing.assert_allclose(got, wanted, atol=atol * np.abs(wanted).max())
    return kinds(proto)


@pytest.mark.parametrize('mode', ['reflect', 'edge'])
@pytest.mark.parametrize('dilation', [1, 2])
def test_a_chain(mode, dilation):
    width = dilation
    nodes = [
        frame('p', 'x', width, mode),
        conv('a', 'p', dilation),
        helper.make_node('Relu', ['a'], ['r']),
        frame('q', 'r', width, mode),
        conv('y', 'q', dilation),
    ]
    tensors = {**weights('a', 8, 2), **weights('y', 1, 8), **frames(width)}
    found = same_everywhere(model(nodes, tensors, dict(p=(2, 2 * width), a=8, r=8, q=(8, 2 * width), y=1)))
    assert (
        found['Conv'] == 10 and found['Pad'] == 8 and found['Concat'] == 2
    )  # four strips, and the picture without frames


def test_frames_that_several_read_and_features_that_leave():
    """One frame for two layers, features side by side in it, and one of them an output too."""
    nodes = [
        conv('a', 'x', pad=1),
        frame('p', 'a'),
        conv('b', 'p'),
        frame('q', 'b'),
        helper.make_node('Concat', ['p', 'q'], ['c'], axis=1),
        conv('d', 'c'),
        helper.make_node('Mul', ['d', 'gate'], ['g']),
        helper.make_node('ReduceMean', ['g', 'one'], ['y'], keepdims=1),
    ]
    tensors = {**weights('a', 8, 2), **weights('b', 8, 8), **weights('d', 8, 16), **frames(1)}
    tensors.update(gate=np.ones((1, 8, 1, 1)) * 0.5, one=np.array([1]))
    shapes = dict(a=8, p=(8, 2), b=8, q=(8, 2), c=(16, 2), d=8, g=8, y=1)
    proto = model(nodes, tensors, shapes, ('y', 'b'))
    found = same_everywhere(proto)
    assert found['Concat'] == 5 + 4  # side by side five times, and two for each of two values that leave
    whole = [node for node in proto.graph.node if node.op_type == 'Conv' and node.name.endswith('whole')]
    assert [
        helper.get_attribute_value(entry) for node in whole for entry in node.attribute if entry.name == 'pads'
    ] == [[1] * 4] * 2


def test_between_two_parts_something_looks_at_the_whole_picture():
    nodes = [
        frame('p', 'x'),
        conv('a', 'p'),
        frame('q', 'a'),
        conv('b', 'q'),
        helper.make_node('ReduceMean', ['b', 'planes'], ['m'], keepdims=1),
        helper.make_node('Mul', ['b', 'm'], ['s']),
        frame('r', 's'),
        conv('y', 'r'),
    ]
    tensors = {
        **weights('a', 8, 2),
        **weights('b', 8, 8),
        **weights('y', 1, 8),
        **frames(1),
        'planes': np.array([2, 3]),
    }
    proto = model(nodes, tensors, dict(p=(2, 2), a=8, q=(8, 2), b=8, s=8, r=(8, 2), y=1))
    proto.graph.value_info.append(helper.make_tensor_value_info('m', TensorProto.FLOAT, ['n', 8, 1, 1]))
    found = same_everywhere(proto)
    assert found['Conv'] == 14 and found['ReduceMean'] == 1  # the first two are one for the picture


def test_convolutions_become_one_where_that_is_cheaper():
    nodes = [frame('p', 'x'), conv('a', 'p'), frame('q', 'a'), conv('y', 'q')]
    tensors = {**weights('a', 16, 1), **weights('y', 16, 16), **frames(1)}
    proto = model(nodes, tensors, dict(p=(1, 2), a=16, q=(16, 2), y=16), channels=1)
    found = same_everywhere(proto, 1)
    assert found['Conv'] == 9  # one of 5x5 for the picture, two for each strip
    sizes = [tensor.dims[2] for tensor in proto.graph.initializer if len(tensor.dims) == 4]
    assert sorted(sizes) == [3, 3, 5]


def test_a_pointwise_convolution_that_others_read_too_goes_into_the_next_ones():
    """From one channel, as the layers behind read only what it makes of that."""
    nodes = [conv('a', 'x'), frame('p', 'a', 2), conv('b', 'p', 2), frame('q', 'a'), conv('c', 'q')]
    nodes.append(helper.make_node('Sum', ['a', 'b', 'c'], ['y']))
    tensors = {**weights('a', 8, 1, 1), **weights('b', 8, 8), **weights('c', 8, 8), **frames(1, 2)}
    proto = model(nodes, tensors, dict(a=8, p=(8, 4), b=8, q=(8, 2), c=8, y=8), channels=1)
    same_everywhere(proto, 1)
    whole = [node for node in proto.graph.node if node.op_type == 'Conv' and node.name.endswith('whole')]
    shapes = {tensor.name: list(tensor.dims) for tensor in proto.graph.initializer}
    assert [shapes[node.input[1]] for node in whole] == [[8, 1, 3, 3]] * 2


@pytest.mark.parametrize('case', ['narrow', 'far', 'stride', 'size', 'constant'])
def test_what_stays(case):
    channels = 4 if case == 'narrow' else 8
    width = MAX_REACH + 1 if case == 'far' else 1
    tensors = {**weights('y', 1, channels), **frames(width), 'w': np.ones((1, 8, 3, 3))}
    nodes = [frame('p', 'x', width, 'constant' if case == 'constant' else 'reflect'), conv('y', 'p', width)]
    if case == 'stride':
        nodes[1].attribute.append(helper.make_attribute('strides', [2, 2]))
    shapes = dict(y=1) if case == 'size' else dict(p=(channels, 2 * width), y=1)
    proto = model(nodes, tensors, shapes, channels=channels)
    if case == 'size':
        del proto.graph.input[0].type.tensor_type.shape.dim[2:]  # nothing is known of the planes
    assert not compute_borders_apart(proto.graph) and kinds(proto) == {'Pad': 1, 'Conv': 1}


def test_nodes_that_read_each_other():
    proto = model(
        [helper.make_node('Relu', ['b'], ['a']), helper.make_node('Relu', ['a'], ['b'])], {}, dict(a=1, b=1), ('b',)
    )
    with pytest.raises(ValueError, match='read each other'):
        put_in_order(proto.graph, proto.graph.node)
