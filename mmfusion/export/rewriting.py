"""Changes of a traced graph that leave its results alone and let a runtime do more at once."""

from typing import Dict, Optional

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from .borders import compute_borders_apart
from .nodes import attribute, branches, constants, consumers, makers, reads

NARROW, WIDE = 2, 8  # channels
STEEP = 1e38  # what it multiplies is a sign once it is cut
LAZY = ('Expand', 'If')  # go to the branch that needs them


def rewrite(proto: ModelProto, for_processors: bool = True) -> ModelProto:
    """Rewrite a model in place.

    - What follows from stored arrays alone is computed.
    - A PReLU with one slope becomes a ``LeakyRelu``, which onnxruntime computes with the convolution before it; a
      ``Relu`` behind one takes its place.
    - A convolution with nothing but a pointwise one behind it becomes one convolution.
    - A soft threshold needs no sign, which onnxruntime computes value by value.
    - A number that multiplies what a convolution reads goes into its weights.
    - An ``If`` whose result only a branch of another one needs goes there.
    - Weights that only a branch of an ``If`` needs go there, as onnxruntime lays out only what it finds beside a
      convolution.

    Args:
        proto: The model.
        for_processors: Also what onnxruntime's kernels for processors gain by: borders apart
            (:func:`~.borders.compute_borders_apart`), and a convolution of many channels to one or two as a transposed
            one, since a convolution computes eight or sixteen channels at once.

    Returns:
        The same model.
    """
    _fold_constants(proto)
    _merge_activations(proto.graph)
    for part in (proto.graph, *branches(proto.graph)):
        _shrink_by_bounds(part, {**constants(proto.graph), **constants(part)})
    _merge_pointwise(proto.graph)
    _absorb_factors(proto.graph)
    _prune(proto.graph)
    if for_processors:
        compute_borders_apart(proto.graph)
        for part in (proto.graph, *branches(proto.graph)):
            _transpose_narrow(part, {**constants(proto.graph), **constants(part)})
        _prune(proto.graph)
    _sink_branches(proto.graph)
    _sink_weights(proto.graph)
    _prune(proto.graph)
    return proto


def _fold_constants(proto: ModelProto) -> None:
    for graph in (proto.graph, *branches(proto.graph)):
        _fold_constants_of(graph, {**constants(proto.graph), **constants(graph)}, proto)


def _fold_constants_of(graph: GraphProto, stored: Dict[str, onnx.TensorProto], proto: ModelProto) -> None:
    for node in list(graph.node):
        known = all(name in stored for name in node.input if name)
        if not known or not any(node.input) or any(entry.HasField('g') for entry in node.attribute):
            continue
        values = [numpy_helper.to_array(stored[name]) if name else None for name in node.input]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
        inputs = [onnx.ValueInfoProto(name=name) for name in dict.fromkeys(filter(None, node.input))]
        single = helper.make_graph([node], 'single', inputs, outputs)
        model = helper.make_model(single, opset_imports=proto.opset_import, functions=proto.functions)
        found = ReferenceEvaluator(model).run(None, {name: value for name, value in zip(node.input, values) if name})
        if sum(value.nbytes for value in found) > 4 * sum(value.nbytes for value in values if value is not None):
            continue  # a file need not hold what is made from less
        for name, value in zip(node.output, found):
            graph.initializer.append(numpy_helper.from_array(value, name))
            stored[name] = graph.initializer[-1]
        graph.node.remove(node)


