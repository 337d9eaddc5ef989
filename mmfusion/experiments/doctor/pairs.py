"""Pairs to examine: those of the data sets of a config, or of folders; problems of a pair are kept with it, so that
none is lost.
"""

import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_reading import read_size
from mmfusion.fileio.pairing import PairFiles, index_images, match_pairs
from mmfusion.utils.errors import UserError

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


class Problem(NamedTuple):
    """Something wrong with the annotation of a pair.

    Attributes:
        reason: Kind, as :class:`~mmfusion.fileio.errors.PairDataError` has it.
        message: A sentence.
    """

    reason: str
    message: str


class PairEntry(NamedTuple):
    """One pair and what is known of it before its images are read.

    Attributes:
        set: Name of the set, ``'train'`` for example.
        name: Name of the pair within the set.
        first: Path of the first source; None where it is absent.
        second: Path of the second source.
        modalities: What the sources are.
        boxes: (class name, (x1, y1, x2, y2)) of each annotated object; None where the set has no boxes.
        problems: What is wrong with the annotation.
        annotation: Path of the annotation, for messages.
        class_map: Path of the class map; None without.
        class_numbers: Numbers that a class map may hold; None where that is not known.
        names: Names that classes may have; empty where that is not known.
        scaled: The pipeline says how values of more than 8 bits are scaled (``bit_depth``, ``stretch``, ``window``),
            for first and second.
        alpha: The second source is the fourth channel of its file.
    """

    set: str
    name: str
    first: Optional[str]
    second: Optional[str]
    modalities: Tuple[str, ...] = ('visible', 'infrared')
    boxes: Optional[Tuple[Tuple[str, Tuple[float, ...]], ...]] = None
    problems: Tuple[Problem, ...] = ()
    annotation: str = ''
    class_map: Optional[str] = None
    class_numbers: Optional[Tuple[int, ...]] = None
    names: Tuple[str, ...] = ()
    scaled: Tuple[bool, bool] = (False, False)
    alpha: bool = False

    @property
    def label(self) -> str:
        """Set and name."""
        return f'{self.set}/{self.name}'


def pairs_of_config(cfg: Any) -> List[PairEntry]:
    """Pairs of the data sets of a config.

    Args:
        cfg: A :class:`mmengine.Config` with ``train_dataloader``, ``val_dataloader`` or ``test_dataloader``. Data sets
            that two of them share are examined once.

    Raises:
        UserError: It has no data set with files, or a folder is missing.
    """
    from mmfusion.registry import DATASETS, build_configured
    from mmfusion.utils import register_all_modules

    register_all_modules()
    found: Dict[str, List[PairEntry]] = {}
    rendered = []
    for key in LOADERS:
        loader = cfg.get(key)
        if not loader:
            continue
        for number, leaf in enumerate(_leaves(loader['dataset'])):
            dataset = build_configured(DATASETS, dict(leaf, lazy_init=True))
            name = key.removesuffix('_dataloader')
            name = f'{name}_{number + 1}' if number else name
            if not hasattr(dataset, 'list_pairs'):
                rendered.append(type(dataset).__name__)
                continue
            entries = list(_entries(dataset, name))
            same = next((other for other in found if _same_files(found[other], entries)), None)
            if same is None:
                found[name] = entries
            elif name not in same.split('+'):
                joined = f'{same}+{name}'
                found[joined] = [entry._replace(set=joined) for entry in found.pop(same)]
    entries = [entry for part in found.values() for entry in part]
    if not entries:
        why = f': {", ".join(dict.fromkeys(rendered))} renders its pairs' if rendered else ''
        raise UserError(
            f'the config has no data set with files{why}; give another config, or the folders of the sources'
        )
    return entries


def _leaves(cfg: Any) -> Iterator[dict]:
    """Configs of the data sets inside wrappers."""
    if isinstance(cfg, (list, tuple)):
        for part in cfg:
            yield from _leaves(part)
    elif 'fusion_tasks' in cfg:
        yield from _leaves(list(cfg['fusion_tasks'].values()))
    elif 'datasets' in cfg:
        yield from _leaves(cfg['datasets'])
    elif 'dataset' in cfg:
        yield from _leaves(cfg['dataset'])
    else:
        yield dict(cfg)


