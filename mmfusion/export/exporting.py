"""Export of a coupling to one ONNX file that knows what it is."""

import logging
import os
import warnings
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch

from mmfusion.apis.build import BuiltModel, ModelLike, build_coupling
from mmfusion.fileio import write_bytes
from mmfusion.fileio.reading import sha256
from mmfusion.models.couplings import TaskNetwork
from mmfusion.models.fusers import BaseFuser
from mmfusion.models.fusers.reach import UNSTATED
from mmfusion.runtime.metadata import KEY, GraphInfo
from mmfusion.utils import UserError, register_all_modules
from mmfusion.utils.compat import without_provenance
from mmfusion.utils.errors import InputError
from mmfusion.version import __version__

from . import operators
from .checking import SizeCheck, check_graph, example_pictures
from .detectors import translations
from .graph import FLOATS, FUSED, FusionGraph
from .judging import MAX_CALIBRATED, MAX_MAP_LOSS, MAX_OTHER_CLASS, MIN_PSNR, Figures, UserPairs, check_it_runs, compare
from .reducing import PRECISIONS, as_accelerators_compute, to_half, to_int8
from .rewriting import rewrite
from .tasks import SMALLEST

OPSET = 18
DTYPES = ('uint8', 'float32')
LARGEST = 65536  # height and width
MAX_BATCH = 1024
SIDE = 1001  # of a picture that is a multiple of nothing
NEEDED = ('onnx', 'onnxscript', 'onnxruntime')
INSTALL = 'pip install -c requirements/constraints.txt -r requirements/export.txt'


class ExportReport(NamedTuple):
    """What was exported.

    Attributes:
        path: The file.
        info: What it says of itself.
        checks: Comparison with the network.
        size: Bytes of the file.
        kept: What half precision or int8 keeps of float32; None without.
    """

    path: str
    info: GraphInfo
    checks: List[SizeCheck]
    size: int
    kept: Optional[Figures] = None


def export_model(
    model: ModelLike,
    out: Union[str, Path],
    weights: Optional[Union[str, Path]] = None,
    channels: Sequence[int] = (3, 1),
    input: str = 'uint8',
    output: str = 'uint8',
    fuser_options: Optional[Dict[str, Any]] = None,
    tasks: Sequence[str] = (),
    precision: str = 'float32',
    calibrate: Optional[Tuple[Union[str, Path], Union[str, Path]]] = None,
    labels: Optional[Union[str, Path]] = None,
    fuser: Optional[str] = None,
    float_tasks: bool = False,
) -> ExportReport:
    """Write the fuser of a model as one ONNX file for batches and pictures of any size, and compare it with the
    network.

    Color, padding and rounding are part of the graph: two pictures go in as they are, the fused one comes out.
    :mod:`mmfusion.runtime` runs the file without torch.

    Args:
        model: What :class:`~mmfusion.apis.FusionInferencer` takes.
        out: File to write, ``.onnx``.
        weights: Checkpoint for it.
        channels: Channels of the first and the second picture: 1 (gray) or 3 (RGB).
        input: ``'uint8'``, or ``'float32'`` in [0, 1] for pictures of more than 8 bits.
        output: The same of the fused picture.
        fuser_options: Options of the fuser, which the file then has for good.
        tasks: Names of a detector and a segmentor of the model, whose boxes and class map of the fused picture become
            outputs.
        precision: ``'float32'``, ``'half'`` (float16 between the first and the last weights) or ``'int8'`` (static,
            convolutions and matrix products with weights).
        calibrate: Folders of the first and the second source, matched by file name, for ``half`` and ``int8``: their
            pairs show the ranges of values, and what is kept of the result.
        labels: Boxes of these pairs, which a detector in half precision or int8 is judged by; see
            :class:`~.judging.UserPairs`.
        fuser: Name of a trained model, whose fuser takes the place of the config's; ``weights`` may then be those of a
            detector or segmentor alone.
        float_tasks: Leave the task networks in float32 where ``precision`` is less.

    Raises:
        UserError: A package is missing, the model cannot be built, its fuser cannot be exported, the graph differs from
            the network, or half precision or int8 loses more than :data:`~.judging.MIN_PSNR` and its neighbors allow.
            No file is written then.
    """
    check_packages()
    check_precision(precision, calibrate, labels, float_tasks)
    if input not in DTYPES or output not in DTYPES:
        raise InputError(f'input and output must be out of {DTYPES}, got {input!r} and {output!r}')
    if len(channels) != 2 or not set(channels) <= {1, 3}:
        raise InputError(f'channels are two numbers out of 1 (gray) and 3 (RGB), got {tuple(channels)}')
    if Path(out).suffix != '.onnx':
        raise InputError(f'the file must end with .onnx, got {out}')
    if Path(out).is_dir():
        raise InputError(f'{out} is a folder; name a file')
    register_all_modules()
    built = build_coupling(model, weights, fuser=fuser)
    coupling = built.coupling
    unknown = sorted(set(fuser_options or {}) - set(coupling.fuser.options()))
    if unknown:
        known = ', '.join(coupling.fuser.options()) or 'none'
        raise UserError(f'{type(coupling.fuser).__name__} has no option {", ".join(unknown)}; it has {known}')
    coupling.fuser_options = dict(fuser_options or {})
    graph = FusionGraph(coupling, tasks).eval()  # refuses what cannot be exported, before anything that takes time
    network = coupling.fuser
    pairs = UserPairs(*calibrate, labels) if calibrate is not None else None
    if pairs is not None and any(coupling.tasks[name].kind == 'detection' for name in tasks):
        if labels is None:
            raise UserError(
                f'{precision} with a detector is judged by mAP50 on your pairs, which needs their boxes: --labels PATH'
            )
        pairs.check_labels(built.meta.get('classes') or ())
    smallest = max(network.graph_min_size, SMALLEST if tasks else 0)
    parts = [network, *(coupling.tasks[name].network for name in tasks)]
    title = ' with '.join(type(part).__name__ for part in parts)
    proto = trace(graph, channels, input, smallest, title, for_processors=precision == 'float32')
    checks = check_graph(graph, open_session(proto), channels, input, smallest, network.size_multiple)
    info = GraphInfo(
        name=_name(model, built, fuser),
        fuser=type(_innermost(network)).__name__,
        made_with=__version__,
        sources=tuple(built.meta.get('modalities') or ('first', 'second')),
        channels=tuple(channels),
        input=input,
        output=output,
        smallest=smallest,
        reach=_reach(network),
        multiple=network.tile_multiple(),
        keeps_gray=network.color_space == 'luminance' or 1 in network.channels,
        options=dict(coupling.fuser_options),
        sha256=_sha256(weights, built),
        fuser_sha256=built.card.sha256 if built.card is not None and fuser is not None else None,
        license=built.card.license if built.card is not None and (weights is None or fuser is not None) else '',
        opset=OPSET,
        tasks={name: _describe(coupling.tasks[name], built.meta) for name in tasks},
        checked=tuple(map(str, checks)),
    )
    kept = None
    if pairs is not None:
        proto, kept = make_smaller(proto, precision, pairs, info, float_tasks)
        info = replace(info, precision=precision, float_tasks=float_tasks, kept=kept.to_dict())
    data = _finish(proto, info)
    write_bytes(out, data)
    return ExportReport(os.path.abspath(out), info, checks, len(data), kept)


