"""Rows of a verdict: the ways to use two sources that a user must know before believing in fusion, and the config of
each."""

import copy
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from mmengine.config import Config, ConfigDict

from mmfusion.models.pretrained import can_be_read
from mmfusion.registry import MODELS, build_configured
from mmfusion.running.run_config import coupling_class
from mmfusion.utils import UserError

from ..comparison import RULES, variant_config


class Row(NamedTuple):
    """One row.

    Attributes:
        title: How tables and sentences call it.
        about: What it is.
        single: Whether it uses one source alone.
        variant: Key of :data:`mmfusion.experiments.comparison.VARIANTS` that its config starts from.
        untouched: Whether the task networks stay as they were loaded; such rows are judged among themselves.
        trains: Whether anything learns; else there is one cell, whatever the number of seeds.
        learned: Whether it needs a fuser with parameters.
        only: ``'detection'`` or ``'segmentation'``: the row has no other task.
    """

    title: str
    about: str
    single: bool
    variant: str
    untouched: bool = False
    trains: bool = True
    learned: bool = False
    only: Optional[str] = None


_RULES = dict(
    visible=('visible', 'the first source alone', True),
    infrared=('infrared', 'the second source alone', True),
    average=('average', 'the mean of both luminances', False),
    maximum=('maximum', 'the brighter luminance at every pixel', False),
    laplacian=('Laplacian pyramid', 'the stronger detail at every level of a pyramid', False),
    false_color=('false color', 'the brighter luminance, tinted where the second source is the brighter one', False),
)
ROWS: Dict[str, Row] = {
    **{
        name: Row(title, f'{about}; the task networks are trained on it', single, name)
        for name, (title, about, single) in _RULES.items()
    },
    'early': Row(
        'early fusion',
        'no picture: the first convolution of each task network takes four channels, color and infrared',
        False,
        'visible',
    ),
    'detached': Row(
        'detached',
        'the fuser learns from its fusion loss alone, the task networks on what it makes',
        False,
        'detached',
        learned=True,
    ),
    'joint': Row(
        'joint', 'fuser and task networks learn together, the task loss reaches the fuser', False, 'joint', learned=True
    ),
    **{
        f'{kind}_alone': Row(
            f'{kind} alone',
            f'fuser and task network learn together as in joint, {kind} being the only task',
            False,
            'joint',
            learned=True,
            only=kind,
        )
        for kind in ('detection', 'segmentation')
    },
    'meta': Row('meta', 'the task loss teaches the fusion loss', False, 'meta', learned=True),
    'bilevel': Row(
        'bilevel', 'the task loss decides among the optima of the fusion loss', False, 'bilevel', learned=True
    ),
    **{
        f'{name}_untouched': Row(
            f'{title} (untouched)', f'{about}; the task networks as loaded', single, name, untouched=True, trains=False
        )
        for name, (title, about, single) in _RULES.items()
    },
    'frozen': Row(
        'frozen teacher',
        'the fuser learns from the loss of task networks that stay as loaded',
        False,
        'joint',
        untouched=True,
        learned=True,
    ),
}
_SCOPES = dict(detection='mmdet', segmentation='mmseg')
_OTHERS_METRICS = dict(detection=('SegIoUMetric', 'IoUMetric'), segmentation=('CocoMetric', 'VOCMetric'))
_STANDARD = ('visible', 'infrared', 'average', 'maximum', 'early', 'detached', 'joint', 'meta', 'bilevel')
_WITH_WEIGHTS = ('visible_untouched', 'infrared_untouched', 'average_untouched', 'maximum_untouched', 'frozen')


def default_rows(base: Config) -> List[str]:
    """The rows that a config allows: without pretrained task networks nothing is tested untouched, without a fuser that
    learns nothing is coupled.

    Raises:
        UserError: See :func:`check_base`.
    """
    check_base(base)
    names = [
        name
        for name in _STANDARD
        if (name not in RULES or _follows(base, RULES[name])) and (not ROWS[name].learned or _learns(base))
    ]
    if not missing_weights(base):
        names += [name for name in _WITH_WEIGHTS if not ROWS[name].learned or _learns(base)]
    return names


def check_base(base: Config) -> None:
    """Make sure that a config can be the base of a verdict.

    Raises:
        UserError: It has no coupling with task networks, one of another kind, no training, or no test set.
    """
    model = base.get('model') or {}
    if not model.get('tasks'):
        raise UserError(
            'a verdict needs task networks, and the config has no task network in model.tasks; give the'
            ' config of a coupling such as configs/moe_fusion_msrs_light.py'
        )
    kinds = ('JointCoupling', *RULES.values())
    if not any(_follows(base, kind) for kind in kinds):
        raise UserError(
            f'a verdict starts from the config of a {" or ".join(kinds)}, this one has a {model.get("type")}'
        )
    absent = [key for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'test_dataloader') if not base.get(key)]
    if absent:
        raise UserError(f'the config has no {", ".join(absent)}, and a verdict trains and tests every row')


def missing_weights(base: Config) -> List[str]:
    """Names of the tasks whose networks start from random weights."""
    if base.get('load_from'):
        return []
    return [name for name, network in base.model.tasks.items() if not _starts_from(network)]


def _starts_from(network: dict) -> bool:
    """Whether a network has weights to start from; those that may be absent (``if_absent='random'``) must be there."""
    init = network.get('init_cfg') or {}
    path = init.get('checkpoint') if isinstance(init, dict) else None
    if not path:
        return False
    forgiven = init.get('if_absent') == 'random' or str(init.get('type')).endswith('PretrainedIfReachable')
    return not forgiven or can_be_read(path)