def _shrink_by_bounds(graph: GraphProto, stored: Dict[str, onnx.TensorProto]) -> None:
    """sign(x) max(|x| - t, 0) as x - min(max(x, -t), t); where t is negative, x + sign(x) |t|, as x - min(max(-c x, t),
    -t) with a huge c.
    """
    maker_of = makers(graph)

    def chain(name: str, *kinds: str) -> Optional[NodeProto]:
        """The first of some nodes one behind the other, the last of which makes a value."""
        for kind in reversed(kinds):
            node = maker_of.get(name)
            if node is None or node.op_type != kind:
                return None
            name = node.input[0]
        return node

    for node in list(graph.node):
        if node.op_type != 'Mul':
            continue
        for sign, rest in (node.input, reversed(node.input)):
            signed, absolute, less = chain(sign, 'Sign'), chain(rest, 'Abs', 'Sub', 'Relu'), chain(rest, 'Sub', 'Relu')
            if signed is None or absolute is None or signed.input[0] != absolute.input[0]:
                continue
            if less.input[1] not in stored:
                continue
            threshold = numpy_helper.to_array(stored[less.input[1]])
            values = dict(above=np.abs(threshold), below=-np.abs(threshold))
            if (threshold < 0).any():
                values['steep'] = np.where(threshold < 0, np.float32(-STEEP), np.float32(1))
            names = {key: f'{less.input[1]}_{key}' for key in values}
            for key, value in values.items():
                if names[key] not in stored:
                    graph.initializer.append(numpy_helper.from_array(value, names[key]))
                    stored[names[key]] = graph.initializer[-1]
            x = value = signed.input[0]
            place = list(graph.node).index(node)
            for kind, key in (('Mul', 'steep'), ('Max', 'below'), ('Min', 'above')):
                if key in names:
                    made = f'{node.output[0]}_{key}'
                    graph.node.insert(place, helper.make_node(kind, [value, names[key]], [made], made))
                    place, value = place + 1, made
            node.op_type, node.input[:] = 'Sub', [x, value]
            break


def _absorb_factors(graph: GraphProto) -> None:
    stored, uses, maker_of = constants(graph), consumers(graph), makers(graph)
    for node in graph.node:
        if node.op_type != 'Conv' or node.input[1] not in stored or attribute(node, 'group', 1) != 1:
            continue
        beside = maker_of.get(node.input[0])
        joined = beside is not None and beside.op_type == 'Concat' and attribute(beside, 'axis', 0) == 1
        readers = beside if joined and uses[node.input[0]] == 1 else node
        places = range(len(readers.input)) if readers is beside else (0,)
        scaled = [maker_of.get(readers.input[place]) for place in places]
        factors = {_factor(part, stored) if part is not None and uses[part.output[0]] == 1 else None for part in scaled}
        if None in factors or len(factors) > 1:
            continue
        for place, part in zip(places, scaled):
            readers.input[place] = part.input[0]
        weight = numpy_helper.to_array(stored[node.input[1]]) * np.float32(factors.pop())
        graph.initializer.append(numpy_helper.from_array(weight, f'{node.output[0]}_scaled'))
        node.input[1] = graph.initializer[-1].name


def _factor(node: NodeProto, stored: Dict[str, onnx.TensorProto]) -> Optional[float]:
    """The stored number by which a node multiplies its first input."""
    if node.op_type != 'Mul' or node.input[1] not in stored or np.prod(stored[node.input[1]].dims) != 1:
        return None
    return float(numpy_helper.to_array(stored[node.input[1]]).reshape(-1)[0])


def _transpose_narrow(graph: GraphProto, stored: Dict[str, onnx.TensorProto]) -> None:
    for node in graph.node:
        weight = stored.get(node.input[1]) if node.op_type == 'Conv' else None
        if weight is None or len(weight.dims) != 4:
            continue
        out, into, *kernel = weight.dims
        plain = attribute(node, 'group', 1) == 1 and set(attribute(node, 'strides', [1])) == {1}
        plain &= set(attribute(node, 'dilations', [1])) == {1} and attribute(node, 'auto_pad', b'NOTSET') == b'NOTSET'
        if not plain or out > NARROW or into < WIDE or kernel != [3, 3]:
            continue
        name = f'{node.input[1]}_transposed'
        if name not in stored:
            turned = numpy_helper.to_array(weight)[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(turned), name))
            stored[name] = graph.initializer[-1]
        pads = [2 - pad for pad in attribute(node, 'pads', [0] * 4)]
        node.op_type, node.input[1] = 'ConvTranspose', name
        del node.attribute[:]
        node.attribute.extend([helper.make_attribute('kernel_shape', kernel), helper.make_attribute('pads', pads)])


def _merge_activations(graph: GraphProto) -> None:
    stored = constants(graph)
    maker_of = makers(graph)
    for node in graph.node:
        if node.op_type == 'PRelu' and node.input[1] in stored:
            slope = numpy_helper.to_array(stored[node.input[1]])
            if slope.size == 1:
                node.op_type = 'LeakyRelu'
                del node.input[1]
                node.attribute.append(helper.make_attribute('alpha', float(slope.reshape(-1)[0])))
        maker = maker_of.get(node.input[0]) if node.input else None
        behind = node.op_type == 'Relu' and maker is not None and maker.op_type == 'LeakyRelu'
        if behind and attribute(maker, 'alpha', 0.01) >= 0:  # what is negative stays so, and is cut
            node.input[0] = maker.input[0]