def _same_files(one: Sequence[PairEntry], other: Sequence[PairEntry]) -> bool:
    return len(one) == len(other) and {entry[2:4] for entry in one} == {entry[2:4] for entry in other}


def _entries(dataset: Any, name: str) -> Iterator[PairEntry]:
    """Pairs of a data set of :class:`~mmfusion.datasets.BasePairDataset`, with their annotations."""
    from mmfusion.datasets import MFNetDataset

    modalities = tuple(dataset.metainfo.get('modalities', ('first', 'second')))
    scaled = _scaled(dataset)
    for pair in dataset.list_pairs():
        problems: List[Problem] = []
        boxes = class_map = None
        size = _size(pair)
        try:
            annotation = dataset.read_annotation(pair, size) if size else None
            if annotation is not None:
                boxes = tuple((box.name, tuple(float(value) for value in box.bbox)) for box in annotation.boxes)
                if annotation.size and annotation.size != size:
                    problems.append(_other_size(annotation.size, size))
        except PairDataError as error:
            problems.append(Problem(error.reason, str(error)))
        try:
            class_map = dataset.seg_map_of(pair)
        except PairDataError as error:
            problems.append(Problem(error.reason, str(error)))
        label_map = dataset.label_map()
        yield PairEntry(
            set=name,
            name=pair.stem,
            first=pair.first,
            second=pair.second,
            modalities=modalities,
            boxes=boxes,
            problems=tuple(problems),
            annotation=dataset.annotation_path(pair),
            class_map=class_map,
            class_numbers=tuple(label_map) if label_map else None,
            names=tuple(dataset.known_classes() or dataset.metainfo.get('classes', ())),
            scaled=scaled,
            alpha=isinstance(dataset, MFNetDataset),
        )


def _other_size(declared: Tuple[int, int], size: Tuple[int, int]) -> Problem:
    return Problem(
        'size mismatch',
        f'the annotation is for {declared[1]}x{declared[0]} pixels, the images have {size[1]}x{size[0]}',
    )


def _size(pair: PairFiles) -> Optional[Tuple[int, int]]:
    """(height, width) of the first image; None where it cannot be read, which the check of files tells."""
    try:
        return read_size(pair.first) if pair.first else None
    except PairDataError:
        return None


def _scaled(dataset: Any) -> Tuple[bool, bool]:
    """Whether the pipeline says how images of more than 8 bits are scaled."""
    loads = [step for step in getattr(dataset.pipeline, 'transforms', ()) if type(step).__name__ == 'LoadPair']
    options = [getattr(load, key, None) or {} for load in loads for key in ('bit_depth', 'stretch', 'window')]
    return tuple(
        any(isinstance(option, dict) and option.get(source) is not None for option in options)
        for source in ('first', 'second')
    )


def pairs_of_folders(
    folders: Sequence[Union[str, Path]],
    modalities: Sequence[str] = ('visible', 'infrared'),
    suffixes: Sequence[str] = ('', ''),
    boxes: Sequence[Union[str, Path]] = (),
    class_maps: Sequence[Union[str, Path]] = (),
    class_names: Sequence[str] = (),
) -> List[PairEntry]:
    """Pairs of folders, by name: the first and the second source of one set, then those of the next.

    Args:
        folders: 2, 4, ... folders.
        modalities: What the sources are.
        suffixes: Ends of the names that tell first and second apart.
        boxes: A folder of VOC xml or YOLO text files, or a COCO json, for each set or one for all.
        class_maps: A folder of class maps for each set, or one for all.
        class_names: Names of the classes; YOLO text needs them, for others they say which names are right.

    Raises:
        UserError: A folder is missing, the number of folders is odd, or there is no pair.
    """
    folders = [str(folder) for folder in folders]
    missing = [folder for folder in folders if not Path(folder).is_dir()]
    if missing:
        raise UserError(f'folder {missing[0]} does not exist')
    if len(folders) % 2 or not folders:
        raise UserError('give the folders in twos: first and second source of one set, then those of the next')
    couples = list(zip(folders[::2], folders[1::2]))
    readers = _for_each(boxes, len(couples), 'boxes')
    maps = _for_each(class_maps, len(couples), 'class maps')
    entries: List[PairEntry] = []
    for name, couple, labels, folder in zip(_set_names(couples), couples, readers, maps):
        annotations = _Annotations(labels, tuple(class_names)) if labels else None
        index = _index(folder) if folder else {}
        pairs = match_pairs(*(_index(part, suffix) for part, suffix in zip(couple, suffixes)))
        if not pairs:
            ends = ' and '.join(repr(suffix) for suffix in suffixes if suffix)
            asked = f' with a name that ends with {ends} before its extension' if ends else ''
            raise UserError(
                f'{couple[0]} and {couple[1]} hold no image{asked} (png, jpg, bmp or tif, without subfolders)'
            )
        for pair in pairs:
            entry = PairEntry(name, pair.stem, pair.first, pair.second, tuple(modalities), names=tuple(class_names))
            problems: List[Problem] = []
            if annotations:
                found, problems, where = annotations.read(pair)
                entry = entry._replace(boxes=found, annotation=where)
            if folder:
                entry = entry._replace(class_map=index.get(pair.stem))
                if pair.stem not in index:
                    problems.append(Problem('missing class map', f'{folder} has no class map named {pair.stem}'))
            entries.append(entry._replace(problems=tuple(problems)))
    if not any(entry.first and entry.second for entry in entries):
        raise UserError(
            f'no name is in both {couples[0][0]} and {couples[0][1]}; --suffixes tells names apart that end differently'
        )
    return entries