def check_rows(base: Config, names: Sequence[str]) -> None:
    """Make sure that a config allows all the rows that were asked for.

    Raises:
        UserError: It does not; the message says what is missing.
    """
    check_base(base)
    for name in names:
        if name not in ROWS:
            raise UserError(f'unknown row {name!r}; choose from {", ".join(ROWS)}')
        row = ROWS[name]
        if row.learned and not _learns(base):
            raise UserError(
                f'row {name!r} needs a fuser that can learn, and {base.model.fuser.type} has no parameters; leave the'
                ' row out, or give a config with a fuser such as MoEFusion'
            )
        if row.untouched and missing_weights(base):
            raise UserError(
                f'row {name!r} leaves the task networks as loaded, but nothing gives {", ".join(missing_weights(base))}'
                " weights to start from that can be read: set init_cfg=dict(type='Pretrained', checkpoint=...) in its"
                ' config, or leave the row out'
            )
        if row.only and task_kinds(base) != ('detection', 'segmentation'):
            raise UserError(
                f'row {name!r} is the joint training of several tasks without the others, and the config has'
                f' {task_kinds(base)[0]} alone; give one with a detector and a segmentor such as'
                ' configs/plain_conv_msrs_det_seg.py, or leave the row out'
            )
        if row.variant in RULES and not _follows(base, RULES[row.variant]):
            raise UserError(
                f'row {name!r} needs the config of a {RULES[row.variant]}, this one has a {base.model.type}'
            )


def row_config(base: Config, name: str, seed: int, work_dir: Path) -> Config:
    """Config of one cell: a row with a seed.

    Args:
        base: Config of a coupling with task networks.
        name: Key of :data:`ROWS`.
        seed: Seed of the run.
        work_dir: Folder of the run.
    """
    cfg = variant_config(base, ROWS[name].variant, seed, work_dir)
    cfg.model.pop('frozen_tasks', None)  # that is a row of its own
    if ROWS[name].only:
        _keep_only(cfg, ROWS[name].only)
    if ROWS[name].untouched:
        for network in cfg.model.tasks.values():
            _must_load(network)
    if name == 'early':
        kept = {key: cfg.model[key] for key in ('tasks', 'task_weights', 'data_preprocessor') if cfg.model.get(key)}
        cfg.model = ConfigDict(type='EarlyFusionCoupling', **kept)
    elif name == 'frozen':
        cfg.model.frozen_tasks = tuple(cfg.model.tasks)
        if 'optimizer' not in cfg.optim_wrapper:  # one for each part, and the tasks do not learn any more
            cfg.optim_wrapper.pop('tasks', None)
    cfg.default_hooks = copy.deepcopy(cfg.get('default_hooks') or {})
    cfg.default_hooks.pop('visualization', None)  # the recorder keeps the pictures that the page shows
    return cfg


def task_kinds(cfg: Config) -> Tuple[str, ...]:
    """Which of detection and segmentation a config is about.

    Raises:
        UserError: The types of its task networks say neither.
    """
    found = {_kind(network) for network in cfg.model.tasks.values()}
    kinds = tuple(kind for kind in _SCOPES if kind in found)
    if not kinds:
        raise UserError(
            f'the task networks {", ".join(str(network.type) for network in cfg.model.tasks.values())} are neither of'
            ' mmdet nor of mmseg; write their types with the scope, such as mmdet.RTMDet'
        )
    return kinds


def _kind(network: dict) -> Optional[str]:
    scope = str(network.get('type')).split('.')[0]
    return next((kind for kind, owner in _SCOPES.items() if owner == scope), None)


def _keep_only(cfg: Config, kind: str) -> None:
    """Leave the tasks of one kind in a config, and metrics that they can be rated by; data and labels stay."""
    cfg.model.tasks = ConfigDict({name: task for name, task in cfg.model.tasks.items() if _kind(task) == kind})
    if cfg.model.get('task_weights'):
        cfg.model.task_weights = {
            name: weight for name, weight in cfg.model.task_weights.items() if name in cfg.model.tasks
        }
    others = _OTHERS_METRICS[kind]
    for part in ('val', 'test'):
        metrics = cfg.get(f'{part}_evaluator') or []
        metrics = metrics if isinstance(metrics, (list, tuple)) else [metrics]
        cfg[f'{part}_evaluator'] = [
            metric for metric in metrics if str(metric.get('type')).split('.')[-1] not in others
        ]


def _must_load(network: dict) -> None:
    """Make it an error when weights cannot be loaded: a row with the network as loaded would be one with random
    weights."""
    init = network.get('init_cfg')
    if isinstance(init, dict) and str(init.get('type')).split('.')[-1] in ('PretrainedTask', 'PretrainedIfReachable'):
        kept = {key: value for key, value in init.items() if key != 'if_absent'}
        network['init_cfg'] = {**kept, 'type': 'mmfusion.PretrainedTask'}


def _follows(base: Config, rule: str) -> bool:
    """Whether a config has a certain coupling, under whatever name."""
    return issubclass(coupling_class(base.model), MODELS.get(rule))


def _learns(base: Config) -> bool:
    fuser = build_configured(MODELS, copy.deepcopy(base.model.fuser))
    return any(parameter.requires_grad for parameter in fuser.parameters())


def seeds_of(name: str, seeds: Sequence[int]) -> Sequence[int]:
    """Seeds of a row: all of them, or the first where nothing is trained."""
    return seeds if ROWS[name].trains else seeds[:1]


def source_titles(modalities: Optional[Sequence[str]]) -> Dict[str, str]:
    """Names of the two sources for titles of the page."""
    return dict(zip(('first', 'second'), modalities or ('visible', 'infrared')))
