"""Every reader of mmfusion, with files that it takes, what damages them, and what must hold for a result."""

import io
import json
import random
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Tuple, Type

import cv2
import numpy as np
import torch
import yaml
from mutators import mutate_bytes, mutate_checkpoint, mutate_json, mutate_text, mutate_tree
from seeds import (
    CELLS,
    COCO,
    CONFIG,
    JOURNAL,
    LATENCY,
    RESULT,
    RIG,
    SIZE,
    VOC,
    XML_BOMBS,
    YAML_EXTRAS,
    YOLO,
    bombs,
    pictures,
    with_pil,
)
from torch import nn

from mmfusion.datasets.annotations import check_box, read_class_names, read_coco, read_voc, read_yolo
from mmfusion.datasets.transforms import LoadClassMap, LoadPair
from mmfusion.evaluation.folders.journal import Journal
from mmfusion.experiments.verdict.record import Boxes, Record
from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_reading import read_alpha, read_class_map, read_image, read_size
from mmfusion.fileio.pairing import read_id_list
from mmfusion.fileio.reading import max_pixels, read_record
from mmfusion.models.couplings.steps.latency_table import load_latency_table
from mmfusion.models.fusers.moe_fusion.conversion import convert_detector, convert_fusion_head
from mmfusion.models.fusers.refusion.conversion import convert_checkpoint as convert_refusion
from mmfusion.models.fusers.tc_moa.conversion import convert_official
from mmfusion.models.fusers.tc_moa.mae_weights import load_mae
from mmfusion.models.fusers.tc_moa.vit import Arch, MaskedAutoencoder
from mmfusion.models.fusers.tim import load_genotype
from mmfusion.models.fusers.tim.conversion import convert_stage1
from mmfusion.registration import Rig
from mmfusion.registry import MODELS
from mmfusion.running.training import set_resume
from mmfusion.utils import UserError, load_config, load_fusion_checkpoint
from mmfusion.utils.conversion import converting, read_official


class Reader(NamedTuple):
    """One reader.

    Attributes:
        suffix: Of its files.
        read: Reads a path and checks what comes out; an AssertionError is a wrong result.
        errors: What it documents.
        make: Makes a damaged file from random numbers.
        good: Files that it must take.
    """

    suffix: str
    read: Callable[[str], object]
    errors: Tuple[Type[Exception], ...]
    make: Callable[[random.Random], bytes]
    good: List[bytes]


def check_png(path: str) -> None:
    """Every part of a png has a checksum, so what is taken is one of the pictures that were damaged."""
    check_image(path)
    assert any(np.array_equal(read_image(path), known) for known in KNOWN)


def check_image(path: str) -> None:
    image = read_image(path)
    assert image.ndim == 3 and image.shape[2] in (1, 3) and image.shape[:2] == read_size(path)
    assert image.shape[0] * image.shape[1] <= max_pixels()


def check_pair(path: str) -> None:
    """The loading transform of every data set, with the partner that fits the undamaged file."""
    results = LoadPair()(dict(first_path=path, second=np.zeros(SIZE, np.uint8), sample_id='0'))
    image = results['first']
    assert image.shape[:2] == SIZE and image.dtype in (np.uint8, np.float32)
    assert image.dtype == np.uint8 or (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1)


def check_class_map(path: str) -> None:
    numbers = read_class_map(path)
    assert numbers.ndim == 2 and np.issubdtype(numbers.dtype, np.integer)
    labels = LoadClassMap()(
        dict(ori_shape=numbers.shape, seg_map_path=path, label_map={index: index for index in range(8)})
    )['gt_seg_map']
    assert labels.dtype == np.uint8 and set(np.unique(labels)) <= {*range(8), 255}


def check_boxes(annotation) -> None:
    """As data sets go on from there: one box after the other is checked and cut."""
    height, width = annotation.size or SIZE
    assert height > 0 and width > 0
    for box in annotation.boxes:
        try:
            (x1, y1, x2, y2), _ = check_box(box, SIZE, 'file')
        except PairDataError:
            continue
        assert 0 <= x1 < x2 <= SIZE[1] and 0 <= y1 < y2 <= SIZE[0]


def check_coco(path: str) -> None:
    """Boxes as of any format; masks of the size of the images, which the data set checks, as LoadAnnotations decodes
    them.
    """
    from pycocotools import mask as coder

    for annotation in read_coco(path).annotations.values():
        check_boxes(annotation)
        for box in annotation.boxes:
            if isinstance(box.mask, dict) and tuple(box.mask['size']) == SIZE:
                compressed = isinstance(box.mask['counts'], str)
                mask = coder.decode(box.mask if compressed else coder.frPyObjects(box.mask, *SIZE))
                assert mask.shape == SIZE and mask.max() <= 1
            elif isinstance(box.mask, list):
                assert all(len(polygon) >= 6 for polygon in box.mask)


