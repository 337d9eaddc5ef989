"""Rows of a league: building a method, saying what it was made of, and pictures that came from elsewhere."""

import copy
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from mmengine.model import ModuleDict

from mmfusion.apis.build import build_coupling
from mmfusion.apis.inferencer import FusionInferencer
from mmfusion.experiments.identity import section_sha256
from mmfusion.fileio.image_reading import read_image, read_size
from mmfusion.fileio.pairing import index_images
from mmfusion.fileio.reading import sha256
from mmfusion.model_zoo.card import is_exchanged
from mmfusion.model_zoo.catalog import find_model, has_model
from mmfusion.model_zoo.exchange import ExchangedSources
from mmfusion.models.couplings import BaseCoupling
from mmfusion.utils import UserError, load_config, safe_load
from mmfusion.utils.checkpoint import checkpoint_modalities

from .settings import Method

MAX_LISTED = 5
_CONFIGS = ('.py', '.yaml', '.yml', '.json')


def missing_weights(method: Method) -> str:
    """Why a method cannot run, empty if it can: its checkpoint is not there, or nothing gives it weights at all.

    Raises:
        UserError: Its model does not exist, or cannot be built.
    """
    if method.folder is not None:
        return ''
    if method.weights is not None:
        absent = not Path(method.weights).is_file()
        return f'no weights: {method.weights} is not there{f"; {method.get}" if method.get else ""}' if absent else ''
    if isinstance(method.model, str) and has_model(method.model):
        return ''
    coupling = build_coupling(copy.deepcopy(method.model), warn=False).coupling
    if any(True for _ in coupling.parameters()):
        return 'no weights: it has learned parameters and no checkpoint was given'
    return ''


def build_method(method: Method, device: str = 'cpu') -> BaseCoupling:
    """The coupling of a method, in eval mode, without task networks, with visible before infrared whatever its network
    takes.

    Raises:
        UserError: What :func:`build_coupling` raises.
    """
    built = build_coupling(copy.deepcopy(method.model), method.weights, device, warn=False)
    coupling = built.coupling
    coupling.tasks = ModuleDict()
    own = checkpoint_modalities(safe_load(method.weights)) if method.weights else None
    sources = method.sources or own or built.meta.get('modalities')
    if sources and is_exchanged(sources):
        if coupling.guide is not None:
            raise UserError(
                f'method {method.name} takes {" before ".join(sources)} and has a guide, which a league cannot exchange'
            )
        coupling.fuser = ExchangedSources(coupling.fuser)
    coupling.fuser_options = dict(method.options)
    return coupling.to(device).eval()


def make_inferencer(method: Method, load: dict, device: str = 'cpu') -> FusionInferencer:
    """Inferencer of a method; ``load`` are the arguments of ``LoadPair``, equal for all methods."""
    return FusionInferencer(build_method(method, device), device=device, load=load, fuser_options=dict(method.options))


def method_facts(method: Method) -> Dict[str, object]:
    """What the pictures of a model depend on, as plain values: hashes of its config and weights, options, order of
    sources.
    """
    facts: Dict[str, object] = dict(
        model=method.model if isinstance(method.model, dict) else str(method.model),
        options=dict(method.options),
        sources=list(method.sources or ()),
    )
    if isinstance(method.model, str) and not method.model.endswith(_CONFIGS) and has_model(method.model):
        card = find_model(method.model)
        facts.update(fuser=card.fuser, weights_sha256=card.sha256)
    elif isinstance(method.model, str) and _is_config(method.model):
        facts.update(model=Path(method.model).name, model_sha256=section_sha256(load_config(method.model), 'model'))
    if method.weights is not None:
        facts['weights_sha256'] = sha256(method.weights)
    return facts


def _is_config(model: str) -> bool:
    from mmfusion.utils.shipped import config_names

    return model.endswith(_CONFIGS) or model in config_names()


class Pictures:
    """Fused pictures of one method on one set of pairs.

    Args:
        files: Path by name of the pair.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = dict(files)

    def read(self, name: str) -> np.ndarray:
        """Picture of a pair, (H, W, 1 or 3) BGR as the file has it."""
        return read_image(self.files[name])

    def identity(self) -> List[Tuple[str, str]]:
        """Name and sha256 of every file."""
        return [(name, sha256(path)) for name, path in self.files.items()]


def find_pictures(
    method: Method, data: str, names: Sequence[str], sizes: Sequence[Tuple[int, int]]
) -> Optional[Pictures]:
    """Pictures that a user made of a set of pairs.

    Args:
        method: With a folder.
        data: Name of the set; ``FOLDER/DATA`` is taken where it exists, else the folder itself.
        names: Names of the pairs.
        sizes: (height, width) of their sources.

    Returns:
        Pictures, or None where the folder has not one of this set.

    Raises:
        UserError: Pictures of some pairs are missing, cannot be read, or have another size than their sources.
        PairDataError: Two files have the same name.
    """
    folder = Path(method.folder)
    folder = folder / data if (folder / data).is_dir() else folder
    if not folder.is_dir():
        raise UserError(f'method {method.name}: there is no folder {folder}')
    found = index_images(str(folder))
    missing = [name for name in names if name not in found]
    if len(missing) == len(names):
        return None
    if missing:
        raise UserError(
            f'method {method.name}: {folder} has no picture of {len(missing)} of the {len(names)} pairs of {data}: '
            f'{_listing(missing)}. Every method is rated on the same pairs; add them, or put the pictures into '
            f'{folder / data} if these are of'
            ' another set'
        )
    wrong = []
    for name, size in zip(names, sizes):
        height, width = read_size(found[name])
        if (height, width) != tuple(size):
            wrong.append(f'{name} ({width}x{height}, sources {size[1]}x{size[0]})')
    if wrong:
        raise UserError(
            f'method {method.name}: {len(wrong)} pictures in {folder} have another size than their sources: '
            f'{_listing(wrong)}.'
            ' Metrics compare pixel by pixel; fuse at the size of the sources'
        )
    return Pictures({name: found[name] for name in names})


def _listing(names: Sequence[str]) -> str:
    return ', '.join(names[:MAX_LISTED]) + (f' and {len(names) - MAX_LISTED} more' if len(names) > MAX_LISTED else '')
