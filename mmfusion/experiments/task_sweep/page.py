"""Tables of the sweep in Markdown."""

import re
from typing import Dict, Iterable, List, NamedTuple, Sequence

from .families import FAMILIES, OUTSIDE
from .judgment import FAILS, NOTE, UPSTREAM, WORKS, faults, note, status

LABELS: Dict[str, str] = dict(gt_instances='boxes', masks='masks', gt_sem_seg='class map', gt_edge_map='edge map')


class Reason(NamedTuple):
    """Why networks fail upstream.

    Attributes:
        message: Regular expression that the recorded message matches.
        why: Explanation.
        remedy: What a user can do.
    """

    message: str
    why: str
    remedy: str


#: Explanations of the errors that networks end in without fusion as well.
REASONS: Sequence[Reason] = (
    Reason('carafe.*device cpu not found', 'mmcv has CARAFE for GPUs only', 'train on a GPU; not tried here'),
    Reason(
        'masked_im2col.*device cpu not found',
        'mmcv has its masked convolution for GPUs only; the step works',
        'predict on a GPU; not tried here',
    ),
    Reason(
        'upper bound and lower bound inconsistent',
        'the step works; pasting masks on a CPU stops at a box beyond the picture, as untrained weights predict it',
        'trained weights, or a GPU; not tried here',
    ),
    Reason(
        "No module named 'torchvision'",
        "`RoIAlign` of this network is torchvision's",
        'install the `torchvision` of your torch; not tried here',
    ),
    Reason(
        'imports mmpretrain',
        'the backbone is one of mmpretrain',
        'install `onedl-mmpretrain` and the `torchvision` of your torch; not tried here',
    ),
    Reason(
        "'SSDHead' object has no attribute 'loss_cls'",
        'the step works; in the prediction its base class reads a loss that this head never makes',
        'another one-stage detector, such as RTMDet or YOLOX',
    ),
    Reason(
        "'super' object has no attribute 'init_weights'",
        'without the CLIP checkpoint of its config the head calls a method that its base class does not have',
        'another segmentor; with the checkpoint it was not tried',
    ),
)


def reason(row: dict) -> Reason:
    """The explanation of a network that fails upstream.

    Raises:
        KeyError: Nobody has explained it yet.
    """
    for one in REASONS:
        if re.search(one.message, row['error']['message']):
            return one
    raise KeyError(f'{row["name"]}: no reason in {__name__}.REASONS matches {row["error"]["message"]!r}')


def networks_table(rows: Iterable[dict]) -> List[str]:
    """A line for each network: its config, whether it works, the labels that it learns from, and notes."""
    lines = ['| network | config | result | learns from | note |', '|---|---|---|---|---|']
    for row in rows:
        labels = ', '.join(LABELS.get(name, name) for name in sorted(row.get('labels', ()), key=list(LABELS).index))
        result = status(row)
        text = note(row)
        if result == FAILS:
            text = '; '.join(filter(None, (describe_error(row), *faults(row)[:3])))
        elif result == UPSTREAM:
            text = 'see below'
        name = row['name'].replace(' (mmseg)', '')
        lines.append(f'| {name} | `{row["config"]}` | {result} | {labels} | {text} |')
    return lines


def describe_error(row: dict) -> str:
    """Type and message of the error, empty where there is none."""
    if 'error' not in row:
        return ''
    message = row['error']['message'].replace('|', '\\|').replace('`', "'").replace('<', '&lt;')
    return f'{row["error"]["type"]}: {message}'


def upstream_table(rows: Iterable[dict]) -> List[str]:
    """A line for each network that fails upstream, with the reason and what to do."""
    lines = ['| network | stops with | because | what to do |', '|---|---|---|---|']
    for row in rows:
        if status(row) == UPSTREAM:
            known = reason(row)
            lines.append(f'| {row["name"]} | `{describe_error(row)}` | {known.why} | {known.remedy} |')
    return lines


def outside_table() -> List[str]:
    """Folders of configs without a network in the tables, by reason."""
    lines = ['| package | folders | why they are not here |', '|---|---|---|']
    for package, folders in OUTSIDE.items():
        for why in dict.fromkeys(folders.values()):
            names = ', '.join(f'`{name}`' for name in sorted(folders) if folders[name] == why)
            lines.append(f'| {package} | {names} | {why} |')
    return lines


def summary(rows: Sequence[dict]) -> str:
    """How many networks there are of each result, in one sentence."""
    counts = {one: sum(status(row) == one for row in rows) for one in (WORKS, NOTE, UPSTREAM, FAILS)}
    working = counts[WORKS] + counts[NOTE]
    text = (
        f'Of {len(rows)} networks {working} work, {counts[NOTE]} of them with a note; {counts[UPSTREAM]} fail upstream'
    )
    return text + (f', {counts[FAILS]} fail behind a fuser only.' if counts[FAILS] else ', none behind a fuser only.')


def packages(rows: Sequence[dict]) -> str:
    """Versions with which the results were found.

    Raises:
        ValueError: They were found with different ones.
    """
    found = {tuple(row['versions'].items()) for row in rows}
    if len(found) != 1:
        raise ValueError(f'the results are of {len(found)} sets of versions; run the sweep again for all')
    return ', '.join(f'{name} {number}' for name, number in found.pop())


def in_order(results: Dict[str, dict]) -> List[dict]:
    """Results of :data:`FAMILIES` in their order; those without one are left out."""
    return [results[name] for name in FAMILIES if name in results]


def untried(rows: Sequence[dict]) -> str:
    """Names and configs of the families without a result, by package, as a list; says so where there is none."""
    known = {row['name'] for row in rows}
    lines = []
    for package in OUTSIDE:
        missing = [family for family in FAMILIES.values() if family.package == package and family.name not in known]
        names = ', '.join(f'{family.name.replace(" (mmseg)", "")} (`{family.config}`)' for family in missing)
        lines += [f'- {package}: {names}'] if missing else []
    return '\n'.join(lines) or 'None.'


def markdown(rows: Sequence[dict]) -> str:
    """All tables of some results, for a file beside them."""
    parts = [summary(rows), '\n'.join(networks_table(rows))]
    return '\n\n'.join(parts) + '\n'
