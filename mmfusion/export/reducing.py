"""Graphs in half precision or with 8-bit integers, made from a graph in float32 by onnxruntime's converters."""

import tempfile
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Optional, Set

import numpy as np

from mmfusion.utils import UserError

PRECISIONS = ('float32', 'half', 'int8')
WEIGHTED = ('Conv', 'ConvTranspose', 'Gemm', 'MatMul')
NOT_HALF = ('CumSum', 'NonMaxSuppression', 'Range', 'RoiAlign', 'TopK')  # stay in float32, with casts around them
STAY_FLOAT = {'Resize': (1, 2)}  # inputs by index: regions and scales
MAX_HALF = 65504.0
HALF = '_half'  # ends the names of values in float16
Feeds = Dict[str, np.ndarray]


def to_half(proto, until: Optional[str] = None):
    """A copy that computes in float16 from the first convolution or matrix product with weights to the last one.

    What comes before and after stays in float32: color, what a fuser adds to its sources, coordinates of boxes. Inputs
    and outputs keep their types. (onnxruntime's own converter rounds whatever passes between two nodes that stay in
    float32, and gives two nodes one name where they share an input.)

    Args:
        proto: ONNX model in float32.
        until: Name of a value; what does not lead to it stays in float32.

    Raises:
        UserError: It has no weights.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.ModelProto()
    model.CopyFrom(proto)
    graph = model.graph
    _name_nodes(model)
    inside = _between_weights(graph, until)
    floats = _float_names(model)
    made_inside = {name for node in graph.node if node.name in inside for name in node.output if name in floats}
    needed = {value.name for value in graph.output}
    needed.update(name for node in graph.node if node.name not in inside for name in _reads(node))
    stored = {entry.name: entry for entry in graph.initializer}
    nodes, halves = [], set()
    for node in graph.node:
        if node.name not in inside:
            nodes.append(node)
            continue
        for index, name in enumerate(node.input):
            if name not in floats or index in STAY_FLOAT.get(node.op_type, ()):
                continue
            half = node.input[index] = f'{name}{HALF}'
            if name in made_inside or half in halves:
                continue
            halves.add(half)
            if name in stored:
                values = numpy_helper.to_array(stored[name]).clip(-MAX_HALF, MAX_HALF).astype(np.float16)
                graph.initializer.append(numpy_helper.from_array(values, half))
            else:
                nodes.append(helper.make_node('Cast', [name], [half], half, to=TensorProto.FLOAT16))
        _compute_in_half(node)
        nodes.append(node)
        for index, name in enumerate(node.output):
            if name in floats:
                node.output[index] = f'{name}{HALF}'
                if name in needed:
                    nodes.append(
                        helper.make_node('Cast', [f'{name}{HALF}'], [name], f'{name}_float', to=TensorProto.FLOAT)
                    )
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in graph.node for name in _reads(node)} | needed
    for entry in [entry for entry in graph.initializer if entry.name not in used]:
        graph.initializer.remove(entry)
    del graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model)


def as_accelerators_compute(half):
    """A copy of a graph in half precision that rounds every value between to float16, also on a processor.

    Without, onnxruntime's processor kernels compute such a graph in float32 and round the weights alone, which would
    judge it too well.

    Args:
        half: Result of :func:`to_half`.
    """
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(half)
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        for index, name in enumerate(node.output):
            if name.endswith(HALF) and node.op_type != 'Cast':
                node.output[index] = f'{name}_computed'
                # the largest of one: has a kernel for float16, and no optimizer takes it out
                nodes.append(onnx.helper.make_node('Max', [node.output[index]], [name], f'{name}_rounded'))
    copied = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copied)
    del model.graph.value_info[:]
    return model


def to_int8(proto, feeds: Iterable[Feeds], until: Optional[str] = None):
    """A copy whose convolutions and matrix products with weights compute with 8-bit integers (static,
    ``QuantizeLinear`` and ``DequantizeLinear``).

    Weights have one scale per channel and 7 bits, so that processors without VNNI do not overflow; values between have
    8 bits over the range that they had on ``feeds``.

    Args:
        proto: ONNX model in float32.
        feeds: Inputs to calibrate on, by name.
        until: Name of a value; what does not lead to it stays in float32.

    Raises:
        UserError: It has no weights.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds: Iterator[Feeds] = iter(feeds)

        def get_next(self):
            return next(self.feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        full, prepared, out = (str(Path(folder) / name) for name in ('full.onnx', 'prepared.onnx', 'int8.onnx'))
        onnx.save(proto, full)
        quant_pre_process(
            full, prepared, skip_symbolic_shape=True
        )  # folds batch norms, which would have scales of their own
        model = onnx.load(prepared)
        _name_nodes(model)
        nodes = _weighted(model.graph, until)
        quantize_static(
            model,
            out,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=sorted({node.op_type for node in nodes}),
            nodes_to_quantize=[node.name for node in nodes],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        model = onnx.load(out)
    domains = {node.domain for node in model.graph.node}
    for entry in [entry for entry in model.opset_import if entry.domain not in domains]:
        model.opset_import.remove(entry)  # onnxruntime names all it knows
    return model


def _name_nodes(proto) -> None:
    for index, node in enumerate(proto.graph.node):
        node.name = node.name or f'node_{index}'


def _leading_to(graph, value: str) -> Set[str]:
    """Names of the nodes that a value is made by."""
    wanted, found = {value}, set()
    for node in reversed(graph.node):  # in the order of computation
        if wanted & set(node.output):
            found.add(node.name)
            wanted |= _reads(node)
    return found


def _weighted(graph, until: Optional[str] = None) -> List:
    """Nodes whose second operand is a stored array, all or those that lead to a value.

    Raises:
        UserError: There is none.
    """
    stored = {entry.name for entry in graph.initializer}
    found = [node for node in graph.node if node.op_type in WEIGHTED and node.input[1] in stored]
    if until is not None:
        leading = _leading_to(graph, until)
        found = [node for node in found if node.name in leading]
    if not found:
        raise UserError(
            'the fuser has no weights, so nothing would be smaller or faster; export it without --precision'
        )
    return found


def _between_weights(graph, until: Optional[str] = None) -> Set[str]:
    """Names of the nodes that depend on a weighted one and on which a weighted one depends, both included, as far as
    they know float16.
    """
    weighted = {node.name for node in _weighted(graph, until)}
    after: Set[str] = set()
    for node in graph.node:  # in the order of computation
        if node.name in weighted or after & _reads(node):
            after.update(node.output)
    before: Set[str] = set()
    inside = set()
    for node in reversed(graph.node):
        leads = node.name in weighted or bool(before & set(node.output))
        if leads:
            before.update(_reads(node))
        whole = not any(attribute.HasField('g') for attribute in node.attribute)
        if leads and whole and after & set(node.output) and node.op_type not in NOT_HALF:
            inside.add(node.name)
    return inside


def _reads(node) -> Set[str]:
    """Names that a node reads, in the branches that it holds too."""
    inner = (attribute.g for attribute in node.attribute if attribute.HasField('g'))
    return set(node.input).union(*(_reads(part) for graph in inner for part in graph.node))


def _float_names(model) -> Set[str]:
    """Names of the values in float32."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    return {value.name for value in values if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT} | {
        entry.name for entry in graph.initializer if entry.data_type == onnx.TensorProto.FLOAT
    }


def _compute_in_half(node) -> None:
    """Change the types that a node has among its attributes."""
    from onnx import TensorProto, numpy_helper

    for attribute in node.attribute:
        if attribute.name in ('to', 'dtype') and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        elif attribute.HasField('t') and attribute.t.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(attribute.t).clip(-MAX_HALF, MAX_HALF).astype(np.float16)
            attribute.t.CopyFrom(numpy_helper.from_array(values, attribute.t.name))
