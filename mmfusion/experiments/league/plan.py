"""Plan of a league: a cell for each measurement, known by a hash of what determines it."""

import hashlib
import json
from pathlib import Path
from typing import Dict, List, NamedTuple

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.reading import read_record
from mmfusion.utils import UserError, load_config
from mmfusion.version import __version__

from .cost import cost_facts
from .course import course_facts
from .measure import network_facts, picture_files, unusable_network
from .methods import Pictures, find_pictures, method_facts, missing_weights
from .pair_set import PairSet
from .settings import Method, Settings

RESULT_FILE, FAILURE_FILE, FORMAT = 'result.json', 'failure.json', 1
#: States of a cell.
DONE, FAILED, SKIPPED, MISSING = 'done', 'failed', 'skipped', 'missing'


class Cell(NamedTuple):
    """One measurement.

    Attributes:
        kind: ``'pictures'``, ``'scores'``, ``'network'``, ``'cost'`` or ``'course'``.
        method: Name of the method.
        data: Name of the set of pairs; empty for costs and courses.
        name: Name of the network or course, else empty.
        facts: What determines the result.
        skipped: Why it is not measured; empty if it is.
    """

    kind: str
    method: str
    data: str = ''
    name: str = ''
    facts: dict = {}
    skipped: str = ''

    @property
    def key(self) -> str:
        """Hash of what determines the result."""
        return hashlib.sha256(json.dumps(self.facts, sort_keys=True, default=repr).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """How messages call it."""
        return ', '.join(filter(None, [self.method, self.data, self.name or self.kind]))

    def folder(self, root: Path) -> Path:
        """Where its files lie."""
        return (
            Path(root)
            / 'cells'
            / self.method
            / f'{"_".join(filter(None, [self.data, self.name or self.kind]))}-{self.key}'
        )

    def state(self, root: Path) -> str:
        """Out of ``'done'``, ``'failed'``, ``'skipped'`` and ``'missing'``."""
        if self.skipped:
            return SKIPPED
        folder = self.folder(root)
        return DONE if (folder / RESULT_FILE).exists() else FAILED if (folder / FAILURE_FILE).exists() else MISSING

    def result(self, root: Path) -> dict:
        """What was measured."""
        return read_record(self.folder(root) / RESULT_FILE, 'remove it and run the command again')

    def failure(self, root: Path) -> str:
        """Why it could not be measured."""
        return str(
            read_record(self.folder(root) / FAILURE_FILE, 'remove it and run the command again').get('message', '')
        )


class Plan(NamedTuple):
    """Everything that a league measures.

    Attributes:
        settings: Its settings.
        pairs: Sets of pairs that are there, by name.
        pictures: Pictures of users, by (method, set).
        jobs: Cells that depend on each other, in their order.
        notes: What a reader must know: sets that are not there, gray pictures.
    """

    settings: Settings
    pairs: Dict[str, PairSet]
    pictures: Dict[tuple, Pictures]
    jobs: List[List[Cell]]
    notes: List[str]

    @property
    def cells(self) -> List[Cell]:
        """All cells."""
        return [cell for job in self.jobs for cell in job]


def make_plan(settings: Settings) -> Plan:
    """Look at methods, pairs and networks, and list what is to be measured and what cannot be, with the reason.

    Raises:
        UserError: No set of pairs is there, or pictures of a user do not fit their pairs.
    """
    pairs, notes, own = {}, [], {}
    for name, entry in settings.pairs.items():
        try:
            pairs[name] = PairSet(entry)
        except (FileNotFoundError, PairDataError) as error:
            first = str(error).splitlines()[0]
            notes.append(f'{entry.title} is left out: {first}')
    if not pairs:
        raise UserError('none of the sets of pairs is there:\n  ' + '\n  '.join(notes))
    absent = {name: missing_weights(method) for name, method in settings.methods.items()}
    facts = {
        name: {} if absent[name] or method.folder else method_facts(method) for name, method in settings.methods.items()
    }
    jobs = []
    if settings.cost is not None:
        for name, method in settings.methods.items():
            why = absent[name] or ('a folder of pictures does not say what they cost' if method.folder else '')
            jobs.append(
                [
                    _cell(
                        'cost',
                        name,
                        '',
                        '',
                        dict(method=facts[name], **cost_facts(settings.cost, settings.device)),
                        why,
                    )
                ]
            )
    for data, pair_set in pairs.items():
        identity = dict(dataset=_without_place(settings.pairs[data].dataset), **pair_set.identity())
        unusable = {
            name: unusable_network(network, pair_set)
            for name, network in settings.networks.items()
            if not network.pairs or data in network.pairs
        }
        for name, method in settings.methods.items():
            why, made_of = absent[name], facts[name]
            if method.folder and not why:
                found = find_pictures(method, data, pair_set.names, pair_set.sizes)
                if found is None:
                    why = f'{method.folder} has no picture of {settings.pairs[data].title}'
                else:
                    own[name, data] = found
                    made_of = dict(pictures=found.identity())
                    notes += _picture_notes(method, found, pair_set)
            jobs.append(_chain(settings, name, data, made_of, identity, unusable, why))
    for name, course in settings.courses.items():
        base = load_config(course.config, dict(course.options))
        try:
            trained, unusable_course = course_facts(course, base), ''
        except (FileNotFoundError, PairDataError) as error:
            trained, unusable_course = {}, f'no pairs to train with: {str(error).splitlines()[0]}'
        for method_name, method in settings.methods.items():
            why = absent[method_name] or (
                'a folder has pictures of the test pairs alone, and a training needs those of its own '
                'pairs; give a config'
                if method.folder
                else unusable_course
            )
            fixed = dict(method=facts[method_name], **trained)
            jobs.append([_cell('course', method_name, '', name, fixed, why)])
    return Plan(settings, pairs, own, jobs, notes)


def _chain(
    settings: Settings, name: str, data: str, made_of: dict, identity: dict, unusable: dict, why: str
) -> List[Cell]:
    pictures = _cell('pictures', name, data, '', dict(method=made_of, data=identity), why)
    scores = dict(pictures=pictures.key, metrics=list(settings.metrics), protocol=settings.protocol)
    chain = [pictures, _cell('scores', name, data, '', scores, why)]
    for network, reason in unusable.items():
        known = {} if reason else network_facts(settings.networks[network])
        chain.append(_cell('network', name, data, network, dict(pictures=pictures.key, **known), why or reason))
    return chain


def _cell(kind: str, method: str, data: str, name: str, facts: dict, why: str) -> Cell:
    return Cell(kind, method, data, name, dict(facts, kind=kind, format=FORMAT, version=__version__), why)


def _without_place(dataset: dict) -> dict:
    return {key: value for key, value in dataset.items() if key not in ('data_root', 'backend_args')}


def _picture_notes(method: Method, pictures: Pictures, pairs: PairSet) -> List[str]:
    """What to know of pictures that came from elsewhere: gray where the sources have color, compressed."""
    notes, name = [], pairs.names[0]
    colored = pairs.item(0)['first'].shape[2] == 3
    image = pictures.read(name)
    if colored and (image.shape[2] == 1 or (image == image[..., :1]).all()):
        notes.append(
            f'{method.title}: its pictures of {pairs.pairs.title} are gray, the sources have color. '
            f'Metrics of luminance'
            ' are not concerned; task networks see gray pictures, and do better on color'
        )
    if Path(pictures.files[name]).suffix.lower() in ('.jpg', '.jpeg'):
        notes.append(
            f'{method.title}: its pictures of {pairs.pairs.title} are JPEG files, and compression changes MI, '
            f'VIF and Qabf most; use png'
        )
    return notes


def pictures_of(plan: Plan, method: str, data: str, root: Path) -> Pictures:
    """Pictures of a method on a set of pairs, whoever made them."""
    if (method, data) in plan.pictures:
        return plan.pictures[method, data]
    cell = next(cell for cell in plan.cells if (cell.kind, cell.method, cell.data) == ('pictures', method, data))
    return picture_files(plan.pairs[data].names, cell.folder(root))
