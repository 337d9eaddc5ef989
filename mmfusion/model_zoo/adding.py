"""Adding files of others, and of one's own trainings, to the models that go by name."""

import tempfile
from pathlib import Path
from typing import Callable, Dict, NamedTuple, Optional, Sequence, Union

from mmengine.config import Config

from mmfusion.fileio.reading import sha256
from mmfusion.models.fusers.moe_fusion.conversion import convert_checkpoint as convert_moe_fusion
from mmfusion.models.fusers.published import PUBLISHED
from mmfusion.models.fusers.published import SOURCES as PUBLISHED_ORDER
from mmfusion.models.fusers.published import convert_checkpoint as convert_published
from mmfusion.models.fusers.refusion.conversion import MODALITIES as REFUSION_ORDER
from mmfusion.models.fusers.refusion.conversion import convert_checkpoint as convert_refusion
from mmfusion.models.fusers.tc_moa.conversion import convert_checkpoint as convert_tc_moa
from mmfusion.models.fusers.tim.conversion import CALLS
from mmfusion.models.fusers.tim.conversion import convert_checkpoint as convert_tim
from mmfusion.utils import UserError, load_config, safe_load
from mmfusion.utils.checkpoint import checkpoint_modalities
from mmfusion.utils.state_dict import State, first_of, state_dict_of

from .card import ModelCard, check_name
from .catalog import SHIPPED, card_files, user_folder
from .writing import write_model

VISIBLE_INFRARED = ('visible', 'infrared')
OWN = 'checkpoint'
PREFIX = 'fuser.'


class Kind(NamedTuple):
    """A kind of official file.

    Attributes:
        fuser: Config of the fuser that it becomes.
        sources: Modalities in the order in which the converted network takes them.
        convert: From the files, a file to write and a config to the weights under the prefixes of a coupling.
        files: How many files make a model.
    """

    fuser: dict
    sources: Sequence[str]
    convert: Callable[[Sequence[Path], Path, Config], State]
    files: int = 1


def _one(convert: Callable) -> Callable:
    return lambda files, target, config: convert(files[0], target, config)


def _tim(task: str) -> Callable:
    return lambda files, target, config: convert_tim(task, files, target, config)


def _published(method: str) -> Callable:
    return lambda files, target, config: convert_published(method, files[0], target, config)[0]


def _two_stages(first: str, second: str) -> dict:
    task = f'{first}_{second}'
    return dict(
        type='TwoStageTIM',
        branches={name: f'{task}_{name}' for name in (first, second)},
        stage1='fusion',
        merge='concat',
    )


_TC_MOA = dict(
    type='TCMoA',
    fusion_tasks=('visible_infrared', 'multi_exposure', 'multi_focus'),
    prompt_weights=dict(multi_exposure=1.8),
)
KINDS: Dict[str, Kind] = dict(
    refusion=Kind(dict(type='ReFusion'), REFUSION_ORDER, _one(convert_refusion)),
    moe_fusion=Kind(dict(type='MoEFusion'), VISIBLE_INFRARED, _one(convert_moe_fusion)),
    tim_light=Kind(dict(type='TIM', genotype='fusion_light'), CALLS['light'].modalities, _tim('light')),
    tim_ivif=Kind(
        dict(
            type='TwoStageTIM',
            branches=dict(visible='ivif_visible', infrared='ivif_infrared'),
            stage1='fusion',
            merge='mask',
        ),
        CALLS['ivif'].modalities,
        _tim('ivif'),
        2,
    ),
    tim_mri_ct=Kind(_two_stages('mri', 'ct'), CALLS['mri_ct'].modalities, _tim('mri_ct'), 2),
    tim_mri_pet=Kind(_two_stages('mri', 'pet'), CALLS['mri_pet'].modalities, _tim('mri_pet'), 2),
    tim_mri_spect=Kind(_two_stages('mri', 'spect'), CALLS['mri_spect'].modalities, _tim('mri_spect'), 2),
    tc_moa_base=Kind(dict(_TC_MOA, arch='base'), ('first', 'second'), _one(convert_tc_moa)),
    tc_moa_large=Kind(dict(_TC_MOA, arch='large'), ('first', 'second'), _one(convert_tc_moa)),
)
KINDS['tdfusion'] = KINDS['refusion']
KINDS.update({name: Kind(method.fuser({}), PUBLISHED_ORDER, _published(name)) for name, method in PUBLISHED.items()})


