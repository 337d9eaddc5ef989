"""Settings of a league: which methods, pairs, metrics and task networks, as its config says."""

import difflib
import re
from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from mmengine.config import Config

from mmfusion.evaluation.protocols import expand_names
from mmfusion.utils import UserError
from mmfusion.utils.config import read_config

#: Where a method comes from, in the order of the tables. A source alone is no fusion, and metrics reward it for being
#: like itself, so they do not rank it.
KINDS = ('source', 'rule', 'published', 'mmfusion', 'yours')
_NAME = re.compile(r'[A-Za-z0-9][\w.+-]{0,63}')
_CONFIGS = ('.py', '.yaml', '.yml', '.json')


class Method(NamedTuple):
    """One row.

    Attributes:
        name: Short name, also of its folder.
        title: As tables show it.
        kind: Out of :data:`KINDS`.
        model: What :func:`mmfusion.apis.build.build_coupling` takes; None for a folder of pictures.
        weights: Checkpoint of the model.
        sources: Modalities in the order in which the network takes them, where it is not that of the data set.
        folder: Folder of fused pictures, in place of a model: ``FOLDER/DATA/NAME.png``, or ``FOLDER/NAME.png``.
        get: What to do when the weights are missing.
        options: Keyword arguments for every call of the fuser.
        remark: What a reader of its figures must know.
    """

    name: str
    title: str
    kind: str = 'published'
    model: Any = None
    weights: Optional[str] = None
    sources: Optional[Tuple[str, str]] = None
    folder: Optional[str] = None
    get: str = ''
    options: Mapping[str, Any] = {}
    remark: str = ''


class Pairs(NamedTuple):
    """One set of pairs.

    Attributes:
        name: Short name.
        title: As tables show it.
        dataset: Config of the data set, without a pipeline.
        remark: One sentence for the page: which part of which set.
        show: Names of the pairs whose pictures the page shows, or how many it chooses.
    """

    name: str
    title: str
    dataset: dict
    remark: str = ''
    show: Union[int, Sequence[str]] = 2


class Network(NamedTuple):
    """A task network that stays as it was loaded.

    Attributes:
        name: Short name.
        title: As tables show it.
        network: Config of the detector or segmentor, whose ``init_cfg`` names its weights.
        image_size: (width, height) that pictures are resized to, aspect kept; None for their own size.
        pairs: Names of the sets that it is tested on.
    """

    name: str
    title: str
    network: dict
    image_size: Optional[Tuple[int, int]] = None
    pairs: Tuple[str, ...] = ()


class Course(NamedTuple):
    """A training of a task network on the pictures of every method, by the downstream protocol.

    Attributes:
        name: Short name.
        title: As tables show it.
        config: Config of the task, as ``mmfusion downstream`` takes it.
        seeds: One training each.
        options: Changes to the config.
    """

    name: str
    title: str
    config: str
    seeds: Tuple[int, ...] = (0,)
    options: Mapping[str, Any] = {}


class Cost(NamedTuple):
    """How time, operations and memory are measured.

    Attributes:
        image_size: (width, height) of the pair.
        repeats: Rounds of timing.
        reference: Model whose time is the unit; it takes turns with the method.
    """

    image_size: Tuple[int, int] = (640, 480)
    repeats: int = 5
    reference: Any = 'plain_conv_rendered'


class Settings(NamedTuple):
    """A whole league.

    Attributes:
        title: Heading of the page.
        remark: Sentences for the page: what this is, and what it is not.
        methods: Rows by name.
        pairs: Sets of pairs by name.
        metrics: Names of fusion metrics.
        protocol: Whose conventions they follow.
        networks: Task networks as loaded, by name.
        courses: Trainings of task networks, by name.
        cost: Measurement of costs; None leaves it out.
        device: Where methods and networks run.
    """

    title: str
    remark: str
    methods: Dict[str, Method]
    pairs: Dict[str, Pairs]
    metrics: Tuple[str, ...]
    protocol: str
    networks: Dict[str, Network]
    courses: Dict[str, Course]
    cost: Optional[Cost]
    device: str = 'cpu'


_KEYS = ('title', 'remark', 'methods', 'pairs', 'metrics', 'protocol', 'networks', 'courses', 'cost', 'device')


