"""Files and folders through an exported file."""

import os
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from mmfusion.utils.errors import InputError, MissingFileError, UserError

from .model import RuntimeModel, RuntimeResult
from .registering import registrar

PathLike = Union[str, Path]
SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.npy')
DEEP = ('.png', '.tif', '.tiff', '.npy')


class PairRun(NamedTuple):
    """One pair that was run.

    Attributes:
        name: Stem of the files.
        files: What was written, by kind.
        result: As :class:`RuntimeModel` gave it; None where the pair was skipped.
        skipped: Why it was skipped.
    """

    name: str
    files: Dict[str, str]
    result: Optional[RuntimeResult]
    skipped: str = ''


def run_pairs(
    model: RuntimeModel,
    first: PathLike,
    second: PathLike,
    out: PathLike,
    skip_bad: bool = False,
    skip_existing: bool = False,
    score_thr: float = 0.3,
    registration: Optional[str] = None,
    **options,
) -> Iterator[PairRun]:
    """Fuse two files, or two folders matched by file name, and write the pictures.

    Args:
        model: The exported file.
        first: File or folder of the first sources.
        second: The same of the second ones.
        out: File for two files, folder for two folders.
        skip_bad: Go on after a pair that cannot be read or fused.
        skip_existing: Leave out pairs whose picture is there.
        score_thr: Boxes from this score on are written.
        registration: Rig file of ``mmfusion register`` (needs OpenCV, Pillow and PyYAML), or ``'auto'`` to estimate for
            each pair where the second lies on the first (needs scipy too).
        options: Of :meth:`RuntimeModel.__call__`.

    Yields:
        Pairs in order, those that were skipped included.

    Raises:
        UserError: A path does not exist, there is no pair, a file cannot be read or written, or a pair cannot be fused.
    """
    register = registrar(registration)
    pairs, folder = _pairs(str(first), str(second), skip_bad)
    if options.get('bits', 8) == 16 and not folder and Path(out).suffix.lower() not in DEEP:
        raise InputError(f'{out} cannot hold 16 bits; use one of {", ".join(DEEP)}')
    for name, path_a, path_b in pairs:
        target = os.path.join(str(out), f'{name}.png') if folder else str(out)
        if skip_existing and os.path.exists(target):
            yield PairRun(name, {}, None, f'{target} exists')
            continue
        try:
            pictures, names = [read_picture(path) for path in (path_a, path_b)], (path_a, path_b)
            if register is not None:
                pictures = register.pictures(pictures, names, options.get('bit_depth'))
            result = model(*pictures, names=names, **options)
        except UserError as error:
            if not skip_bad:
                raise
            yield PairRun(name, {}, None, str(error))
            continue
        yield PairRun(name, _write(target, result, model, score_thr), result)


def read_picture(path: str) -> np.ndarray:
    """(H, W, 1) or (H, W, 3) RGB of a file, in its own data type; ``.npy`` needs numpy alone, the others OpenCV and
    Pillow.
    """
    if path.lower().endswith('.npy'):
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f'{path} cannot be read as an array: {error}') from error
    try:
        from mmfusion.fileio.image_reading import read_image
    except ImportError as error:
        raise UserError(
            f'{path}: reading pictures needs OpenCV and Pillow ({error}): pip install opencv-python-headless pillow; '
            f'arrays (.npy) are '
            'read without'
        ) from error
    return read_image(path)[..., ::-1]


def _pairs(first: str, second: str, skip_bad: bool) -> Tuple[List[Tuple[str, str, str]], bool]:
    for path in (first, second):
        if not os.path.exists(path):
            raise MissingFileError(f'{path} does not exist')
    kinds = [os.path.isdir(path) for path in (first, second)]
    if kinds[0] != kinds[1]:
        raise UserError(f'{first} and {second} are a file and a folder; give two files or two folders')
    if not kinds[0]:
        return [(Path(first).stem, first, second)], False
    found = [_by_stem(folder) for folder in (first, second)]
    alone, common = sorted(set(found[0]) ^ set(found[1])), sorted(set(found[0]) & set(found[1]))
    listing = ', '.join(alone[:5]) + (f' and {len(alone) - 5} more' if len(alone) > 5 else '')
    if not common:
        raise UserError(
            f'{first} and {second} hold no pair of pictures with the same name ({", ".join(SUFFIXES)})'
            + (f'; without partner: {listing}. --video pairs folders of numbered images by time' if alone else '')
        )
    if alone and not skip_bad:
        raise UserError(
            f'{len(alone)} pictures have no partner of the same name: {listing}. Add them, or use --skip-bad'
        )
    return [(stem, found[0][stem], found[1][stem]) for stem in common], True


def _by_stem(folder: str) -> Dict[str, str]:
    found: Dict[str, str] = {}
    for entry in sorted(os.scandir(folder), key=lambda item: item.name):
        stem, suffix = os.path.splitext(entry.name)
        if entry.name.startswith('.') or suffix.lower() not in SUFFIXES:
            continue
        if stem in found:
            raise UserError(f'{found[stem]} and {entry.path} have the same name; keep one of them')
        found[stem] = entry.path
    return found


def _write(target: str, result: RuntimeResult, model: RuntimeModel, score_thr: float) -> Dict[str, str]:
    files = {'fused': _write_picture(target, result.fused)}
    stem = os.path.splitext(target)[0]
    if result.boxes is not None:
        from mmfusion.fileio import write_json

        classes = next(task['classes'] for task in model.info.tasks.values() if task['kind'] == 'detection')
        files['boxes'] = f'{stem}_boxes.json'
        write_json(files['boxes'], box_rows(result, classes, score_thr))
    if result.class_map is not None:
        files['class_map'] = _write_picture(f'{stem}_classes.png', result.class_map.astype(np.uint8))
    return files


def box_rows(result: RuntimeResult, classes: List[str], score_thr: float) -> List[dict]:
    """Boxes of one picture from a score on, as plain values with the names of their classes."""
    kept = result.scores >= score_thr
    return [
        dict(
            box=[round(float(v), 2) for v in box],
            score=round(float(score), 4),
            label=classes[label] if label < len(classes) else str(label),
        )
        for box, score, label in zip(result.boxes[kept], result.scores[kept], result.labels[kept])
    ]


def _write_picture(path: str, picture: np.ndarray) -> str:
    if path.lower().endswith('.npy'):
        from io import BytesIO

        from mmfusion.fileio import write_bytes

        buffer = BytesIO()
        np.save(buffer, picture)
        write_bytes(path, buffer.getvalue())
        return os.path.abspath(path)
    try:
        from mmfusion.fileio.image_writing import write_image
    except ImportError as error:
        raise UserError(
            f'{path}: writing pictures needs OpenCV ({error}): pip install opencv-python-headless; '
            f'.npy is written without'
        ) from error
    return write_image(path, picture)
