"""Base of all data sets of registered image pairs."""

import hashlib
import logging
from abc import abstractmethod
from collections import Counter
from typing import Dict, Iterable, List, Optional, Sequence

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_reading import read_size
from mmfusion.fileio.pairing import PairFiles, require_folder
from mmfusion.utils.errors import InputError

from .annotations import BoxProblem, RawAnnotation, check_box
from .annotations.boxes import DEFAULT_TOLERANCE


def hash_ids(ids: Iterable[str]) -> str:
    """sha256 of sample names, independent of their order.

    Examples:
        >>> hash_ids(['b', 'a']) == hash_ids(['a', 'b']) != hash_ids(['a'])
        True
    """
    return hashlib.sha256('\n'.join(sorted(ids)).encode()).hexdigest()


class BasePairDataset(BaseDataset):
    """Registered pairs of source images, with or without boxes and class maps.

    A subclass lists its pairs (:meth:`list_pairs`) and reads one annotation (:meth:`read_annotation`); checking,
    counting and the items are made here. Classes are matched by name, never by index: ``metainfo=dict(classes=(...))``
    may choose a subset or another order of the known names, and boxes of known classes that were not chosen are left
    out.

    Every item is a dict with ``first_path``, ``second_path``, ``img_id`` (int), ``sample_id`` (file stem), ``height``,
    ``width``, ``instances`` (list of ``dict(bbox=[x1, y1, x2, y2], bbox_label=int, ignore_flag=0|1)``, pixels of the
    original image, with ``mask`` where annotations have masks),
    ``seg_fields``, and where there are class maps ``seg_map_path``, ``label_map`` (class number in the file -> label)
    and ``reduce_zero_label``.

    ``metainfo['split_hash']`` is the sha256 of the sorted sample names as listed, so that results state on which images
    they were measured.

    Sets of one kind are joined with ``dict(type='ConcatDataset', ignore_keys=['split_hash'], ...)``, since each keeps
    its own hash.

    Attributes:
        FOLDERS: Accepted relative folders by key, the official one first; ``{split}`` is filled in. The case of letters
            does not matter.
        LAYOUT: The expected layout, shown when a folder is missing.
        split: Part of the data set, fills ``{split}``.

    Args:
        data_root: Folder of the data set.
        ann_file: Id list (one sample name per line) that chooses the pairs; all pairs when empty. Relative to
            ``data_root``.
        data_prefix: Folders by key (``first``, ``second``, ``ann``, ``seg``), relative to ``data_root``; the official
            names when left out.
        on_error: ``'raise'`` stops at the first problem. ``'skip'`` leaves the bad box (unknown class, outside the
            image, without area) or the bad pair (missing partner, other size, unreadable file or annotation) out,
            counts and logs it. While training, a pair that turns out unreadable when its pixels are decoded is replaced
            by another one; a test never replaces, it raises.
        box_tolerance: Pixels by which a box may exceed the image before that is an error; see
            :func:`annotations.check_box`.
        clip_boxes: Cut boxes that exceed the image by more, instead of taking them for errors.
        check_files: Read the headers of both images and compare their sizes with each other and with the annotation.
            Without it only files whose format needs the size (YOLO) are opened.
        filter_cfg: ``filter_empty_gt=True`` leaves images without boxes out, ``min_size=n`` images whose smaller side
            is below n; training only.
        kwargs: Everything else that :class:`mmengine.dataset.BaseDataset` takes (``pipeline``, ``test_mode``,
            ``metainfo``, ``indices``, ...).

    Raises:
        FileNotFoundError: A folder or the id list is missing; the message shows the expected layout.
        PairDataError: A pair or its annotation is bad and ``on_error`` is ``'raise'``, or nothing is left.
    """

    METAINFO = dict(classes=(), palette=[], modalities=('visible', 'infrared'))
    FOLDERS: Dict[str, Sequence[str]] = {}
    LAYOUT = ''
    split = ''

    def __init__(
        self,
        data_root: str = '',
        ann_file: str = '',
        data_prefix: Optional[Dict[str, str]] = None,
        on_error: str = 'raise',
        box_tolerance: float = DEFAULT_TOLERANCE,
        clip_boxes: bool = False,
        check_files: bool = True,
        **kwargs,
    ) -> None:
        if on_error not in ('raise', 'skip'):
            raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        self.on_error = on_error
        self.box_tolerance = box_tolerance
        self.clip_boxes = clip_boxes
        self.check_files = check_files
        self.problems: Counter = Counter()
        self._examples: Dict[str, str] = {}
        super().__init__(ann_file=ann_file, data_root=data_root, data_prefix=dict(data_prefix or {}), **kwargs)

    def folder(self, key: str) -> str:
        """Find the folder of a key: that of ``data_prefix``, or the first of ``FOLDERS`` that exists.

        Raises:
            FileNotFoundError: There is none.
        """
        if key in self.data_prefix:
            return require_folder(type(self).__name__, '', (self.data_prefix[key],), self.LAYOUT)
        return require_folder(
            type(self).__name__,
            self.data_root,
            [name.format(split=self.split) for name in self.FOLDERS[key]],
            self.LAYOUT,
        )

    @abstractmethod
    def list_pairs(self) -> List[PairFiles]:
        """List the files of all pairs wanted, with None for an absent partner."""

    def read_annotation(self, pair: PairFiles, size: Optional[tuple]) -> Optional[RawAnnotation]:
        """Read the boxes of one pair; None for a set without labels.

        Args:
            pair: The files.
            size: (height, width) of the images, None when ``check_files`` is off.
        """
        return None

    def seg_map_of(self, pair: PairFiles) -> Optional[str]:
        """Path of the class map of one pair, None for a set without."""
        return None

    def label_map(self) -> Optional[Dict[int, int]]:
        """Label of each class number in the files of class maps, 255 for those left out; None where numbers are
        labels.
        """
        return None

    def list_complete_pairs(self) -> List[PairFiles]:
        """List all pairs, without reading any annotation.

        Raises:
            PairDataError: A partner is missing.
        """
        pairs = self.list_pairs()
        for pair in pairs:
            self._check_partners(pair)
        return pairs

    def load_data_list(self) -> List[dict]:
        """List, check and describe all pairs.

        Raises:
            PairDataError: No pair is usable, or one is bad and ``on_error`` is ``'raise'``.
            ValueError: ``metainfo`` names an unknown class.
        """
        pairs = self.list_pairs()
        self._label_of = self._map_classes()
        self._metainfo['split_hash'] = hash_ids(pair.stem for pair in pairs)
        data_list = []
        for pair in pairs:
            try:
                item = self._describe(pair)
            except PairDataError as error:
                self._report(error)
                continue
            item['img_id'] = len(data_list)
            data_list.append(item)
        self._log_summary(len(pairs), data_list)
        if not data_list:
            why = self._problem_text() or 'the folders are empty'
            raise PairDataError('no pairs', f'{type(self).__name__}: no usable pair in {self.data_root!r} ({why})')
        return data_list

    def known_classes(self) -> tuple:
        """Names of all classes that annotations may have; empty where the user's choice is all that is known."""
        return tuple(self.METAINFO.get('classes', ()))

    def _map_classes(self) -> Dict[str, int]:
        """Map every known class name to its label; names that the user did not choose map to -1."""
        chosen, known = tuple(self._metainfo.get('classes', ())), self.known_classes()
        strange = [name for name in chosen if known and name not in known]
        if strange:
            raise InputError(
                f'{type(self).__name__}: metainfo names unknown classes {strange}; known are {list(known)}'
            )
        return {**dict.fromkeys(known, -1), **{name: label for label, name in enumerate(chosen)}}

    def _check_partners(self, pair: PairFiles) -> None:
        for label, path, other in (('first', pair.first, pair.second), ('second', pair.second, pair.first)):
            if path is None:
                hint = f'{other} has no partner' if other else f'{pair.stem!r} is listed but has no image'
                modality = self._metainfo['modalities'][label == 'second']
                raise PairDataError(
                    'missing partner',
                    f'{hint} in the folder of the {label} source ({modality}); add the file or choose on_error="skip"',
                )

    def _describe(self, pair: PairFiles) -> dict:
        """Check one pair and make its item."""
        self._check_partners(pair)
        size = None
        if self.check_files:
            size, partner_size = read_size(pair.first), read_size(pair.second)
            if size != partner_size:
                raise PairDataError(
                    'size mismatch',
                    f'{pair.first} has {size[1]}x{size[0]} pixels, {pair.second} has '
                    f'{partner_size[1]}x{partner_size[0]}; the sources of a pair must be registered and of one size',
                )
        annotation = self.read_annotation(pair, size)
        item = dict(first_path=pair.first, second_path=pair.second, sample_id=pair.stem, seg_fields=[])
        declared = annotation.size if annotation else None
        if size and declared and size != declared:
            raise PairDataError(
                'size mismatch',
                f'{pair.first} has {size[1]}x{size[0]} pixels, its annotation is for {declared[1]}x{declared[0]}; '
                'use the original images or scale the annotation',
            )
        size = size or declared
        if size:
            item.update(height=size[0], width=size[1])
        if annotation is not None:
            item['instances'] = self._instances(pair, annotation, size or read_size(pair.first))
        seg_map = self.seg_map_of(pair)
        if seg_map is not None:
            if self.check_files and read_size(seg_map) != size:
                height, width = read_size(seg_map)
                raise PairDataError(
                    'size mismatch',
                    f'{pair.first} has {size[1]}x{size[0]} pixels, its class map {seg_map} has {width}x{height}; '
                    'use the original class maps, or resize images and class maps (nearest) alike',
                )
            item.update(seg_map_path=seg_map, label_map=self.label_map(), reduce_zero_label=False)
        return item

    def _instances(self, pair: PairFiles, annotation: RawAnnotation, size: tuple) -> List[dict]:
        instances = []
        for box in annotation.boxes:
            try:
                if box.name not in self._label_of:
                    known = sorted(self._label_of)
                    raise BoxProblem(
                        'unknown class',
                        f'{self.annotation_path(pair)}: class {box.name!r} is unknown; known are {known}. '
                        'Correct the file or choose on_error="skip"',
                    )
                label = self._label_of[box.name]
                if label < 0:
                    continue
                if box.mask is None and self._loads_masks():
                    raise BoxProblem(
                        'no mask',
                        f'{self.annotation_path(pair)}: an object of class {box.name!r} has a box and no mask, and the '
                        'pipeline loads masks (with_mask=True). Use a data set that has them, '
                        'as CocoPairDataset, or a detector without masks',
                    )
                if isinstance(box.mask, dict) and tuple(box.mask['size']) != tuple(size):
                    raise BoxProblem(
                        'size mismatch',
                        f'{self.annotation_path(pair)}: a mask of class {box.name!r} is of the size (height, width) '
                        f'{tuple(box.mask["size"])}, its images are {tuple(size)}; use the original images or scale '
                        f'the annotation',
                    )
                bbox, far = check_box(box, size, self.annotation_path(pair), self.box_tolerance, self.clip_boxes)
            except BoxProblem as error:
                self._report(error)
                continue
            self.problems['clipped box'] += far
            instances.append(
                dict(
                    bbox=bbox,
                    bbox_label=label,
                    ignore_flag=int(box.difficult),
                    **({} if box.mask is None else dict(mask=box.mask)),
                )
            )
        return instances

    def _loads_masks(self) -> bool:
        return any(getattr(transform, 'with_mask', False) for transform in self.pipeline.transforms)

    def annotation_path(self, pair: PairFiles) -> str:
        """Name of the annotation for messages."""
        return f'annotation of {pair.stem}'

    def _report(self, error: PairDataError) -> None:
        if self.on_error == 'raise':
            owner = f'{type(self).__name__}: '  # a bad box passes here twice: as a box, and as what its pair fails by
            raise type(error)(error.reason, owner + str(error).removeprefix(owner)) from error
        self.problems[error.reason] += 1
        self._examples.setdefault(error.reason, str(error))

    def _problem_text(self) -> str:
        return ', '.join(f'{count} x {reason}' for reason, count in sorted(self.problems.items()) if count)

    def _log_summary(self, listed: int, data_list: Sequence[dict]) -> None:
        boxes = sum(len(item.get('instances', ())) for item in data_list)
        text = (
            f'{type(self).__name__}: {len(data_list)} of {listed} pairs, {boxes} boxes, split hash '
            f'{self._metainfo["split_hash"][:12]}'
        )
        maps = sum('seg_map_path' in item for item in data_list)
        text += f', {maps} class maps' if maps else ''
        trouble = self._problem_text()
        print_log(
            text + (f'; left out or cut: {trouble}' if trouble else ''),
            'current',
            logging.WARNING if trouble else logging.INFO,
        )
        for reason, example in self._examples.items():
            print_log(f'  first {reason}: {example}', 'current', logging.WARNING)

    def filter_data(self) -> List[dict]:
        """Apply ``filter_cfg`` (training only), as mmdet does.

        Raises:
            PairDataError: No pair is left.
            ValueError: ``filter_cfg`` has an unknown key.
        """
        if self.test_mode or not self.filter_cfg:
            return self.data_list
        unknown = set(self.filter_cfg) - {'filter_empty_gt', 'min_size'}
        if unknown:
            raise InputError(
                f'{type(self).__name__}: unknown keys in filter_cfg {sorted(unknown)}; '
                f"known are 'filter_empty_gt' and 'min_size'"
            )
        empty, smallest = self.filter_cfg.get('filter_empty_gt', False), self.filter_cfg.get('min_size', 0)
        kept = [
            item
            for item in self.data_list
            if not (empty and not item.get('instances'))
            and min(item.get('height', smallest), item.get('width', smallest)) >= smallest
        ]
        if not kept:
            raise PairDataError(
                'no pairs',
                f'{type(self).__name__}: filter_cfg={self.filter_cfg} leaves no pair of {len(self.data_list)}',
            )
        return kept

    def prepare_data(self, idx: int) -> Optional[dict]:
        """Run the pipeline; a pair that cannot be decoded while training is replaced when ``on_error`` is
        ``'skip'``.
        """
        try:
            return super().prepare_data(idx)
        except PairDataError as error:
            if self.test_mode or self.on_error == 'raise':
                raise
            self.problems[error.reason] += 1
            count = f'{self.problems[error.reason]} x {error.reason} so far'
            print_log(f'{type(self).__name__}: replaced a pair ({count}): {error}', 'current', logging.WARNING)
            return None

    def get_cat_ids(self, idx: int) -> List[int]:
        """Labels of the boxes of one pair, for class-balanced sampling."""
        return [instance['bbox_label'] for instance in self.get_data_info(idx).get('instances', ())]