def check_precision(
    precision: str, calibrate: Optional[Sequence], labels: Optional[Union[str, Path]], float_tasks: bool = False
) -> None:
    """Raise an error where the precision and what it is judged by do not belong together.

    Raises:
        UserError: The precision is unknown, pairs are missing, or what is for half precision and int8 is given for
            float32.
    """
    if precision not in PRECISIONS:
        raise InputError(f'precision must be out of {PRECISIONS}, got {precision!r}')
    if precision == 'float32' and (calibrate is not None or labels is not None or float_tasks):
        raise InputError(
            'pairs, labels and --float-tasks are for half precision and int8; add --precision half or int8, '
            'or leave them out'
        )
    if precision != 'float32' and calibrate is None:
        raise InputError(f'{precision} is judged by your pairs of pictures: --calibrate FIRST_FOLDER SECOND_FOLDER')


def make_smaller(
    proto, precision: str, pairs: UserPairs, info: GraphInfo, float_tasks: bool = False
) -> Tuple[Any, Figures]:
    """A graph in half precision or int8, and what it keeps.

    Raises:
        UserError: It has no weights, does not run, or loses more than is allowed.
    """
    until = FLOATS if float_tasks else None
    with _quiet():
        smaller = (
            to_half(proto, until) if precision == 'half' else to_int8(proto, pairs.feeds(info, MAX_CALIBRATED), until)
        )
    check_it_runs(open_session(smaller), info)
    judged = as_accelerators_compute(smaller) if precision == 'half' else smaller
    kept = compare(open_session(proto), open_session(judged), pairs, info)
    if not kept.passed:
        remedies = [
            '--precision half' if precision == 'int8' else '',
            '--float-tasks' if kept.only_tasks_fail and not float_tasks else '',
        ]
        raise UserError(
            f'{precision} loses too much here: {kept}. Required are {MIN_PSNR:g} dB for every pair, '
            f'at most {MAX_MAP_LOSS:g} point of mAP50 less, and another class on at most {100 * MAX_OTHER_CLASS:g} % '
            f'of the pixels. No file was written; '
            + ('try ' + ' or '.join(filter(None, remedies)) if any(remedies) else 'export without --precision')
        )
    return smaller, kept


