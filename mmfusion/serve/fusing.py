"""Work of one job: fuse pairs, judge the result, keep the pictures."""

import os
import shlex
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Union

import numpy as np
import torch

from mmfusion.evaluation.protocols import PROTOCOLS, evaluate_metrics, expand_names, prepare_images
from mmfusion.fileio.image_reading import read_image, to_working_range
from mmfusion.fileio.image_writing import FileNames, write_image
from mmfusion.models.fusers.tiling import TileLike, watch_tiles
from mmfusion.utils.errors import InputError, UserError
from mmfusion.visualization import to_picture
from mmfusion.visualization.palette import class_colors

from .errors import NotHere
from .jobs import Job
from .models import OfferedModels
from .settings import ServeSettings
from .uploads import Upload, Uploads

METRICS = ('EN', 'SD', 'SF', 'AG', 'MI', 'SCD', 'VIF', 'Qabf', 'SSIM')
#: Sides of tiles that the page offers; smaller ones leave nothing of most receptive fields.
TILES = (512, 768, 1024)
LEAST_SCORE = 0.05  # boxes below it are not sent to the page


@dataclass
class FusionRequest:
    """What a visitor asks for.

    Attributes:
        pairs: Keys of the first and of the second picture of each pair.
        model: Name of a model.
        fuser_options: Options of its fuser.
        registration: Estimate where the second picture lies on the first.
        stretch: Spread the values from the first to the 99th percentile, for files whose range is not known.
        predict: Run the task networks of the model.
        metrics: Judge the result.
        protocol: Protocol of the metrics.
        bits: 8 or 16, of each value of the fused picture.
        tile: Side of the tiles that large pictures are fused in, ``'auto'`` for what fits into memory, or None for what
            the model does by itself.
    """

    pairs: List[List[str]]
    model: str
    fuser_options: Dict[str, Any] = field(default_factory=dict)
    registration: bool = False
    stretch: bool = False
    predict: bool = True
    metrics: bool = True
    protocol: str = 'default'
    bits: int = 8
    tile: Union[int, str, None] = None

    @classmethod
    def from_json(cls, content: Any) -> 'FusionRequest':
        """Read what a browser sent.

        Raises:
            InputError: A key is unknown or missing, or a value is of another kind.
        """
        if not isinstance(content, dict):
            raise InputError('a request is an object of JSON')
        kinds = dict(
            pairs=list,
            model=str,
            fuser_options=dict,
            registration=bool,
            stretch=bool,
            predict=bool,
            metrics=bool,
            protocol=str,
            bits=int,
            tile=int,
        )
        for key, value in content.items():
            if key not in kinds:
                raise InputError(f'unknown key {key!r}; there are {", ".join(kinds)}')
            if key != 'tile' and not isinstance(value, kinds[key]):
                raise InputError(f'{key} must be of type {kinds[key].__name__}')
        missing = [key for key in ('pairs', 'model') if key not in content]
        if missing:
            raise InputError(f'missing key {missing[0]!r}')
        request = cls(**content)
        good = all(
            isinstance(pair, list) and len(pair) == 2 and all(isinstance(key, str) for key in pair)
            for pair in request.pairs
        )
        if not request.pairs or not good:
            raise InputError('pairs must be a list of at least one [first, second]')
        if request.bits not in (8, 16):
            raise InputError('bits must be 8 or 16')
        if request.tile not in (None, 'auto') and not (type(request.tile) is int and request.tile in TILES):
            raise InputError(f'tile must be null, "auto" or one of {", ".join(map(str, TILES))}, got {request.tile!r}')
        if request.protocol not in PROTOCOLS:
            raise InputError(f'unknown protocol {request.protocol!r}; there are {", ".join(PROTOCOLS)}')
        if not all(isinstance(value, (int, float, str)) for value in request.fuser_options.values()):
            raise InputError('fuser_options hold numbers and words')
        return request

    @property
    def load(self) -> Optional[dict]:
        """Options of :class:`~mmfusion.datasets.transforms.LoadPair`."""
        options = {
            **(dict(registration='auto') if self.registration else {}),
            **(dict(stretch=(1, 99)) if self.stretch else {}),
        }
        return options or None

    @property
    def tile_size(self) -> TileLike:
        """As :class:`~mmfusion.apis.FusionInferencer` takes it."""
        return (self.tile, self.tile) if isinstance(self.tile, int) else self.tile


