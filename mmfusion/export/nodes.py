"""Questions about the nodes of an ONNX graph."""

from typing import Any, Dict, List, Optional, Sequence

import onnx
from onnx import GraphProto, NodeProto, helper, numpy_helper


def constants(graph: GraphProto) -> Dict[str, onnx.TensorProto]:
    """Stored arrays by name."""
    return {tensor.name: tensor for tensor in graph.initializer}


def makers(graph: GraphProto) -> Dict[str, NodeProto]:
    """The node that makes a value, by the name of the value."""
    return {name: node for node in graph.node for name in node.output}


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """Value of an attribute."""
    for entry in node.attribute:
        if entry.name == name:
            return helper.get_attribute_value(entry)
    return default


def integers(tensor: Optional[onnx.TensorProto]) -> Optional[List[int]]:
    """Values of a stored array of integers; None without one."""
    return None if tensor is None else [int(value) for value in numpy_helper.to_array(tensor).reshape(-1)]


def branches(graph: GraphProto) -> List[GraphProto]:
    """Graphs inside the nodes of a graph, and inside theirs."""
    found = [entry.g for node in graph.node for entry in node.attribute if entry.HasField('g')]
    return [*found, *(inner for part in found for inner in branches(part))]


def consumers(graph: GraphProto) -> Dict[str, int]:
    """How often each value is used, in branches and as an output too."""
    counts: Dict[str, int] = {output.name: 1 for output in graph.output}
    for part in (graph, *branches(graph)):
        for node in part.node:
            for name in node.input:
                counts[name] = counts.get(name, 0) + 1
        for output in part.output:
            counts[output.name] = counts.get(output.name, 0) + 1
    return counts


def reads(node: NodeProto) -> List[str]:
    """Names that a node reads, in the branches that it holds too."""
    inner = [entry.g for entry in node.attribute if entry.HasField('g')]
    deep = [name for graph in inner for part in graph.node for name in reads(part)]
    deep += [output.name for graph in inner for output in graph.output]
    return [name for name in (*node.input, *deep) if name]


def put_in_order(graph: GraphProto, nodes: Sequence[NodeProto]) -> None:
    """Make nodes those of a graph, each behind what it reads, otherwise in the order in which they come."""
    missing = {name for node in nodes for name in node.output}
    waiting, ordered = list(nodes), []
    while waiting:
        late = []
        for node in waiting:
            if missing.isdisjoint(reads(node)):
                ordered.append(NodeProto.FromString(node.SerializeToString()))
                missing.difference_update(node.output)
            else:
                late.append(node)
        if len(late) == len(waiting):
            raise ValueError(f'nodes that read each other: {[node.name for node in late]}')
        waiting = late
    del graph.node[:]
    graph.node.extend(ordered)
