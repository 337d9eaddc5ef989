"""Changes of a traced graph that leave its results alone and let a runtime do more at once."""

from typing import Dict, List

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper


def rewrite(proto: ModelProto) -> ModelProto:
    """Rewrite a model in place.

    - A PReLU with one slope becomes a ``LeakyRelu``, which onnxruntime computes with the convolution before it; a ``Relu`` behind one takes its
      place.
    - A convolution with nothing but a pointwise one behind it becomes one convolution.
    - Weights that only a branch of an ``If`` needs go there, as onnxruntime lays out only what it finds beside a convolution.

    Returns:
        The same model.
    """
    _merge_activations(proto.graph)
    _merge_pointwise(proto.graph)
    _prune(proto.graph)
    _sink_weights(proto.graph)
    _prune(proto.graph)
    return proto


def _constants(graph: GraphProto) -> Dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in graph.initializer}


def _attribute(node: NodeProto, name: str, default):
    for attribute in node.attribute:
        if attribute.name == name:
            return helper.get_attribute_value(attribute)
    return default


def _branches(graph: GraphProto) -> List[GraphProto]:
    return [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField('g')]


def _consumers(graph: GraphProto) -> Dict[str, int]:
    """How often each value is used, in branches too."""
    counts: Dict[str, int] = {output.name: 1 for output in graph.output}
    for part in (graph, *_branches(graph)):
        for node in part.node:
            for name in node.input:
                counts[name] = counts.get(name, 0) + 1
        for output in part.output:
            counts[output.name] = counts.get(output.name, 0) + 1
    return counts


def _merge_activations(graph: GraphProto) -> None:
    constants = _constants(graph)
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == 'PRelu' and node.input[1] in constants:
            slope = numpy_helper.to_array(constants[node.input[1]])
            if slope.size == 1:
                node.op_type = 'LeakyRelu'
                del node.input[1]
                node.attribute.append(helper.make_attribute('alpha', float(slope.reshape(-1)[0])))
        maker = makers.get(node.input[0]) if node.input else None
        behind = node.op_type == 'Relu' and maker is not None and maker.op_type == 'LeakyRelu'
        if behind and _attribute(maker, 'alpha', 0.01) >= 0:  # what is negative stays so, and is cut
            node.input[0] = maker.input[0]


def _merge_pointwise(graph: GraphProto) -> None:
    constants, uses = _constants(graph), _consumers(graph)
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type != 'Conv' or node.input[1] not in constants:
            continue
        before = makers.get(node.input[0])
        if before is None or before.op_type != 'Conv' or uses[before.output[0]] > 1 or before.input[1] not in constants:
            continue
        named = [name for part in (before, node) for name in part.input[2:] if name]
        if any(name not in constants for name in named):
            continue
        last, first = (numpy_helper.to_array(constants[part.input[1]]) for part in (node, before))
        plain = set(last.shape[2:]) == {1} and not any(_attribute(node, 'pads', [0]))
        plain &= set(_attribute(node, 'strides', [1])) == {1} and _attribute(node, 'auto_pad', b'NOTSET') == b'NOTSET'
        if not plain or _attribute(node, 'group', 1) != 1 or _attribute(before, 'group', 1) != 1:
            continue
        if last.shape[0] > first.shape[0]:  # it would cost more
            continue
        matrix = last.reshape(last.shape[:2]).astype(np.float64)
        weight = np.tensordot(matrix, first.astype(np.float64), 1)
        bias = np.zeros(last.shape[0])
        if len(before.input) > 2 and before.input[2]:
            bias = matrix @ numpy_helper.to_array(constants[before.input[2]]).astype(np.float64)
        if len(node.input) > 2 and node.input[2]:
            bias = bias + numpy_helper.to_array(constants[node.input[2]])
        for kind, value in (('weight', weight), ('bias', bias)):
            graph.initializer.append(numpy_helper.from_array(value.astype(first.dtype), f'{node.output[0]}_{kind}'))
        inputs = [before.input[0], f'{node.output[0]}_weight', f'{node.output[0]}_bias']
        del node.input[:]
        node.input.extend(inputs)
        del node.attribute[:]
        node.attribute.extend(before.attribute)
        makers[node.output[0]], constants = node, _constants(graph)


def _prune(graph: GraphProto) -> None:
    """Take out nodes and weights that nothing uses."""
    while True:
        used = _consumers(graph)
        idle = [node for node in graph.node if not any(used.get(name) for name in node.output)]
        for node in idle:
            graph.node.remove(node)
        if not idle:
            break
    for tensor in [tensor for tensor in graph.initializer if not used.get(tensor.name)]:
        graph.initializer.remove(tensor)


def _sink_weights(graph: GraphProto) -> None:
    constants, uses = _constants(graph), _consumers(graph)
    for index, branch in enumerate(_branches(graph)):
        inside: Dict[str, str] = {}
        for node in branch.node:
            for place, name in enumerate(node.input):
                if name in constants and name not in inside:
                    alone = uses[name] == sum(list(other.input).count(name) for other in branch.node)
                    inside[name] = name if alone else f'{name}_of_branch_{index}'
                    tensor = branch.initializer.add()
                    tensor.CopyFrom(constants[name])
                    tensor.name = inside[name]
                    if alone:
                        graph.initializer.remove(constants[name])
                if name in inside:
                    node.input[place] = inside[name]