class Fusing:
    """Fuses what was uploaded.

    Args:
        settings: Settings of the page.
        uploads: Pictures that were sent.
    """

    def __init__(self, settings: ServeSettings, uploads: Uploads) -> None:
        self.settings, self.uploads = settings, uploads
        self._current = threading.local()
        self.models = OfferedModels(settings, self._check)

    def _check(self) -> None:
        job = getattr(self._current, 'job', None)
        if job is not None:
            job.check()

    def job(self, request: FusionRequest) -> Job:
        """A job for a request; its result is a list of dicts, one for each pair.

        Raises:
            InputError: The model is unknown, has no such option, or a picture is not there any more.
        """
        model = next((model for model in self.models.describe() if model['name'] == request.model), None)
        if model is None:
            raise InputError(f'there is no model {request.model!r} on this page')
        unknown = set(request.fuser_options) - {option['name'] for option in model['options']}
        if unknown:
            raise InputError(f'{request.model} has no option {", ".join(sorted(unknown))}')
        try:
            held = self.uploads.hold([key for pair in request.pairs for key in pair])
        except NotHere:
            raise InputError('an image is not here any more; choose it again') from None
        pairs = list(zip(held[::2], held[1::2]))
        folder = tempfile.mkdtemp(dir=self.uploads.folder)

        def work(job: Job) -> dict:
            self._current.job = job
            try:
                return self._work(job, request, pairs, folder)
            finally:
                self._current.job = None

        job = Job(work, len(pairs), lambda: self.uploads.release(held))
        job.folder = folder
        return job

    def _work(self, job: Job, request: FusionRequest, pairs: Sequence[tuple], folder: str) -> dict:
        fuse = self.models.get(request.model, request.load, request.tile_size)
        fuse.fuser_options = request.fuser_options
        names, results = FileNames(), []
        for index, (first, second) in enumerate(pairs):
            job.check()
            name = names(os.path.splitext(first.name)[0], index)
            result = dict(name=name, first=first.name, second=second.name)
            try:
                with watch_tiles(job.count_tiles):
                    result.update(self._fuse(fuse, request, first, second, os.path.join(folder, str(index))))
            except UserError as error:
                if len(pairs) == 1:
                    raise InputError(_without_paths(str(error), first, second)) from None
                result['skipped'] = _without_paths(str(error), first, second)
            results.append(result)
            job.done, job.tiles = index + 1, None
        return dict(results=results, command=command(request, self.settings, self.models.config_name, pairs))

    def _fuse(self, fuse, request: FusionRequest, first: Upload, second: Upload, folder: str) -> dict:
        predict = request.predict and bool(len(fuse.coupling.tasks))
        begin = time.perf_counter()
        (made,) = fuse(
            first.path,
            second.path,
            out_dir=os.path.join(folder, 'fused.png'),
            predict=predict,
            return_images=True,
            bit_depth=request.bits,
        )
        result: Dict[str, Any] = dict(
            seconds=round(time.perf_counter() - begin, 3),
            height=made.fused.shape[0],
            width=made.fused.shape[1],
            bits=request.bits,
        )
        pictures = ['fused']
        if made.instances is not None:
            result['boxes'] = _boxes(made.instances, fuse.meta.get('classes') or ())
        classes = None if made.data_sample is None else made.data_sample.get('pred_sem_seg')
        if classes is not None:
            numbers = classes.data[0].cpu().numpy()
            names = fuse.meta.get('seg_classes') or fuse.meta.get('classes') or ()
            colors = class_colors(int(numbers.max()) + 1, fuse.meta.get('seg_palette') or fuse.meta.get('palette'))
            write_image(os.path.join(folder, 'classes.png'), np.array(colors, np.uint8)[numbers])
            pictures.append('classes')
            result['classes'] = [
                dict(name=names[number] if number < len(names) else str(number), color=colors[number])
                for number in np.unique(numbers).tolist()
            ]
        item = fuse.load(dict(sample_id=made.name, img_id=0, first_path=first.path, second_path=second.path))
        if item.get('registration'):
            result['registration'] = round(float(item['registration']['confidence']), 3)
        seen = fuse.pack(item)['inputs']  # as the network saw them
        sources = [to_picture(seen[kind]) for kind in ('first', 'second')]
        for kind, picture in zip(('first', 'second'), sources):
            write_image(os.path.join(folder, f'{kind}.png'), picture)
        if request.metrics:
            self._check()
            fused = made.fused if request.bits == 8 else ((made.fused.astype(np.uint32) + 128) // 257).astype(np.uint8)
            result['metrics'] = _judge(fused, *sources, request.protocol)
        return dict(result, pictures=[*pictures, 'first', 'second'])

    @staticmethod
    def forget(job: Job) -> None:
        """Remove the pictures of a job."""
        shutil.rmtree(job.folder, ignore_errors=True)


def picture_of(upload: Upload) -> np.ndarray:
    """A picture that was sent as a browser can show it: (H, W) or (H, W, 3) RGB uint8, deep ones stretched."""
    stretch = (1, 99) if upload.bits > 8 else None
    image = to_working_range(read_image(upload.path), upload.name, stretch=stretch)
    if image.dtype != np.uint8:
        image = np.round(image * 255).astype(np.uint8)
    return image[..., 0] if image.shape[2] == 1 else np.ascontiguousarray(image[..., ::-1])


def _boxes(instances, names: Sequence[str]) -> List[dict]:
    boxes = []
    for box, score, label in zip(instances.bboxes.tolist(), instances.scores.tolist(), instances.labels.tolist()):
        if score >= LEAST_SCORE:
            boxes.append(
                dict(
                    box=[round(value, 2) for value in box],
                    score=round(score, 4),
                    label=names[label] if label < len(names) else str(label),
                )
            )
    return boxes


def _judge(fused: np.ndarray, first: np.ndarray, second: np.ndarray, protocol: str) -> Dict[str, Optional[float]]:
    tensors = [
        torch.from_numpy(np.ascontiguousarray(image if image.ndim == 3 else image[..., None])).permute(2, 0, 1)[None]
        for image in (fused, first, second)
    ]
    there = PROTOCOLS[protocol].metrics
    names = expand_names([name for name in METRICS if name in there] or ['all'], protocol)
    values = evaluate_metrics(names, *prepare_images(tensors, protocol), protocol)
    return {name: _number(values[name].mean().item()) for name in names}


def _number(value: float) -> Optional[float]:
    return value if np.isfinite(value) else None  # JSON knows no NaN


def _without_paths(message: str, first: Upload, second: Upload) -> str:
    for upload in (first, second):
        message = message.replace(upload.path, upload.name)
    return message


def command(request: FusionRequest, settings: ServeSettings, config_name: Optional[str], pairs: Sequence[tuple]) -> str:
    """The command line that does the same."""
    files = [upload.name for upload in pairs[0]] if len(pairs) == 1 else ['FIRST', 'SECOND']
    words = ['mmfusion', 'fuse', *(f'./{name}' if name.startswith('-') else name for name in files)]
    if request.model == config_name:
        words += ['--config', str(settings.config), *(['--weights', settings.weights] if settings.weights else [])]
        words += ['--boxes'] if request.predict else []
    else:
        words += ['--config' if request.model[:1].isupper() else '--model', request.model]
    if request.fuser_options:
        words += ['--fuser-options', *(f'{key}={value}' for key, value in request.fuser_options.items())]
    words += ['--registration', 'auto'] if request.registration else []
    words += ['--bit-depth', '16'] if request.bits == 16 else []
    words += ['--tile', str(request.tile)] if request.tile is not None else []
    words += ['--stretch', '1', '99'] if request.stretch else []
    return ' '.join(map(shlex.quote, words))
