"""Borders of a picture computed apart from its middle, so that wide features need no frame around them.

onnxruntime keeps features in blocks of channels between convolutions. For a ``Pad`` that reflects or repeats their
borders it takes them out of these blocks, copies them into a larger array, and brings them back. Here the whole picture
goes through convolutions with zeros around it, which is wrong only as far from the border as the network reaches; four
strips along the borders go through the network as it is, and replace that frame in what comes out. The results are the
same up to rounding for pictures of any size: where a picture is thinner than a strip, the strip is the picture.
"""

from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from .nodes import attribute, constants, integers, makers, put_in_order, reads

MAX_REACH = 12  # pixels; a strip is twice as thick, and takes time in proportion
MIN_CHANNELS = 8  # to frame less is cheap
DETOUR = 3  # pixels that strips may begin earlier, where the features are not in blocks
POINTWISE = (
    'Abs', 'Add', 'Cast', 'Clip', 'Div', 'Elu', 'Erf', 'Exp', 'Gelu', 'HardSigmoid', 'Identity', 'LeakyRelu', 'Log',
        'Max', 'Mean',
    'Min', 'Mul', 'Neg', 'PRelu', 'Pow', 'Relu', 'Sigmoid', 'Sign', 'Softplus', 'Sqrt', 'Sub', 'Sum', 'Tanh', 'Where',
)  # fmt: skip
REDUCTIONS = ('ReduceL2', 'ReduceMax', 'ReduceMean', 'ReduceMin', 'ReduceSum')
BLOCKED = ('Add', 'Concat', 'Conv', 'LeakyRelu', 'Relu', 'Sigmoid', 'Sum', 'Tanh')  # read and write blocks of channels
FRAMES = (b'reflect', b'edge')
END = np.iinfo(np.int64).max


class Step(NamedTuple):
    """What a node does to planes (H, W).

    Attributes:
        planes: Its inputs that have some.
        reach: Pixels to each side that a result depends on.
        grows: Pixels by which each side of the planes moves outwards, or inwards if negative.
    """

    planes: Tuple[str, ...]
    reach: int = 0
    grows: int = 0


class Part(NamedTuple):
    """Nodes from frames on that look at neighborhoods, in the order of computation, and values that enter and leave."""

    places: List[int]
    entries: List[str]
    exits: List[str]
    reach: int


def compute_borders_apart(graph: GraphProto) -> int:
    """Rewrite a graph in place.

    Args:
        graph: Nodes in the order of computation, and the shapes of values as far as they are known.

    Returns:
        int: How many of its parts were rewritten.
    """
    view = _View(graph)
    parts = [part for part in view.parts() if view.pays(part)]
    made: Dict[int, List[NodeProto]] = {}  # in place of the last node of a part
    gone: Set[int] = set()
    for number, part in enumerate(parts):
        made[part.places[-1]] = _Rewritten(view, part, f'_borders_{number}').nodes
        gone.update(part.places)
    nodes = []
    for place, node in enumerate(graph.node):
        if place not in gone:
            nodes.append(node)
        nodes.extend(made.get(place, ()))
    put_in_order(graph, nodes)
    return len(parts)