def _describe(task: TaskNetwork, meta: dict) -> Dict[str, Any]:
    """What the file says of a task network."""
    classes, palette = (meta.get(f'seg_{key}') or meta.get(key) or () for key in ('classes', 'palette'))
    if task.kind == 'detection':
        classes, palette = meta.get('classes') or (), meta.get('palette') or ()
    head = task.network.bbox_head if task.kind == 'detection' else task.network.decode_head
    return dict(
        kind=task.kind,
        type=type(task.network).__name__,
        head=type(head).__name__,
        classes=list(classes),
        palette=[list(color) for color in palette],
    )


def check_packages() -> None:
    """Raise an error that names the packages an export needs, where one is missing.

    Raises:
        UserError: A package is missing.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f'export needs {", ".join(missing)}: {INSTALL}')


def trace(
    graph: torch.nn.Module, channels: Sequence[int], dtype: str, smallest: int, name: str, for_processors: bool = True
):
    """The graph as an ONNX model with all outputs; ``for_processors`` as in :func:`~.rewriting.rewrite`.

    Raises:
        UserError: The network cannot be traced, or only for one size.
    """
    # sides that are a multiple of nothing, unequal, and other than the batch: whatever is fixed by mistake shows; the
    # scales of detectors go down to an eighth of SMALLEST pixels, and one that is a single pixel there would stay one
    example = (smallest + 37, smallest + 55) if smallest < SMALLEST else (smallest + 229, smallest + 357)
    pictures = [torch.from_numpy(picture) for picture in example_pictures((2, *example), channels, dtype)]
    sizes = {
        0: torch.export.Dim('n', min=1, max=MAX_BATCH),
        1: torch.export.Dim('h', min=smallest, max=LARGEST),
        2: torch.export.Dim('w', min=smallest, max=LARGEST),
    }
    with torch.no_grad(), without_provenance(), _quiet():
        outputs = list(graph(*pictures))
        try:
            program = torch.onnx.export(
                graph,
                tuple(pictures),
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                dynamic_shapes=(sizes, sizes),
                input_names=['first', 'second'],
                output_names=outputs,
                verbose=False,
                custom_translation_table={**operators.translations(), **translations()},
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            raise UserError(f'{name} cannot be exported: {_cause(error)}') from error
    proto = program.model_proto
    for value in proto.graph.input:
        fixed = [axis.dim_value for axis in value.type.tensor_type.shape.dim[:3] if axis.HasField('dim_value')]
        if fixed:
            raise UserError(f'{name} cannot be exported for all sizes: {value.name} would be fixed to {fixed}')
    return rewrite(proto, for_processors)


def open_session(proto):
    """onnxruntime session of a model in memory."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=['CPUExecutionProvider'])


def _finish(proto, info: GraphInfo) -> bytes:
    """The bytes of the file: with the one form of the picture that was asked for, and with what it says of itself."""
    unwanted = FUSED if info.output == 'float32' else FLOATS
    kept = [value for value in proto.graph.output if value.name != unwanted]
    del proto.graph.output[:]
    proto.graph.output.extend(kept)
    del proto.metadata_props[:]
    entry = proto.metadata_props.add()
    entry.key, entry.value = KEY, info.to_json()
    proto.producer_name, proto.producer_version = 'mmfusion', __version__
    proto.doc_string = f'{info.name}: fusion by {info.fuser}'
    for node in proto.graph.node:
        node.ClearField('metadata_props')  # traces of the source code
        node.ClearField('doc_string')
    return proto.SerializeToString()


def _reach(fuser: BaseFuser) -> Optional[int]:
    """Its receptive field where tiles of the graph can give what the whole picture gives."""
    inner = _innermost(fuser)
    plain = type(inner).prepare is BaseFuser.prepare and type(inner).finish is BaseFuser.finish
    if not plain or inner.postprocess or fuser.reach == UNSTATED:
        return None
    return fuser.reach_at(SIDE, SIDE)


def _innermost(fuser: BaseFuser) -> BaseFuser:
    network = getattr(fuser, 'network', None)
    return network if isinstance(network, BaseFuser) else fuser


def _name(model: ModelLike, built: BuiltModel, fuser: Optional[str]) -> str:
    if fuser is not None:
        return f'{fuser} with {Path(str(model)).stem}' if isinstance(model, (str, Path)) else fuser
    if built.card is not None:
        return built.card.name
    return Path(str(model)).stem if isinstance(model, (str, Path)) else type(_innermost(built.coupling.fuser)).__name__


def _sha256(weights: Optional[Union[str, Path]], built: BuiltModel) -> Optional[str]:
    if weights is not None:
        return sha256(weights)
    return None if built.card is None else built.card.sha256


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what torch's exporter says of itself."""
    loggers = [
        logging.getLogger(name) for name in ('torch.onnx', 'torch.onnx._internal.exporter', 'onnxscript', 'onnx_ir')
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