def check_names(names: List[str]) -> None:
    assert names and all(isinstance(name, str) for name in names)


def check_journal(path: str) -> None:
    """A journal of an earlier run is only a help: whatever is in it, the next run goes on."""
    file = ('/data/a.png', 10, 20)
    with Journal(path) as journal:
        for options in ((), (None,), (14,)):
            row = journal.find('default', [file], ['EN'], options)
            assert row is None or isinstance(row['values']['EN'], (int, float))
        journal.add('default', [file], {'SD': 2.0})
        assert journal.find('default', [file], ['SD'])['values']['SD'] == 2.0


def record(**changes) -> bytes:
    """A record of a test as a file; ``changes`` replaces arrays, or leaves out those that are None."""
    boxes = Boxes.of([(0, (1, 2, 3, 4), 0, 0.5), (1, (0, 0, 9, 9), 1, 0.25)])
    arrays = dict(
        format=np.array(1),
        names=np.array(['a', 'b']),
        sizes=np.full((2, 2), 16),
        classes=np.array(['c', 'd']),
        seg_classes=np.array([], str),
        **{f'found_{name}': value for name, value in boxes._asdict().items()},
    )
    file = io.BytesIO()
    np.savez_compressed(file, **{name: value for name, value in {**arrays, **changes}.items() if value is not None})
    return file.getvalue()


def damaged_record(rng: random.Random) -> bytes:
    """Bytes that are changed, or a whole file with an array that is missing or of another kind."""
    if rng.random() < 0.6:
        return mutate_bytes(rng, [record()])
    name = rng.choice(['format', 'names', 'sizes', 'classes', 'seg_classes', 'found_image', 'found_box', 'found_score'])
    return record(
        **{
            name: rng.choice(
                [None, np.array(2), np.array('x'), np.zeros((0, 3)), np.array([b'x', b'y']), np.zeros(2**20)]
            )
        }
    )


def check_latency(path: str) -> None:
    table = load_latency_table(path)
    values = table.tensor(['cells.0'], ['a', 'b'])
    assert values.shape == (1, 2) and (values > 0).all()
    assert len(table.size) == 2


def check_rig(path):
    rig = Rig.load(path)
    assert np.isfinite(rig.matrix).all() and rig.matrix[2, 2] == 1 and min(*rig.first_shape, *rig.second_shape) > 0


def check_config(path: str) -> None:
    cfg = load_config(path)
    assert isinstance(cfg.model, dict)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def check_checkpoint(path: str) -> None:
    model = network()
    load_fusion_checkpoint(model, path)
    assert all(
        value.shape == other.shape for value, other in zip(model.state_dict().values(), network().state_dict().values())
    )
    load_fusion_checkpoint(model, path, strict=False)


def check_resume(path: str) -> None:
    """What ``--resume FILE`` looks at before the runner is built."""
    from mmengine.config import Config

    assert set_resume(Config(dict(work_dir='.')), path) == path


def check_pretrained(path: str) -> None:
    """mmengine's own way, by ``init_cfg``."""
    from mmengine.model import BaseModule

    class Part(BaseModule):
        def __init__(self):
            super().__init__(init_cfg=dict(type='Pretrained', checkpoint=path))
            self.layer = nn.Linear(2, 3)

    Part().init_weights()


def check_mae(path: str) -> None:
    load_mae(MAE, path)


def check_refusion(path: str) -> None:
    convert_refusion(path, Path(path).with_suffix('.converted'), REFUSION)


def check_tc_moa(path: str) -> None:
    """The part of the converter that looks at tensors, without the network, which is slow to build; likewise below."""
    with converting(path):
        assert convert_official(read_official(path, 'a TC-MoA checkpoint'))


def check_moe_fusion(path: str) -> None:
    state = read_official(path, 'a checkpoint of MoE-Fusion')
    with converting(path):
        head = {
            key.removeprefix('fusion_head.'): value for key, value in state.items() if key.startswith('fusion_head.')
        }
        convert_fusion_head(head)
        convert_detector({key: value for key, value in state.items() if not key.startswith('fusion_head.')})


def check_tim(path: str) -> None:
    with converting(path):
        convert_stage1(read_official(path, 'a checkpoint of TIM'), load_genotype('fusion_light'), True)


REFUSION = None
MAE = None
KNOWN: List[np.ndarray] = []


