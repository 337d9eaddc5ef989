"""Class names of two data sets, matched."""

import re
from typing import Dict, List, Mapping, Optional, Sequence, Union

from mmfusion.utils.errors import UserError

Synonyms = Mapping[str, Union[str, Sequence[str], None]]

# yapf: disable
COCO_CLASSES = (
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat', 'traffic light',
        'fire hydrant', 'stop sign',
    'parking meter', 'bench', 'bird', 'cat', 'dog', 'horse', 'sheep', 'cow', 'elephant', 'bear', 'zebra', 'giraffe',
        'backpack', 'umbrella',
    'handbag', 'tie', 'suitcase', 'frisbee', 'skis', 'snowboard', 'sports ball', 'kite', 'baseball bat',
        'baseball glove', 'skateboard',
    'surfboard', 'tennis racket', 'bottle', 'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple',
        'sandwich', 'orange',
    'broccoli', 'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch', 'potted plant', 'bed', 'dining table',
        'toilet', 'tv', 'laptop',
    'mouse', 'remote', 'keyboard', 'cell phone', 'microwave', 'oven', 'toaster', 'sink', 'refrigerator', 'book',
        'clock', 'vase', 'scissors',
    'teddy bear', 'hair drier', 'toothbrush')
# yapf: enable

# Names of one thing in the data sets of mmdet, mmseg and mmfusion; the table that `synonyms` of PretrainedTask adds to.
SYNONYMS = (
    ('person', 'people', 'pedestrian', 'human'),
    ('bicycle', 'bike', 'cycle'),
    ('motorcycle', 'motorbike', 'moto'),
    ('car', 'automobile'),
    ('truck', 'lorry'),
    ('traffic light', 'traffic lamp', 't lamp', 'lamp'),
    ('traffic sign', 't sign', 'sign'),
    ('airplane', 'aeroplane', 'plane'),
    ('boat', 'ship'),
    ('couch', 'sofa'),
    ('potted plant', 'pottedplant'),
    ('dining table', 'diningtable'),
    ('tv', 'tvmonitor', 'tv monitor'),
    ('cell phone', 'mobile phone'),
)


def plain(name: str) -> str:
    """A class name without the differences that writing makes.

    Examples:
        >>> plain('Traffic_Light '), plain('T-Lamp')
        ('traffic light', 't lamp')
    """
    return re.sub(r'[\s_\-]+', ' ', name).strip().lower()


def match_classes(
    wanted: Sequence[str], known: Sequence[str], synonyms: Optional[Synonyms] = None
) -> List[Optional[int]]:
    """Find each wanted class among the known ones.

    A name is looked for as it is, then without regard to case, hyphens and underscores, then by :data:`SYNONYMS`. What
    ``synonyms`` says about a name goes before all that.

    Args:
        wanted: Names of the classes to be had.
        known: Names of the classes that are there.
        synonyms: Wanted name -> name or names among the known, the first that is there counts; None for a class that
            shall have no partner.

    Returns:
        For each wanted class the index of its partner, None where there is none.

    Raises:
        UserError: ``synonyms`` explains a name that is not wanted, or by names that are not known.

    Examples:
        >>> match_classes(['People', 'Bike', 'Lamp', 'cart'], ['car', 'bicycle', 'person', 'traffic light'])
        [2, 1, 3, None]
        >>> match_classes(['Lamp', 'cart'], ['car', 'traffic light'], dict(Lamp=None, cart='car'))
        [None, 0]
    """
    own = _own_synonyms(wanted, known, synonyms or {})
    exact = {name: index for index, name in reversed(list(enumerate(known)))}
    loose = {plain(name): index for index, name in reversed(list(enumerate(known)))}
    matches: List[Optional[int]] = []
    for name in wanted:
        if plain(name) in own:
            matches.append(own[plain(name)])
            continue
        candidates = [plain(name), *(other for group in SYNONYMS if plain(name) in group for other in group)]
        found = [exact[name]] if name in exact else [loose[candidate] for candidate in candidates if candidate in loose]
        matches.append(found[0] if found else None)
    return matches


def _own_synonyms(wanted: Sequence[str], known: Sequence[str], synonyms: Synonyms) -> Dict[str, Optional[int]]:
    """Index among the known, by plain name, of what the user explained."""
    names, index = {plain(name) for name in wanted}, {plain(name): i for i, name in reversed(list(enumerate(known)))}
    result: Dict[str, Optional[int]] = {}
    for name, others in synonyms.items():
        if plain(name) not in names:
            raise UserError(f'synonyms: {name!r} is none of the classes {list(wanted)}')
        others = [others] if isinstance(others, str) else list(others or ())
        found = [index[plain(other)] for other in others if plain(other) in index]
        if others and not found:
            raise UserError(f'synonyms of {name!r}: the checkpoint knows none of {others}; it knows {", ".join(known)}')
        result[plain(name)] = found[0] if found else None
    return result
