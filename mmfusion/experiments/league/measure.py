"""Measurements of a league: pictures of a method, their scores, and what an untouched task network makes of them."""

import copy
import json
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate

from mmfusion.evaluation.folders.scoring import single_thread
from mmfusion.evaluation.protocols import evaluate_metrics, prepare_images
from mmfusion.experiments.verdict.record import Record
from mmfusion.experiments.verdict.recorder import PredictionRecorder
from mmfusion.fileio.image_reading import to_working_range
from mmfusion.fileio.image_writing import FileNames
from mmfusion.fileio.reading import MAX_TEXT_BYTES, parse_json, read_bytes, sha256
from mmfusion.registry import MODELS, build_configured
from mmfusion.running.checks import name_classes
from mmfusion.running.runner import init_weights_quietly
from mmfusion.utils import UserError
from mmfusion.utils.progress import progress_bar

from .methods import Pictures, make_inferencer
from .pair_set import LOAD, PairSet, to_batch
from .settings import Method, Network

SCORES_FILE, RECORD_FILE = 'scores.jsonl', 'record.npz'


def picture_files(names: Sequence[str], folder: Path) -> Pictures:
    """Where the pictures of the pairs lie."""
    files = FileNames()
    return Pictures({name: str(folder / f'{files(name, name)}.png') for name in names})


def make_pictures(method: Method, pairs: PairSet, folder: Path, device: str = 'cpu') -> Pictures:
    """Fuse the pairs that have no picture yet, and store 8-bit png files."""
    pictures = picture_files(pairs.names, folder)
    todo = [index for index, name in enumerate(pairs.names) if not Path(pictures.files[name]).exists()]
    fuse = make_inferencer(method, LOAD, device) if todo else None
    with progress_bar(len(todo), f'{method.name} fuses {pairs.pairs.name}') as bar:
        for index in todo:
            item = pairs.item(index)
            path = pictures.files[pairs.names[index]]
            fuse(item['first'], item['second'], out_dir=path, channel_order='bgr', progress=False)
            bar.update()
    return pictures


def rate_pictures(
    pictures: Pictures, pairs: PairSet, metrics: Sequence[str], protocol: str, folder: Path
) -> Dict[str, Dict[str, float]]:
    """Values of every metric for every pair; those of an earlier piece are read.

    Returns:
        Values by name of the pair and metric; NaN where a metric is undefined.
    """
    path = folder / SCORES_FILE
    data = read_bytes(path, MAX_TEXT_BYTES) if path.exists() else b''
    done = dict(_parse_scores(data, metrics))
    with single_thread(), open(path, 'ab') as file:
        if data and not data.endswith(b'\n'):  # a run was killed while it wrote
            file.write(b'\n')
        for index, name in enumerate(pairs.names):
            if name in done:
                continue
            values = rate_picture(pictures, pairs, index, metrics, protocol)
            file.write(json.dumps(dict(name=name, values=values)).encode() + b'\n')
            file.flush()
            done[name] = values
    return {name: done[name] for name in pairs.names}


def rate_picture(
    pictures: Pictures, pairs: PairSet, index: int, metrics: Sequence[str], protocol: str
) -> Dict[str, float]:
    """Values of every metric for one pair."""
    name = pairs.names[index]
    fused = to_batch(to_working_range(pictures.read(name), pictures.files[name]))
    images = prepare_images([fused, *pairs.sources(index)], protocol)
    return {key: value.item() for key, value in evaluate_metrics(metrics, *images, protocol=protocol).items()}


def _parse_scores(data: bytes, metrics: Sequence[str]) -> Iterator[Tuple[str, dict]]:
    for line in data.splitlines():
        try:
            row = parse_json(line)
        except ValueError:
            continue  # cut off
        if (
            isinstance(row, dict)
            and isinstance(row.get('values'), dict)
            and all(name in row['values'] for name in metrics)
        ):
            yield str(row.get('name')), row['values']


def weights_of(network: dict) -> Optional[str]:
    """Local checkpoint that the ``init_cfg`` of a network names, None without one."""
    start = network.get('init_cfg')
    return start.get('checkpoint') if isinstance(start, dict) else None


