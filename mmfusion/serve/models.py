"""Models that the page offers, and their options."""

import inspect
import os
from collections import OrderedDict
from pathlib import Path
from typing import Callable, Dict, List, Optional

from mmfusion.apis import FusionInferencer
from mmfusion.model_zoo.catalog import DEFAULT_MODEL, list_models
from mmfusion.models.fusers.tiling import TileLike
from mmfusion.registry import MODELS
from mmfusion.utils.errors import InputError

from .settings import ServeSettings

#: Models that are kept ready at once.
KEPT = 3
#: Least and largest value and step of the sliders of options that are numbers.
RANGES = dict(scale=(0.0, 3.0, 0.1), shift=(-1.0, 1.0, 0.05))
#: What a page is for needs no weights: a baseline that everybody can compare with.
PLAIN = dict(
    LaplacianPyramidFuser='Laplacian pyramid, without parameters', AverageFuser='mean of both sources, no parameters'
)


class OfferedModels:
    """Models by name, built when they are first asked for.

    Args:
        settings: ``config``, ``weights`` and ``device`` are used.
        check: Called before every layer of a network; it raises where the work is not wanted any more.
    """

    def __init__(self, settings: ServeSettings, check: Callable[[], None] = lambda: None) -> None:
        self.settings, self._check = settings, check
        self.config_name = settings.config and f'{Path(settings.config).stem} (your config)'
        self._built: OrderedDict[tuple, FusionInferencer] = OrderedDict()
        if settings.config:
            self.get(self.config_name)  # a config that cannot be built is said at the start

    def describe(self) -> List[dict]:
        """Name, summary, terms, modalities and options of every model, the default one first."""
        cards = sorted(list_models()[0], key=lambda card: card.name != DEFAULT_MODEL)
        described = [
            dict(
                name=card.name,
                summary=card.summary,
                terms=card.license.strip().splitlines()[0],
                sources=list(card.sources),
                options=_options(dict(card.fuser)),
                tasks=[],
            )
            for card in cards
        ]
        for name, summary in PLAIN.items():
            described.append(dict(name=name, summary=summary, terms='', sources=[], options=[], tasks=[]))
        if self.config_name:
            built = self.get(self.config_name)
            described.insert(
                0,
                dict(
                    name=self.config_name,
                    summary=os.path.basename(self.settings.config),
                    terms='',
                    sources=list(built.meta.get('modalities') or []),
                    options=_options_of(built.coupling.fuser),
                    tasks=[task.kind for task in built.coupling.tasks.values()],
                ),
            )
        return described

    def get(self, name: str, load: Optional[dict] = None, tile: TileLike = None) -> FusionInferencer:
        """The model of a name, ready to fuse.

        Args:
            name: One of those that :meth:`describe` lists.
            load: Config of :class:`~mmfusion.datasets.transforms.LoadPair`, without ``type``.
            tile: As :class:`~mmfusion.apis.FusionInferencer` takes it.

        Raises:
            InputError: There is none of this name.
            UserError: It cannot be built.
        """
        key = name, repr(sorted((load or {}).items())), tile
        if key not in self._built:
            if name == self.config_name and name:
                model, weights = self.settings.config, self.settings.weights
            elif name in PLAIN or any(card.name == name for card in list_models()[0]):
                model, weights = name, None
            else:
                raise InputError(f'there is no model {name!r} on this page')
            built = FusionInferencer(model, weights, self.settings.device, load=load, tile=tile)
            for module in built.coupling.modules():
                module.register_forward_pre_hook(lambda module, arguments: self._check())
            self._built[key] = built
            while len(self._built) > KEPT:
                self._built.popitem(last=False)
        self._built.move_to_end(key)
        return self._built[key]


def _options(fuser: Dict[str, object]) -> List[dict]:
    """Options of a fuser by its config: name, and choices or range, and default."""
    cls = MODELS.get(fuser['type'])
    defaults = {name: parameter.default for name, parameter in inspect.signature(cls.__init__).parameters.items()}
    return _describe(cls.option_keys, {**defaults, **fuser})


def _options_of(fuser) -> List[dict]:
    return _describe(fuser.options(), {name: getattr(fuser, name, None) for name in (*fuser.options(), 'fusion_tasks')})


def _describe(names, values: Dict[str, object]) -> List[dict]:
    described = []
    for name in names:
        if name == 'fusion_task' and values.get('fusion_tasks'):
            choices = list(values['fusion_tasks'])
            described.append(dict(name=name, choices=choices, default=values.get(name) or choices[0]))
        elif name in RANGES:
            low, high, step = RANGES[name]
            described.append(dict(name=name, low=low, high=high, step=step, default=values.get(name)))
    return described