def _for_each(values: Sequence[Union[str, Path]], count: int, what: str) -> List[Optional[str]]:
    if len(values) not in (0, 1, count):
        raise UserError(f'{len(values)} places of {what} for {count} sets; give one for each set, or one for all')
    if not values:
        return [None] * count
    missing = [str(value) for value in values if not Path(value).exists()]
    if missing:
        raise UserError(f'{what}: {missing[0]} does not exist')
    return [str(value) for value in (values if len(values) == count else [values[0]] * count)]


def _index(folder: str, suffix: str = '') -> Dict[str, str]:
    try:
        return index_images(folder, suffix)
    except PairDataError as error:  # two files of one name: the user has to choose
        raise UserError(str(error)) from error


def _set_names(couples: Sequence[Tuple[str, str]]) -> List[str]:
    """Names that tell the sets apart: the last part of their paths that does."""
    if len(couples) == 1:
        return ['pairs']
    paths = [Path(os.path.abspath(first)).parts[::-1] for first, _ in couples]
    for depth in range(min(map(len, paths))):
        names = [path[depth] for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f'set{number + 1}' for number in range(len(couples))]


class _Annotations:
    """Annotations of a folder of xml or text files, or of a COCO json."""

    def __init__(self, place: str, names: Tuple[str, ...]) -> None:
        from mmfusion.datasets.annotations import read_class_names, read_coco

        self.place, self.names, self.coco = place, names, None
        if Path(place).is_file():
            self.coco = read_coco(place)
            return
        files = os.listdir(place)
        self.suffix = '.xml' if any(name.endswith('.xml') for name in files) else '.txt'
        listed = Path(place) / 'classes.txt'
        if self.suffix == '.txt' and not names:
            beside = Path(place).parent / 'classes.txt'
            known = next((path for path in (listed, beside) if path.is_file()), None)
            if known is None:
                raise UserError(f'{place} holds YOLO text: name its classes, --class-names person car ...')
            self.names = tuple(read_class_names(str(known)))

    def read(self, pair: PairFiles) -> Tuple[Optional[tuple], List[Problem], str]:
        """Boxes, problems and path of one pair."""
        from mmfusion.datasets.annotations import read_voc, read_yolo

        size = _size(pair)
        where = f'{self.place} ({pair.stem})' if self.coco else os.path.join(self.place, pair.stem + self.suffix)
        try:
            if self.coco:
                annotation = self.coco.annotations.get(pair.stem)
                if annotation is None:
                    raise PairDataError('missing annotation', f'{self.place} has no image named {pair.stem!r}')
            elif self.suffix == '.xml':
                annotation = read_voc(where)
            elif size is None:
                return None, [], where
            else:
                annotation = read_yolo(where, self.names, size)
        except PairDataError as error:
            return None, [Problem(error.reason, str(error))], where
        boxes = tuple((box.name, tuple(float(value) for value in box.bbox)) for box in annotation.boxes)
        wrong = annotation.size and size and annotation.size != size
        return boxes, [_other_size(annotation.size, size)] if wrong else [], where