def _merge_pointwise(graph: GraphProto) -> None:
    stored, uses = constants(graph), consumers(graph)
    maker_of = makers(graph)
    for node in graph.node:
        if node.op_type != 'Conv' or node.input[1] not in stored:
            continue
        before = maker_of.get(node.input[0])
        if before is None or before.op_type != 'Conv' or before.input[1] not in stored:
            continue
        named = [name for part in (before, node) for name in part.input[2:] if name]
        if any(name not in stored for name in named):
            continue
        last, first = (numpy_helper.to_array(stored[part.input[1]]) for part in (node, before))
        plain = set(last.shape[2:]) == {1} and not any(attribute(node, 'pads', [0]))
        plain &= set(attribute(node, 'strides', [1])) == {1} and attribute(node, 'auto_pad', b'NOTSET') == b'NOTSET'
        if not plain or attribute(node, 'group', 1) != 1 or attribute(before, 'group', 1) != 1:
            continue
        if last.shape[0] > first.shape[0]:  # it would cost more
            continue
        if uses[before.output[0]] > 1 and first[0].size > last.shape[1]:  # as the first one stays for others
            continue
        matrix = last.reshape(last.shape[:2]).astype(np.float64)
        weight = np.tensordot(matrix, first.astype(np.float64), 1)
        bias = np.zeros(last.shape[0])
        if len(before.input) > 2 and before.input[2]:
            bias = matrix @ numpy_helper.to_array(stored[before.input[2]]).astype(np.float64)
        if len(node.input) > 2 and node.input[2]:
            bias = bias + numpy_helper.to_array(stored[node.input[2]])
        for kind, value in (('weight', weight), ('bias', bias)):
            graph.initializer.append(numpy_helper.from_array(value.astype(first.dtype), f'{node.output[0]}_{kind}'))
        inputs = [before.input[0], f'{node.output[0]}_weight', f'{node.output[0]}_bias']
        del node.input[:]
        node.input.extend(inputs)
        del node.attribute[:]
        node.attribute.extend(before.attribute)
        maker_of[node.output[0]], stored = node, constants(graph)


def _prune(graph: GraphProto) -> None:
    """Take out nodes and weights that nothing uses."""
    while True:
        used, removed = consumers(graph), False
        for part in (graph, *branches(graph)):
            for node in [node for node in part.node if not any(used.get(name) for name in node.output)]:
                part.node.remove(node)
                removed = True
        if not removed:
            break
    for tensor in [tensor for tensor in graph.initializer if not used.get(tensor.name)]:
        graph.initializer.remove(tensor)


def _sink_branches(graph: GraphProto) -> None:
    for node in reversed(list(graph.node)):
        if node.op_type not in LAZY:
            continue
        outputs = set(node.output)
        readers = [other for other in graph.node if outputs & set(reads(other))]
        inner = [entry.g for other in readers for entry in other.attribute if entry.HasField('g')]
        wanting = [part for part in inner if any(outputs & set(reads(deep)) for deep in part.node)]
        beside = any(outputs & set(other.input) for other in readers) or outputs & {
            value.name for value in graph.output
        }
        if len(wanting) != 1 or beside:
            continue
        (part,) = wanting
        moved = [NodeProto.FromString(other.SerializeToString()) for other in (node, *part.node)]
        graph.node.remove(node)
        del part.node[:]
        part.node.extend(moved)
    for part in branches(graph):
        if any(node.op_type in LAZY for node in part.node):
            _sink_branches(part)


def _sink_weights(graph: GraphProto) -> None:
    stored, uses = constants(graph), consumers(graph)
    for index, branch in enumerate(branches(graph)):
        inside: Dict[str, str] = {}
        for node in branch.node:
            for place, name in enumerate(node.input):
                if name in stored and name not in inside:
                    alone = uses[name] == sum(list(other.input).count(name) for other in branch.node)
                    inside[name] = name if alone else f'{name}_of_branch_{index}'
                    tensor = branch.initializer.add()
                    tensor.CopyFrom(stored[name])
                    tensor.name = inside[name]
                    if alone:
                        graph.initializer.remove(stored[name])
                if name in inside:
                    node.input[place] = inside[name]
