"""A published config as the task network of a coupling: few classes, small pictures, nothing to download."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from mmengine.config import Config

from mmfusion.datasets import DemoPairs
from mmfusion.utils import UserError
from mmfusion.utils.config import read_config

from .families import Family

#: (height, width) of the two pictures of the batch: of different size and not all multiples of 32, so that all padding
#: is seen.
SIZES = ((96, 120), (80, 104))
CLASSES, SEG_CLASSES = len(DemoPairs.METAINFO['classes']), len(DemoPairs.METAINFO['seg_classes'])
#: Parts of a detector that name the classes of a class map.
_MAP_PARTS = ('semantic_head', 'segm_head')
_DOWNLOADS = ('init_cfg', 'pretrained')


def config_path(family: Family) -> Path:
    """Where the config of a family lies.

    Raises:
        UserError: There is no such file.
    """
    root = Path(find_spec(family.package).origin).parent / '.mim' / 'configs'
    path = root / family.config
    if not path.is_file():
        raise UserError(f'no config {family.config} of {family.package}: {path} is not there')
    return path


def task_network(family: Family) -> dict:
    """The model of a published config with the classes of :class:`DemoPairs` and a scoped type, without weights to
    load.

    Raises:
        UserError: The config cannot be read, or has no model.
    """
    path = config_path(family)
    cfg = read_config(path)
    if 'model' not in cfg:
        raise UserError(f'{path} has no model')
    network = cfg.model.to_dict() if hasattr(cfg.model, 'to_dict') else dict(cfg.model)
    for dotted, value in family.options.items():
        _set(network, dotted, value)
    if isinstance(network.get('teacher_config'), str):
        teacher = read_config(path.parents[1] / network['teacher_config']).model.to_dict()
        network['teacher_config'] = dict(model=teacher)
    network['type'] = f'{family.package}.{network["type"]}'
    shrink(network, CLASSES if family.package == 'mmdet' else SEG_CLASSES, family.size)
    return network


def shrink(network: dict, classes: int, size: Optional[Tuple[int, int]] = None) -> None:
    """Change the config of a network, in place, for the pictures and classes of the sweep; layers and losses stay.

    Args:
        network: The config.
        classes: Number of classes, of boxes or of the class map.
        size: (height, width) of the pictures; :data:`SIZES` where None.
    """
    _classes(network, classes)
    _walk(network, _forget_weights)
    _walk(network, _fewer_boxes)
    fixed, size = size, size or tuple(-(-max(axis) // 32) * 32 for axis in zip(*SIZES))
    preprocessor = network.get('data_preprocessor') or {}
    if preprocessor.get('size') is not None:
        preprocessor['size'] = size
    if (preprocessor.get('size_divisor') or 0) > 64:
        preprocessor['size_divisor'] = 32
    for augment in preprocessor.get('batch_augments') or ():
        if augment['type'] == 'BatchFixedSizePad':
            augment['size'] = size
    test_cfg = network.get('test_cfg')
    if isinstance(test_cfg, dict) and test_cfg.get('mode') == 'slide':
        network['test_cfg'] = dict(mode='whole')
    if fixed and 'img_size' in network['backbone']:
        network['backbone']['img_size'] = size


def _classes(node: Any, classes: int, part: str = '') -> None:
    """Set the number of classes everywhere; weights by class become as many."""
    if isinstance(node, dict):
        number = node.get('num_classes')
        own = SEG_CLASSES if part in _MAP_PARTS and part != 'segm_head' else classes
        before = number if isinstance(number, int) else None
        if before is not None:
            node['num_classes'] = own
        if 'num_things_classes' in node:
            before = node['num_things_classes'] + node['num_stuff_classes']
            node['num_things_classes'] = own = CLASSES
            node['num_stuff_classes'] = SEG_CLASSES - CLASSES if node['num_stuff_classes'] else 0
            own += node['num_stuff_classes']
        if before is not None:
            _walk(node, lambda inner: _class_weight(inner, own))
        for key, value in node.items():
            _classes(value, classes, key)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _classes(value, classes, part)


def _class_weight(node: dict, classes: int) -> None:
    weights = node.get('class_weight')
    if isinstance(weights, (list, tuple)):
        # Those of transformers end with the weight of "no object"; those of data sets mean nothing to other classes.
        node['class_weight'] = [1.0] * classes + [weights[-1]] if len(set(weights[:-1])) == 1 else None


def _forget_weights(node: dict) -> None:
    for key in _DOWNLOADS:
        value = node.get(key)
        if isinstance(value, str) or isinstance(value, dict) and 'checkpoint' in value:
            node[key] = None


def _fewer_boxes(node: dict) -> None:
    """Proposals and detections of a picture, and those that are learned from: a few show as much as a thousand."""
    for key, most in dict(max_per_img=20, nms_pre=100, max_num=20).items():
        if isinstance(node.get(key), int):
            node[key] = min(node[key], most)
    if 'pos_fraction' in node and isinstance(node.get('num'), int):
        node['num'] = min(node['num'], 64)


def _walk(node: Any, change) -> None:
    if isinstance(node, dict):
        change(node)
        for value in node.values():
            _walk(value, change)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _walk(value, change)


def _set(node: dict, dotted: str, value: Any) -> None:
    *parents, last = dotted.split('.')
    for key in parents:
        node = node[key]
    node[last] = value


def sizes(family: Family) -> Tuple[Tuple[int, int], ...]:
    """(height, width) of the pictures of the batch."""
    return (family.size, family.size) if family.size else SIZES


def run_config(family: Family, network: dict, labels: Dict[str, str], result: Path) -> dict:
    """What ``mmfusion train`` takes: one epoch of one batch behind a small fuser that learns, and a validation.

    Args:
        family: The family.
        network: Result of :func:`task_network`.
        labels: What the network learns from, see :func:`mmfusion.models.couplings.task_labels.needed_labels`.
        result: File that the probe writes.
    """
    pipeline: List[dict] = [dict(type='LoadPair')]
    pipeline.append(dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask='masks' in labels))
    if {'gt_sem_seg', 'gt_edge_map'} & set(labels):
        pipeline.append(dict(type='LoadClassMap'))
    if 'gt_edge_map' in labels:
        pipeline.append(dict(type='mmseg.GenerateEdge', edge_width=4))
    if family.proposals:
        pipeline.append(dict(type='ProposalsFromBoxes'))
    pipeline.append(dict(type='PackFusionInputs'))
    parts = [
        dict(type='DemoPairs', length=1, size=size, seed=seed, pipeline=pipeline)
        for seed, size in enumerate(sizes(family))
    ]
    loader = dict(
        batch_size=len(parts),
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='ConcatDataset', ignore_keys=['split_hash'], datasets=parts),
    )
    fuser = dict(type='PlainConvFuser', width=4, layers=2, depth=0, rule=None, color_space='rgb')
    return dict(
        default_scope='mmfusion',
        runner_type='QuietRunner',
        model=dict(type='JointCoupling', fuser=fuser, tasks=dict(net=network)),
        train_dataloader=loader,
        val_dataloader=dict(loader, batch_size=family.test_batch_size),
        val_evaluator=dict(type='CountPredictions'),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        val_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-4), clip_grad=dict(max_norm=1.0)),
        default_hooks=dict(checkpoint=None),
        custom_hooks=[dict(type='TaskProbe', result=str(result), labels=sorted(labels), proposals=family.proposals)],
        visualizer=dict(type='FusionVisualizer'),
        randomness=dict(seed=0),
        log_level='WARNING',
    )


def write_config(cfg: dict, path: Path) -> None:
    """A config of built-in types as a Python file."""
    path.write_text(''.join(f'{key} = {value!r}\n' for key, value in Config(cfg).to_dict().items()))


def missing_package(family: Family) -> Optional[str]:
    """The package that the network needs and that is not installed, None where nothing is missing."""
    return family.requires if family.requires and find_spec(family.requires) is None else None
