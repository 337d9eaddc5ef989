"""Any single-image transform of mmcv, mmdet or mmseg, applied to both sources alike."""

import copy
from typing import Callable, Iterable, Optional, Sequence, Union

import numpy as np
from mmcv.transforms import BaseTransform

from mmfusion.registry import TRANSFORMS
from mmfusion.utils.errors import InputError, InputKeyError, UserError
from mmfusion.utils.random_state import random_state, set_random_state
from mmfusion.utils.scope import scoped

# Attributes of transforms that look at other samples or keep earlier ones: the second run would mix in something else
# than the first.
_MIXING = ('get_indices', 'get_indexes', 'results_cache', 'mix_results')
# Packages whose transforms take a float image for one in 0...255.
_COUNT_TO_255 = ('mmcv', 'mmdet', 'mmseg')
# How the valid region of a registered pair is handed to a transform: as the class map, which all know, or beside it,
# for those that choose by the content of the class map and go through all segmentation fields (mmseg).
_ROADS = ('gt_seg_map', 'valid_map')
# No transform of brightness and contrast brings an image with bright pixels below this level; one that normalizes does.
_DARK = 8


@TRANSFORMS.register_module()
class Paired(BaseTransform):
    """Run a transform on each source with the same random numbers.

    The transform sees one source as ``results['img']`` and runs twice from the same state of the generators of
    ``random``, numpy and torch; generators of its own are copied with it. Boxes, masks and all other keys are those of
    the first run; the second works on a copy of the labels, since many crops draw again until the boxes suit. A gray
    source is shown as three equal channels, because much of mmcv and mmdet drops or refuses a single one, and so that
    noise of the image's shape takes as many random numbers from both sources; it is gray again afterwards.

    Boxes must be of the kind that the transform knows: structures (``mmdet.LoadAnnotations``) for ``mmdet.*``, arrays
    for ``mmcv.*``. Transforms of mmcv that build another one therefore need its scope:
    ``dict(type='RandomResize', resize_type='mmdet.Resize', ...)``.

    A source keeps its type and range. Transforms of mmcv, mmdet and mmseg count in 0...255, so a float source in [0, 1]
    is shown to them times 255 and divided afterwards; what is given back as float for an 8-bit source
    (``mmdet.PhotoMetricDistortion``) is rounded. Either is clipped to its range. Normalization (mean and standard
    deviation) belongs to the data preprocessor of the task network and is refused.

    The valid region of a pair that was registered on loading (``valid_map``) is moved by one more run, as a class map
    is; what is padded is invalid.

    Args:
        transform: Config of the transform, or a callable.
        sources: Keys of the images.
        expand_grey: Show gray as three channels. Without, the transform gets (H, W, 1); quicker, and enough for resize,
            flip, crop and a pad with one value.
        unit_range: Whether the transform takes float sources as they are, in [0, 1]. By default those of mmcv, mmdet
            and mmseg do not, and all others do.
        to_float32: Show 8-bit sources as float32 in 0...255, which some transforms insist on
            (``mmdet.RandomCenterCropPad`` of CenterNet and CornerNet).

    Raises:
        ValueError: The transform normalized an 8-bit source.
        TypeError: The transform mixes several samples (mosaic, mixup).
        RuntimeError: The transform treated the sources differently (sizes differ, or one of the two was rejected), or
            it does not know what to do with images of a reduced size.

    Examples:
        >>> import numpy as np
        >>> flip = Paired(lambda results: dict(results, img=results['img'][:, ::-1]))
        >>> results = flip(dict(first=np.arange(6).reshape(2, 3, 1), second=np.ones((2, 3, 1))))
        >>> results['first'][0, :, 0], 'img' in results
        (array([2, 1, 0]), False)
    """

    def __init__(
        self,
        transform: Union[dict, Callable],
        sources: Sequence[str] = ('first', 'second'),
        expand_grey: bool = True,
        unit_range: Optional[bool] = None,
        to_float32: bool = False,
    ):
        self.wrapped = TRANSFORMS.build(scoped(transform)) if isinstance(transform, dict) else transform
        if not callable(self.wrapped):
            raise TypeError(f'Paired needs a config or a callable, got {type(transform).__name__}')
        if any(hasattr(self.wrapped, name) for name in _MIXING):
            raise TypeError(
                f'Paired cannot wrap {type(self.wrapped).__name__}: it mixes several samples; '
                f'both sources would get different partners'
            )
        self.sources = tuple(sources)
        self.expand_grey = expand_grey
        self.to_float32 = to_float32
        self.unit_range = (
            unit_range if unit_range is not None else type(self.wrapped).__module__.split('.')[0] not in _COUNT_TO_255
        )

    def transform(self, results: dict) -> Optional[dict]:
        """Transform all sources; None when the transform rejects the sample."""
        missing = [source for source in self.sources if source not in results]
        if missing:
            raise InputKeyError(
                f'Paired({type(self.wrapped).__name__}): no {missing} in the results; put LoadPair first'
            )
        images = {source: results.pop(source) for source in self.sources}
        start, end, output, shape, shown = random_state(), None, None, None, None
        valid = results.pop('valid_map', None)
        knows_fields = type(self.wrapped).__module__.startswith('mmseg.')
        again = 0 if valid is None else 1 + knows_fields
        labels = [copy.deepcopy(results) for _ in range(len(self.sources) - 1 + again)]
        wrapped = [copy.deepcopy(self.wrapped) for _ in labels]  # with generators of its own in the same state
        before = images[self.sources[0]]
        for index, source in enumerate(self.sources):
            if index:
                set_random_state(start)
            run, image = (wrapped[index - 1], labels[index - 1]) if index else (self.wrapped, results)
            image['img'] = self._show(images[source])
            done = run(image)
            if index == 0:
                if done is None:
                    return None
                end, output, shown = random_state(), done, done['img']
            elif done is None:
                raise UserError(
                    f'{type(self.wrapped).__name__} accepted {self.sources[0]!r} and rejected {source!r}: '
                    'it depends on the image content'
                )
            images[source] = self._hide(done.pop('img'), images[source])
            shape = shape or images[source].shape[:2]
            if images[source].shape[:2] != shape:
                raise UserError(
                    f'{type(self.wrapped).__name__} gave {self.sources[0]!r} the size {shape} and {source!r} the size '
                    f'{images[source].shape[:2]}: '
                    'it depends on the image content or draws from a generator that Paired cannot reset'
                )
        if valid is not None:
            runs = zip(_ROADS, wrapped[-again:], labels[-again:])
            output['valid_map'] = self._move_valid(valid, runs, start, before, shown)
        set_random_state(end)
        if 'reduced_from' in output:
            raise UserError(
                f'{type(self.wrapped).__name__} got images that LoadPair decoded at a reduced size (reduce_to), '
                f'while labels count in '
                'pixels of the files; the first transform in Paired after LoadPair must be '
                "dict(type='ReducedResize', ...), or one "
                "that resizes by it, as dict(type='RandomResize', resize_type='mmfusion.ReducedResize', ...)"
            )
        output.update(images)
        output['img_shape'] = shape
        return output

    def _move_valid(
        self, valid: np.ndarray, runs: Iterable[tuple], start: object, before: np.ndarray, shown: np.ndarray
    ) -> np.ndarray:
        """The valid map after the transform: once more the first source with the map as a class map, from the same
        random state.

        Args:
            valid: (H, W) uint8, 1 inside.
            runs: Ways to hand the map over, each with a copy of the transform and of the labels.
            start: Random state.
            before: First source before the transform.
            shown: First source as the transform gave it back; a run that gives another picture drew other random
                numbers.
        """
        for key, run, labels in runs:
            set_random_state(start)
            fields = labels.get('seg_fields', [])
            labels.update(
                {'img': self._show(before), key: valid.copy(), 'seg_fields': [*(f for f in fields if f != key), key]}
            )
            done = run(labels)
            if done is not None and np.array_equal(done['img'], shown) and done[key].shape[:2] == shown.shape[:2]:
                return (done[key] == 1).astype(np.uint8)
        raise UserError(
            f'{type(self.wrapped).__name__} does not move the valid region of a registered pair along; leave it out, '
            f'or register the files beforehand'
        )

    def _show(self, image: np.ndarray) -> np.ndarray:
        if image.dtype == np.float32 and not self.unit_range:
            image = image * np.float32(255)
        if self.to_float32:
            image = image.astype(np.float32)
        return np.repeat(image, 3, axis=2) if self.expand_grey and image.shape[2] == 1 else image

    def _hide(self, image: np.ndarray, before: np.ndarray) -> np.ndarray:
        if image.ndim == 2:
            image = image[..., None]
        if before.dtype == np.uint8 and image.dtype != np.uint8:
            if np.abs(image).max() < _DARK and before.max() > 127:
                raise InputError(
                    f'Paired({type(self.wrapped).__name__}): an 8-bit source came back within '
                    f'{image.min():.3g}...{image.max():.3g}, '
                    'as if it had been normalized; leave that to the data preprocessor of the task network, '
                    'which has mean and std'
                )
            image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        elif before.dtype == np.float32 and (image.dtype != np.float32 or not self.unit_range):
            image = np.clip(image if self.unit_range else image.astype(np.float32) / np.float32(255), 0, 1).astype(
                np.float32
            )
        return np.ascontiguousarray(image[..., :1]) if before.shape[2] == 1 and image.shape[2] == 3 else image

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(transform={self.wrapped!r}, sources={self.sources}, '
            f'expand_grey={self.expand_grey}, unit_range={self.unit_range})'
        )