def add_model(
    files: Union[str, Path, Sequence[Union[str, Path]]],
    kind: str,
    license: str,
    name: Optional[str] = None,
    config: Optional[Union[str, Path]] = None,
    sources: Optional[Sequence[str]] = None,
    summary: str = '',
) -> ModelCard:
    """Convert weights, check them, and put them into the folder of the user with a card.

    Args:
        files: Official file or files (TIM has one per stage), or a checkpoint of a training with mmfusion.
        kind: Key of :data:`KINDS` for official files, or ``'checkpoint'``.
        license: Terms of the weights, in words.
        name: Name of the model; the stem of the first file by default.
        config: Config that a checkpoint of mmfusion was trained with; for official files one whose ``fuser`` is not the
            published one.
        sources: Modalities in the order in which the network takes them, where it is not that of the kind.
        summary: One sentence for the lists.

    Returns:
        ModelCard: The card.

    Raises:
        UserError: The kind or the name is none, the name is taken, the terms are missing, or a file cannot be loaded
            without running code or does not fit.
        OSError: The model cannot be written.
    """
    files = [Path(file) for file in ([files] if isinstance(files, (str, Path)) else files)]
    name = check_name(files[0].stem.lower() if name is None else name)
    if name in card_files():
        where = (
            'ships with mmfusion'
            if (SHIPPED / f'{name}.json').exists()
            else f'was added before: mmfusion models remove {name} first'
        )
        raise UserError(f'there is a model {name!r} already, which {where}; or choose another name (--name)')
    if not license.strip():
        raise UserError(
            'say on which terms the weights may be used (--license): their license, or "unknown, not to be passed on"'
        )
    if kind == OWN:
        weights, fuser, own_sources = _from_checkpoint(files, config)
    elif kind in KINDS:
        weights, fuser, own_sources = _from_official(files, kind, config)
    else:
        raise UserError(
            f'{kind!r} is no kind of file; there are {", ".join(sorted(KINDS))}, and {OWN} for a training with mmfusion'
        )
    sources = tuple(sources or own_sources)
    if len(sources) != 2:
        raise UserError(f'a fuser has two sources, got {", ".join(sources)}')
    training = dict(added_as=kind, files=[dict(name=file.name, sha256=sha256(file)) for file in files])
    return write_model(
        user_folder(),
        name,
        weights,
        fuser,
        sources,
        license.strip(),
        summary or f'Added from {files[0].name}',
        training,
    )


def remove_model(name: str) -> None:
    """Delete a model that was added.

    Raises:
        UserError: There is none of this name, or it ships with the package.
    """
    path = card_files().get(name)
    if path is None:
        raise UserError(f'there is no model {name!r}; mmfusion models list shows those that exist')
    if path.parent == SHIPPED:
        raise UserError(f'model {name!r} ships with mmfusion and cannot be removed')
    path.unlink(missing_ok=True)  # without its card a model is refused
    path.with_suffix('.safetensors').unlink(missing_ok=True)


def _from_official(files: Sequence[Path], kind: str, config: Optional[Union[str, Path]]) -> tuple:
    entry = KINDS[kind]
    if len(files) != entry.files:
        raise UserError(
            f'{kind} is made of {entry.files} file{"s" * (entry.files > 1)}, one per stage where there are two; '
            f'got {len(files)}'
        )
    fuser = dict(entry.fuser) if config is None else _plain(_fuser_of(load_config(config), config))
    with tempfile.TemporaryDirectory() as folder:
        weights = entry.convert(files, Path(folder) / 'converted.pth', Config(dict(fuser=fuser)))
    return {key[len(PREFIX) :]: value for key, value in weights.items() if key.startswith(PREFIX)}, fuser, entry.sources


def _from_checkpoint(files: Sequence[Path], config: Optional[Union[str, Path]]) -> tuple:
    if config is None:
        raise UserError(
            'a checkpoint of mmfusion does not say what its fuser looks like; give the config that it was '
            'trained with (--config)'
        )
    if len(files) != 1:
        raise UserError(f'a checkpoint is one file, got {len(files)}')
    content = safe_load(files[0])
    state = state_dict_of(content, files[0])
    weights = {key[len(PREFIX) :]: value for key, value in state.items() if key.startswith(PREFIX)}
    if not weights:
        raise UserError(
            f'{files[0]} holds no fuser: no key begins with {PREFIX}, the first are {first_of(list(state))}. For '
            f'official files give their kind: {", ".join(sorted(KINDS))}'
        )
    cfg = load_config(config)
    return weights, _plain(_fuser_of(cfg, config)), checkpoint_modalities(content) or _sources_of(cfg)


def _fuser_of(cfg: Config, path: Union[str, Path]) -> dict:
    fuser = cfg.get('fuser') or (cfg.get('model') or {}).get('fuser')
    if not fuser:
        raise UserError(f'{path} has neither `fuser` nor `model.fuser`')
    return fuser


def _plain(fuser: dict) -> dict:
    """What a card keeps of a fuser's config: where its first weights came from does not matter any more."""
    content = fuser.to_dict() if hasattr(fuser, 'to_dict') else dict(fuser)
    return {key: value for key, value in content.items() if not key.endswith('init_cfg') and key != 'mae'}


def _sources_of(cfg: Config) -> tuple:
    from mmfusion.registry import DATASETS

    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    cls = DATASETS.get(dataset.get('type')) if isinstance(dataset.get('type'), str) else None
    given = dataset.get('modalities') or (dataset.get('metainfo') or {}).get('modalities')
    return tuple(given or getattr(cls, 'METAINFO', {}).get('modalities') or VISIBLE_INFRARED)