def _from(special: List[bytes], make: Callable[[random.Random], bytes]) -> Callable[[random.Random], bytes]:
    """Now and then one of the files that somebody with bad intentions would write."""
    return lambda rng: rng.choice(special) if rng.random() < 0.05 else make(rng)


def _saved(tree) -> bytes:
    file = io.BytesIO()
    torch.save(tree, file)
    return file.getvalue()


def images(suffix: str, extra=()) -> Tuple[Callable, List[bytes]]:
    good = [*pictures(suffix), *extra]
    return (lambda rng: mutate_bytes(rng, good)), good


def readers(marker: str) -> Dict[str, Reader]:
    """All readers by name.

    Args:
        marker: Folder that pickled code would make.
    """
    global REFUSION, MAE
    torch.manual_seed(0)  # the weights in checkpoints are part of the files
    from mmengine.config import Config

    from mmfusion.version import __version__

    for row in JOURNAL:
        row['version'] = __version__
    picture = {
        '.png': images('.png', [with_pil('PNG', palette=True)]),
        '.jpg': images('.jpg', [with_pil('JPEG', progressive=True), with_pil('JPEG', comment=b'x' * 300)]),
        '.bmp': images('.bmp', [with_pil('BMP', palette=True)]),
        '.tif': images(
            '.tif', [with_pil('TIFF', compression=name) for name in ('tiff_lzw', 'tiff_deflate', 'packbits', 'raw')]
        ),
    }
    maps = [with_pil('PNG'), with_pil('PNG', palette=True), with_pil('BMP', palette=True), with_pil('TIFF')]
    every = [data for _, good in picture.values() for data in good]
    alpha = pictures('.png')[-1:]

    KNOWN[:] = [
        np.atleast_3d(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))[..., :3]
        for data in picture['.png'][1]
    ]
    special = bombs()
    found = {
        f'{suffix[1:]} image': Reader(
            suffix, check_png if suffix == '.png' else check_image, (PairDataError,), _from(special[suffix], make), good
        )
        for suffix, (make, good) in picture.items()
    }
    found['pair of images'] = Reader(
        '.png', check_pair, (PairDataError,), lambda rng: mutate_bytes(rng, every), pictures('.png')
    )
    found['image with alpha'] = Reader(
        '.png', read_alpha, (PairDataError,), lambda rng: mutate_bytes(rng, alpha), alpha
    )
    found['size of an image'] = Reader('.png', read_size, (PairDataError,), lambda rng: mutate_bytes(rng, every), every)
    found['class map'] = Reader('.png', check_class_map, (PairDataError,), lambda rng: mutate_bytes(rng, maps), maps)

    def text(read, seeds, errors=(PairDataError,), special=(), suffix='.txt'):
        def make(rng):
            return mutate_text(rng, seeds)

        return Reader(suffix, read, errors, _from(list(special), make) if special else make, list(seeds))

    found['VOC xml'] = text(
        lambda path: check_boxes(read_voc(path)), [VOC, b'<annotation/>'], special=XML_BOMBS, suffix='.xml'
    )
    found['YOLO text'] = text(lambda path: check_boxes(read_yolo(path, ('a', 'b', 'c'), SIZE)), [YOLO, b''])
    found['class names'] = text(
        lambda path: check_names(read_class_names(path)), [b'0 person\n1 bicycle\n2 car\n', b'person\ncar\n']
    )
    found['id list'] = text(
        lambda path: check_names(read_id_list(path)),
        [b'00001\n00002.png\n# note\n\nday/3\n'],
        special=[b'a\n' * 200000, b'\n'.join(b'%d' % i for i in range(200000)) + b'\n1\n'],
    )

    def tree(read, trees, errors, suffix='.json'):
        return Reader(
            suffix, read, errors, lambda rng: mutate_json(rng, trees), [json.dumps(item).encode() for item in trees]
        )

    found['COCO json'] = tree(check_coco, [COCO], (PairDataError, FileNotFoundError))
    found['genotype'] = tree(load_genotype, [CELLS], (ValueError, FileNotFoundError))
    found['latency table'] = tree(check_latency, [LATENCY], (ValueError, FileNotFoundError))
    found['result'] = tree(lambda path: read_record(path, 'delete it'), [RESULT], (UserError,))
    found['verdict record'] = Reader('.npz', Record.load, (UserError,), lambda rng: damaged_record(rng), [record()])
    found['json config'] = tree(check_config, [CONFIG], (UserError,))
    lines = b''.join(json.dumps(row).encode() + b'\n' for row in JOURNAL)
    found['journal'] = Reader(
        '.jsonl',
        check_journal,
        (UserError,),
        lambda rng: (
            b'\n'.join(mutate_json(rng, JOURNAL) for _ in range(3))
            if rng.random() < 0.7
            else mutate_bytes(rng, [lines])
        ),
        [lines, b''],
    )
    plain = yaml.safe_dump(CONFIG).encode()
    found['yaml config'] = Reader(
        '.yaml',
        check_config,
        (UserError,),
        _from(
            YAML_EXTRAS,
            lambda rng: (
                mutate_text(rng, [plain]) if rng.random() < 0.5 else yaml.safe_dump(mutate_tree(rng, CONFIG)).encode()
            ),
        ),
        [plain],
    )
    rig = yaml.safe_dump(RIG).encode()
    found['rig file'] = Reader(
        '.yaml',
        check_rig,
        (UserError,),
        _from(
            YAML_EXTRAS,
            lambda rng: (
                mutate_text(rng, [rig]) if rng.random() < 0.5 else yaml.safe_dump(mutate_tree(rng, RIG)).encode()
            ),
        ),
        [rig],
    )
    python = ''.join(f'{key} = {value!r}\n' for key, value in CONFIG.items()).encode()
    found['Python config'] = text(check_config, [python], (UserError,), suffix='.py')

    def checkpoint(read, trees, good=True):
        return Reader(
            '.pth',
            read,
            (UserError,),
            lambda rng: mutate_checkpoint(rng, trees, marker),
            [_saved(item) for item in trees] if good else [],
        )

    state = network().state_dict()
    whole = dict(
        state_dict=state,
        meta=dict(epoch=1, iter=4),
        optimizer=dict(state={}, param_groups=[]),
        message_hub=dict(log_scalars={}),
    )
    found['checkpoint'] = checkpoint(check_checkpoint, [dict(state), dict(state_dict=state, meta=dict(epoch=1))])
    found['checkpoint to resume'] = checkpoint(check_resume, [whole])
    found['init_cfg'] = checkpoint(check_pretrained, [{'layer.weight': torch.rand(3, 2), 'layer.bias': torch.rand(3)}])
    arch = Arch(16, 1, 2, 8, 1, 2, 2, 4, 4)
    MAE = MaskedAutoencoder(arch)
    found['MAE weights'] = checkpoint(check_mae, [dict(MAE.state_dict()), dict(model=MAE.state_dict())])
    REFUSION = Config(dict(fuser=dict(type='ReFusion', channels=4, heads=1, blocks=1)))
    MODELS.build(REFUSION.fuser)
    found['official TDFusion'] = checkpoint(
        check_refusion, [{'project_in_1.weight': torch.rand(4, 1, 3, 3), 'FM.temperature1': torch.ones(1, 1, 1)}], False
    )
    block = 'blocks_MoA.0'
    experts = {
        f'{block}.MoA.experts.{e}.fc{i}.{name}': torch.rand(shape)
        for e in range(2)
        for i, name, shape in ((1, 'weight', (4, 8)), (1, 'bias', (4,)), (2, 'weight', (8, 4)), (2, 'bias', (8,)))
    }
    tc_moa = {
        'Alpha_encoder': torch.rand(1),
        **experts,
        f'{block}.dimReduction.weight': torch.rand(8, 16),
        f'{block}.MoA.w_gate': torch.rand(4, 8),
        f'{block}.modal_shifts.0': torch.rand(8),
        f'{block}.modal_shifts.1': torch.rand(8),
        'FusionLayer.0.conv1.weight': torch.rand(4, 4, 1, 1),
    }
    found['official TC-MoA'] = checkpoint(check_tc_moa, [tc_moa, dict(model=tc_moa)], False)
    moe = {
        'fusion_head.encoder.moe_fg.w_gate': torch.rand(4, 2),
        'fusion_head.encoder.Conv1.conv_r.weight': torch.rand(4, 1, 3, 3),
        'bbox_head_r.fc_cls.bias': torch.rand(2),
        'bbox_head_r.fc_reg.weight': torch.rand(8, 4),
        'backbone_r.bn1.running_mean': torch.rand(4),
    }
    found['official MoE-Fusion'] = checkpoint(check_moe_fusion, [moe, dict(state_dict=moe)], False)
    tim = {
        'stem.0.conv2d.weight': torch.rand(4, 2, 3, 3),
        'stem.1.running_mean': torch.rand(4),
        'stem_out.0.conv2d.weight': torch.rand(4, 4, 3, 3),
    }
    found['official TIM'] = checkpoint(check_tim, [tim, dict(state_dict=tim)], False)
    return found