def unusable_network(network: Network, pairs: PairSet) -> str:
    """Why a network cannot be tested on a set of pairs, empty if it can."""
    checkpoint = weights_of(network.network)
    if checkpoint is None:
        return f'no weights: init_cfg of networks.{network.name} names no checkpoint'
    if '://' not in checkpoint and not Path(checkpoint).is_file():
        return f'no weights: {checkpoint} is not there'
    if not (pairs.has_boxes or pairs.has_maps):
        return f'{pairs.pairs.title} has no labels'
    return ''


def network_facts(network: Network) -> dict:
    """What the answers of a network depend on besides the pictures."""
    checkpoint = weights_of(network.network)
    local = checkpoint and '://' not in checkpoint
    return dict(
        network=network.network,
        image_size=list(network.image_size or ()),
        weights=sha256(checkpoint) if local else checkpoint,
    )


def test_network(
    network: Network, pictures: Pictures, pairs: PairSet, folder: Path, device: str = 'cpu'
) -> Dict[str, float]:
    """Let a network look at every picture and keep what it says; return the number of images.

    The file ``record.npz`` holds predictions and truth, from which all figures follow.
    """
    coupling = _network_alone(network, pairs).to(device)
    kind = next(iter(coupling.tasks.values())).kind
    if kind == 'detection' and not pairs.has_boxes or kind == 'segmentation' and not pairs.has_maps:
        raise UserError(
            f'{pairs.pairs.title} has no {"boxes" if kind == "detection" else "class maps"} to hold '
            f'{network.title} against'
        )
    steps = _pipeline(network, kind, pairs)
    recorder = PredictionRecorder(str(folder / RECORD_FILE), (kind,), rate=False)
    recorder.dataset_meta = pairs.meta
    with progress_bar(len(pairs), f'{network.name} looks at {pairs.pairs.name}') as bar, torch.no_grad():
        for index, name in enumerate(pairs.names):
            item = pairs.bare_item(index)
            item['first'] = item['second'] = pictures.read(name)
            packed = pseudo_collate([steps(item)])
            data = coupling.data_preprocessor(packed, False)
            samples = coupling(data['inputs'], data['data_samples'], mode='predict')
            recorder.process(packed, [sample.to_dict() for sample in samples])
            bar.update()
    return recorder.compute_metrics(recorder.results)


def _pipeline(network: Network, kind: str, pairs: PairSet) -> Compose:
    steps: List[dict] = [dict(type='LoadPair', color_type='color')]
    if network.image_size is not None:
        resize = dict(type='mmdet.Resize', scale=tuple(network.image_size), keep_ratio=True)
        steps.append(dict(type='Paired', transform=resize, expand_grey=False))
    if kind == 'detection':
        steps.append(dict(type='mmdet.LoadAnnotations', with_bbox=True))
    else:
        steps.append(dict(type='LoadClassMap'))
    return Compose([*steps, dict(type='PackFusionInputs')])


def _network_alone(network: Network, pairs: PairSet):
    """A coupling that hands the picture on as it is."""
    cfg = copy.deepcopy(network.network)
    is_segmentor = 'decode_head' in cfg
    classes = pairs.meta.get('seg_classes' if is_segmentor else 'classes') or ()
    _set_classes(cfg, len(classes))
    if 'if_absent' in cfg['init_cfg']:
        cfg['init_cfg']['if_absent'] = 'error'
    coupling = build_configured(
        MODELS, dict(type='JointCoupling', fuser=dict(type='SourceFuser', source='first'), tasks=dict(task=cfg))
    )
    name_classes(coupling, pairs.meta)
    init_weights_quietly(coupling)
    return coupling.eval()


def _set_classes(node, number: int) -> None:
    """Give every head the number of classes of the data set; the weights of the classes are taken by their names."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key.endswith('head') and key != 'rpn_head' and isinstance(value, dict) and 'num_classes' in value:
                value['num_classes'] = number
            _set_classes(value, number)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _set_classes(value, number)


def load_record(folder: Path) -> Record:
    """What a network said, of a complete cell."""
    return Record.load(folder / RECORD_FILE)


def values_of(scores: Dict[str, Dict[str, float]], names: Sequence[str], metric: str) -> np.ndarray:
    """(I, ) values of a metric in the order of the pairs."""
    return np.array([scores[name].get(metric, float('nan')) for name in names], np.float64)