def read_settings(
    config: Union[str, Path, Config, Mapping],
    methods: Sequence[str] = (),
    only: Optional[Sequence[str]] = None,
    pairs: Optional[Sequence[str]] = None,
    cfg_options: Optional[dict] = None,
) -> Settings:
    """Settings from a config.

    Args:
        config: File, name of a config that ships, or its content.
        methods: Further rows, ``NAME=FOLDER`` or ``NAME=CONFIG[,WEIGHTS]``.
        only: Rows to keep, besides those of ``methods``; all when None.
        pairs: Sets of pairs to keep; all when None.
        cfg_options: Changes to the config, ``{'cost.repeats': 3}``.

    Raises:
        UserError: The config has no methods or pairs, a key of it is unknown, a name is none, or a method does not
            exist.
    """
    cfg = read_config(config) if isinstance(config, (str, Path)) else Config(dict(config))
    where = str(config) if isinstance(config, (str, Path)) else 'the config'
    if cfg_options:
        cfg.merge_from_dict(cfg_options)
    content = cfg.to_dict()
    for key in content:
        match = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.8)
        if key not in _KEYS and match:
            raise UserError(f'{where}: unknown key {key!r}. Did you mean {match[0]!r}?')
    for key in ('methods', 'pairs'):
        if not isinstance(content.get(key), dict) or not content[key]:
            raise UserError(
                f'{where} is no config of a league: it needs {key}=dict(NAME=dict(...)); see docs/en/league.md'
            )
    rows = {name: _entry(Method, name, value, where) for name, value in content['methods'].items()}
    rows = _chosen(rows, only, 'method', where)
    for text in methods:
        method = own_method(text)
        if method.name in rows:
            raise UserError(f'--method {text}: there is a method {method.name!r} already; choose another name')
        rows[method.name] = method
    for method in rows.values():
        _check_method(method)
    sets = _chosen(
        {name: _entry(Pairs, name, value, where) for name, value in content['pairs'].items()},
        pairs,
        'set of pairs',
        where,
    )
    networks = {name: _entry(Network, name, value, where) for name, value in (content.get('networks') or {}).items()}
    courses = {name: _entry(Course, name, value, where) for name, value in (content.get('courses') or {}).items()}
    for network in networks.values():
        if unknown := sorted(set(network.pairs) - set(content['pairs'])):
            raise UserError(
                f'{where}: networks.{network.name}.pairs names {", ".join(unknown)}; there are {", ".join(sets)}'
            )
    protocol = content.get('protocol', 'default')
    try:
        metrics = tuple(expand_names(content.get('metrics', ('all',)), protocol))
    except (KeyError, ValueError) as error:
        raise UserError(f'{where}: {error.args[0]}') from error
    return Settings(
        content.get('title', 'A league of fusers'),
        content.get('remark', ''),
        rows,
        sets,
        metrics,
        protocol,
        networks,
        courses,
        _cost(content.get('cost', {}), where),
        content.get('device', 'cpu'),
    )


def own_method(text: str) -> Method:
    """A method of the user: ``NAME=FOLDER`` of pictures, or ``NAME=CONFIG[,WEIGHTS]``.

    Raises:
        UserError: It is neither, or what it names does not exist.
    """
    name, mark, place = text.partition('=')
    if not mark or not place:
        raise UserError(f'--method {text}: write NAME=FOLDER with the fused pictures, or NAME=CONFIG,WEIGHTS')
    model, _, weights = place.partition(',')
    if not weights and Path(place).is_dir():
        return Method(name, name, 'yours', folder=place)
    if not weights and not model.endswith(_CONFIGS) and ('/' in model or not model):
        raise UserError(f'--method {text}: there is no folder {place}')
    if weights and not Path(weights).is_file():
        raise UserError(f'--method {text}: there is no file {weights}')
    return Method(name, name, 'yours', model, weights or None)


def _entry(kind: type, name: str, value: Any, where: str) -> Any:
    """A named tuple from its part of the config."""
    group = dict(Method='methods', Pairs='pairs', Network='networks', Course='courses')[kind.__name__]
    if not _NAME.fullmatch(name):
        raise UserError(f'{where}: {group} has a name {name!r}; use letters, digits, ".", "_" and "-"')
    value = dict(model=value) if kind is Method and not isinstance(value, dict) else value
    if not isinstance(value, dict):
        raise UserError(f'{where}: {group}.{name} must be a dict, got {type(value).__name__}')
    unknown = sorted(set(value) - set(kind._fields))
    if unknown:
        raise UserError(f'{where}: {group}.{name} has no {unknown[0]!r}; it takes {", ".join(kind._fields[1:])}')
    value = {key: tuple(part) if isinstance(part, list) else part for key, part in value.items()}
    try:
        return kind(**{'title': name, **value, 'name': name})
    except TypeError as error:
        raise UserError(f'{where}: {group}.{name}: {str(error).split("() ")[-1]}') from error


def _check_method(method: Method) -> None:
    if not _NAME.fullmatch(method.name):
        raise UserError(f'{method.name!r} cannot name a method: use letters, digits, ".", "_" and "-"')
    if (method.model is None) == (method.folder is None):
        raise UserError(f'method {method.name} needs a model or a folder of pictures, one of the two')
    if method.kind not in KINDS:
        raise UserError(f'method {method.name}: kind must be one of {", ".join(KINDS)}, got {method.kind!r}')


def _chosen(entries: dict, names: Optional[Sequence[str]], what: str, where: str) -> dict:
    if names is None:
        return entries
    unknown = [name for name in names if name not in entries]
    if unknown:
        match = difflib.get_close_matches(unknown[0], entries, n=1)
        hint = f'. Did you mean {match[0]!r}?' if match else f'; it has {", ".join(entries)}'
        raise UserError(f'{where} has no {what} {unknown[0]!r}{hint}')
    return {name: entries[name] for name in entries if name in names}


def _cost(value: Optional[Mapping], where: str) -> Optional[Cost]:
    if value is None:
        return None
    unknown = sorted(set(value) - set(Cost._fields))
    if unknown:
        raise UserError(f'{where}: cost has no {unknown[0]!r}; it takes {", ".join(Cost._fields)}')
    cost = Cost(**{key: tuple(part) if isinstance(part, list) else part for key, part in value.items()})
    if len(cost.image_size) != 2 or min(cost.image_size) < 16 or cost.repeats < 1:
        raise UserError(f'{where}: cost needs image_size=(width, height) of at least 16 and repeats of at least 1')
    return cost