class _View:
    """What is known of the values of a graph, and of the nodes behind frames."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self.stored = constants(graph)
        self.makers = makers(graph)
        self.places = {name: place for place, node in enumerate(graph.node) for name in node.output}
        self.shapes: Dict[str, Tuple] = {
            value.name: tuple(axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim)
            for value in (*graph.input, *graph.output, *graph.value_info)
        }
        self.margins: Dict[str, int] = {}  # by which planes behind a frame are larger than those that it was put around
        self.reaches: Dict[str, int] = {}

    def parts(self) -> List[Part]:
        """Groups of nodes behind frames. Whatever lies between two nodes of a group belongs to it, so all can be
        computed at once.
        """
        stages: Dict[str, int] = {}  # how often the way to a value has left a group
        found: Dict[int, List[int]] = {}
        for place, node in enumerate(self.graph.node):
            read = reads(node)
            stage = max((stages.get(name, 0) for name in read), default=0)
            current = [name for name in read if name in self.margins and stages[name] == stage]
            step = self.step(node)
            margin = None if step is None else self._margin_of(step, current)
            belongs = margin is not None and bool(current or node.op_type == 'Pad')
            for name in node.output:
                stages[name] = stage if belongs else stage + bool(current)
            if belongs:
                found.setdefault(stage, []).append(place)
                reach = step.reach + max((self.reaches[name] for name in current), default=0)
                for name in node.output:
                    self.margins[name], self.reaches[name] = margin + step.grows, reach
        return [self._part(places) for stage in found.values() for places in self._connected(stage)]

    def _margin_of(self, step: Step, current: Sequence[str]) -> Optional[int]:
        """Margin of the planes that a node reads; None where they differ, or nothing but planes must be read and
        something else is.
        """
        margins = {self.margins[name] if name in current else 0 for name in step.planes}
        if len(margins) != 1 or not set(current) <= set(step.planes):
            return None
        (margin,) = margins
        return margin if margin + step.grows >= 0 else None

    def _connected(self, places: Sequence[int]) -> List[List[int]]:
        groups: List[Tuple[Set[str], List[int]]] = []
        for place in places:
            node = self.graph.node[place]
            names = {*(name for name in node.input if name in self.margins), *node.output}
            touching = [group for group in groups if group[0] & names]
            groups = [group for group in groups if group not in touching]
            members = sorted({place}.union(*(group for _, group in touching)))
            groups.append((names.union(*(group for group, _ in touching)), members))
        return [members for _, members in groups]

    def _part(self, places: List[int]) -> Part:
        nodes = [self.graph.node[place] for place in places]
        inside = {name for node in nodes for name in node.output}
        entries = [name for node in nodes for name in self.step(node).planes if name not in inside]
        needed = {output.name for output in self.graph.output}
        for place, node in enumerate(self.graph.node):
            if place not in places:
                needed.update(reads(node))
        exits = sorted(inside & needed)
        return Part(places, list(dict.fromkeys(entries)), exits, max((self.reaches[name] for name in exits), default=0))

    def pays(self, part: Part) -> bool:
        """Whether a part can be rewritten, and that saves frames around wide features."""
        planes = {self.shapes[name][2:] for name in part.entries}
        wide = any(
            node.op_type == 'Pad' and _number(self.shapes[node.input[0]][1]) >= MIN_CHANNELS and max(self.frame(node))
            for node in (self.graph.node[place] for place in part.places)
        )
        whole = all(self.margins[name] == 0 for name in part.exits)
        return wide and whole and len(planes) == 1 and 0 < part.reach <= MAX_REACH and bool(part.exits)

    def step(self, node: NodeProto) -> Optional[Step]:
        """What a node does to planes; None where that is not known, or more than a neighborhood matters."""
        planes = tuple(name for name in node.input if self._has_planes(name))
        kind = node.op_type
        if not planes:
            return None
        if kind in POINTWISE:
            others = [name for name in node.input if name and name not in planes]
            return Step(planes) if all(map(self._same_everywhere, others)) else None
        if kind in ('Concat', 'Split'):
            return Step(planes) if attribute(node, 'axis', 0) in (0, 1) else None
        if planes != (node.input[0],):
            return None
        if kind in ('Slice', *REDUCTIONS):
            axes = integers(self.stored.get(_input(node, 3 if kind == 'Slice' else 1)))
            whole = axes is not None and set(axes) <= ({0, 1} if kind == 'Slice' else {1})
            return Step(planes) if whole and attribute(node, 'keepdims', 1) else None
        if kind == 'Pad':
            sides = self.frame(node)
            return Step(planes, 0, sides[0]) if len(set(sides)) == 1 and sides[0] >= 0 else None
        return self._convolution(node, planes) if kind == 'Conv' else None

    def frame(self, node: NodeProto) -> Tuple[int, ...]:
        """Pixels at the four sides that a ``Pad`` puts around planes as a border would; nothing where it does something
        else.
        """
        pads = integers(self.stored.get(node.input[1]))
        known = attribute(node, 'mode', b'constant') in FRAMES and pads is not None and len(pads) == 8
        if not known or _input(node, 3) or any(pads[axis] for axis in (0, 1, 4, 5)):
            return ()
        return pads[2], pads[3], pads[6], pads[7]

    def _convolution(self, node: NodeProto, planes: Tuple[str, ...]) -> Optional[Step]:
        weight = self.stored.get(node.input[1])
        if weight is None or len(weight.dims) != 4 or attribute(node, 'auto_pad', b'NOTSET') != b'NOTSET':
            return None
        sizes, spreads = set(weight.dims[2:]), set(attribute(node, 'dilations', [1]))
        pads, strides = set(attribute(node, 'pads', [0])), set(attribute(node, 'strides', [1]))
        if any(len(found) > 1 for found in (sizes, spreads, pads)) or strides != {1} or min(sizes) % 2 == 0:
            return None
        reach, pad = min(spreads) * (min(sizes) - 1) // 2, min(pads)
        return Step(planes, reach, pad - reach) if pad <= reach else None

    def _has_planes(self, name: str) -> bool:
        shape = self.shapes.get(name, ())
        return len(shape) == 4 and name not in self.stored and tuple(shape[2:]) != (1, 1)

    def _same_everywhere(self, name: str) -> bool:
        """Whether a value is the same for all pixels."""
        shape = tuple(self.stored[name].dims) if name in self.stored else self.shapes.get(name)
        return shape is not None and set(shape[-2:]) <= {1}

    def before(self, name: str, reach: int = DETOUR) -> Optional[List[int]]:
        """Places of nodes that make wide features from what does not lie in blocks, None where that is more than
        ``reach`` pixels of work away.
        """
        node = self.makers.get(name)
        step = None if node is None or node.op_type not in BLOCKED else self.step(node)
        if _number(self.shapes[name][1]) < MIN_CHANNELS or step is None or name in self.margins:
            return []
        if step.grows or step.reach > reach:
            return None
        ways = [self.before(source, reach - step.reach) for source in step.planes]
        if any(way is None for way in ways):
            return None
        return sorted({self.places[name]}.union(*ways))


class _Rewritten:
    """The nodes of a part in their new form.

    Attributes:
        nodes: The whole picture with zeros around it, the strips, and what puts them together.
    """

    def __init__(self, view: _View, part: Part, suffix: str) -> None:
        self.view, self.part, self.suffix = view, part, suffix
        self.nodes: List[NodeProto] = []
        earlier = {name: view.before(name) or [] for name in part.entries}
        places = sorted({*part.places}.union(*earlier.values()))
        reach = part.reach + sum(
            view.step(view.graph.node[place]).reach for place in places if place not in part.places
        )
        whole = self._whole()
        thick = 2 * reach
        ends = dict(top=(2, 0, thick), bottom=(2, -thick, END), left=(3, 0, thick), right=(3, -thick, END))
        strips = {side: self._strip(side, places, *end) for side, end in ends.items()}
        for name in part.exits:
            self._join(name, whole[name], {side: strip[name] for side, strip in strips.items()}, reach)

    def _whole(self) -> Dict[str, str]:
        """The part for the whole picture: no frames, zeros around the convolutions."""
        names: Dict[str, str] = {}
        for place in self.part.places:
            node = self.view.graph.node[place]
            if node.op_type == 'Pad':
                names[node.output[0]] = names.get(node.input[0], node.input[0])
                continue
            new = self._copy(node, names, f'{self.suffix}_whole')
            if node.op_type == 'Conv':
                kept = [entry for entry in new.attribute if entry.name != 'pads']
                del new.attribute[:]
                new.attribute.extend([*kept, helper.make_attribute('pads', [self.view.step(node).reach] * 4)])
        self._merge_convolutions([names[name] for name in self.part.exits])
        return names

    def _merge_convolutions(self, kept: Sequence[str]) -> None:
        """Two convolutions with nothing in between become one where that takes fewer products; only their frame
        changes.
        """
        stored = self.view.stored
        read = [name for node in self.nodes for name in node.input] + list(kept)
        made = {node.output[0]: node for node in self.nodes}
        for node in list(self.nodes):
            before = made.get(node.input[0]) or self._pointwise(node.input[0])
            if before is None or not (_is_dense(before, stored) and _is_dense(node, stored)):
                continue
            first, second = (numpy_helper.to_array(stored[part.input[1]]) for part in (before, node))
            spreads = [attribute(part, 'dilations', [1, 1]) for part in (before, node)]
            pointwise = first.shape[2:] == (1, 1)
            if not pointwise and (set(spreads[0]) | set(spreads[1])) != {1}:
                continue
            size = first.shape[2] + second.shape[2] - 1
            alone = before in self.nodes and read.count(before.output[0]) == 1  # otherwise it stays, for others
            if size**2 * first.shape[1] * len(second) >= second.size + alone * first.size:
                continue
            weight = np.zeros((len(second), first.shape[1], size, size))
            for row, column in np.ndindex(*second.shape[2:]):
                place = (..., slice(row, row + first.shape[2]), slice(column, column + first.shape[3]))
                weight[place] += np.tensordot(second[..., row, column].astype(float), first.astype(float), 1)
            bias = _bias(node, stored, len(second))
            bias = bias + second.astype(float).sum((2, 3)) @ _bias(before, stored, len(first))
            inputs = [before.input[0]]
            for kind, value in (('weight', weight), ('bias', bias)):
                name = f'{node.output[0]}_{kind}'
                self.view.graph.initializer.append(numpy_helper.from_array(value.astype(first.dtype), name))
                stored[name] = self.view.graph.initializer[-1]
                inputs.append(name)
            pads = [spreads[1][0] * (size // 2)] * 4
            shape = dict(kernel_shape=[size] * 2, pads=pads, dilations=spreads[1])
            merged = helper.make_node('Conv', inputs, node.output, node.name, **shape)
            self.nodes[self.nodes.index(node)] = made[node.output[0]] = merged
            read.append(inputs[0])
            read.remove(before.output[0])
            if alone:
                self.nodes.remove(before)
                read.remove(inputs[0])

    def _pointwise(self, name: str) -> Optional[NodeProto]:
        """The pointwise convolution before this part that makes a value, if one does."""
        node = self.view.makers.get(name)
        if node is None or node.op_type != 'Conv' or name in self.view.margins:
            return None
        weight = self.view.stored.get(node.input[1])
        step = self.view.step(node)
        return node if weight is not None and set(weight.dims[2:]) == {1} and step == Step((node.input[0],)) else None

    def _strip(self, side: str, places: Iterable[int], axis: int, start: int, end: int) -> Dict[str, str]:
        """The part, with the nodes before it that take part, for one strip."""
        names: Dict[str, str] = {}
        nodes = [self.view.graph.node[place] for place in places]
        made = {name for node in nodes for name in node.output}
        for node in nodes:
            for name in self.view.step(node).planes:
                if name not in made and name not in names:
                    names[name] = self._slice(name, f'{name}{self.suffix}_{side}', [axis], [start], [end])
            self._copy(node, names, f'{self.suffix}_{side}')
        return names

    def _join(self, name: str, whole: str, strips: Dict[str, str], reach: int) -> None:
        """The frame from the strips, the rest from the whole picture. Where strips overlap, the first one has what
        comes before ``reach``.
        """
        middle = self._slice(whole, f'{whole}_middle', [2, 3], [reach, reach], [-reach, -reach])
        cuts = dict(
            top=([2], [0], [reach]),
            bottom=([2], [reach], [END]),
            left=([2, 3], [reach, 0], [-reach, reach]),
            right=([2, 3], [reach, reach], [-reach, END]),
        )
        parts = {side: self._slice(strips[side], f'{strips[side]}_cut', *cut) for side, cut in cuts.items()}
        row = f'{name}{self.suffix}_row'
        self._add(helper.make_node('Concat', [parts['left'], middle, parts['right']], [row], row, axis=3))
        self._add(
            helper.make_node('Concat', [parts['top'], row, parts['bottom']], [name], f'{name}{self.suffix}', axis=2)
        )

    def _copy(self, node: NodeProto, names: Dict[str, str], suffix: str) -> NodeProto:
        new = NodeProto.FromString(node.SerializeToString())
        new.name = f'{node.name or node.output[0]}{suffix}'
        new.input[:] = [names.get(name, name) for name in node.input]
        for place, name in enumerate(node.output):
            names[name] = new.output[place] = f'{name}{suffix}'
        return self._add(new)

    def _slice(self, source: str, name: str, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int]) -> str:
        inputs = [source, *map(self._integers, (starts, ends, axes))]
        self._add(helper.make_node('Slice', inputs, [name], name))
        return name

    def _integers(self, values: Sequence[int]) -> str:
        name = 'borders_' + '_'.join(map(str, values))
        if name not in self.view.stored:
            self.view.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
            self.view.stored[name] = self.view.graph.initializer[-1]
        return name

    def _add(self, node: NodeProto) -> NodeProto:
        self.nodes.append(node)
        return node


def _is_dense(node: NodeProto, stored: Dict[str, TensorProto]) -> bool:
    """Whether a node is a convolution without groups, of stored weights."""
    dense = node.op_type == 'Conv' and attribute(node, 'group', 1) == 1
    return dense and all(name in stored for name in node.input[1:] if name)


def _bias(node: NodeProto, stored: Dict[str, TensorProto], channels: int) -> np.ndarray:
    name = _input(node, 2)
    return numpy_helper.to_array(stored[name]).astype(float) if name else np.zeros(channels)


def _input(node: NodeProto, place: int) -> str:
    return node.input[place] if len(node.input) > place else ''


def _number(size: object) -> int:
    return size if isinstance(size, int) else 0
