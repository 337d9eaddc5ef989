"""Loading both source images of a pair."""

from typing import Any, Optional, Sequence, Tuple, Union

import numpy as np
from mmcv.transforms import BaseTransform

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_cache import build_cache
from mmfusion.fileio.image_reading import read_alpha, read_image, reduction_for, to_working_range
from mmfusion.registry import TRANSFORMS
from mmfusion.thermal.makers import foreign_file
from mmfusion.thermal.radiometry import check_radiometry
from mmfusion.thermal.reading import Thermal, foreign_thermal, read_thermal, to_values
from mmfusion.thermal.window import apply_window, check_tone, check_window
from mmfusion.utils.errors import InputError

from .register import Register
from .sources import COLOR_TYPES, SOURCES, convert_color

MIN_SIZE = 16


def per_source(value: Any, name: str, options: bool = False) -> dict:
    """Spread an argument over the sources: one value for both, or a dict with ``first`` and ``second``.

    Args:
        value: The argument.
        name: Its name, for errors.
        options: The value of a source may be a dict itself.
    """
    if not isinstance(value, dict) or (options and not set(value) & set(SOURCES)):
        return dict.fromkeys(SOURCES, value)
    if set(value) != set(SOURCES):
        raise InputError(f"{name} as a dict needs exactly the keys 'first' and 'second', got {sorted(value)}")
    return dict(value)


@TRANSFORMS.register_module()
class LoadPair(BaseTransform):
    """Load ``first_path`` and ``second_path``, or take the arrays ``first`` and ``second`` if they are there already.

    An 8-bit image stays uint8. A 16-bit one becomes float32 in [0, 1] by the full range, by ``2**bit_depth - 1``, or by
    ``stretch``; a float one must lie in [0, 1] or be stretched. Images are (H, W, 3) BGR or (H, W, 1). EXIF orientation
    is ignored, alpha dropped.

    Every argument is one value for both sources or ``dict(first=..., second=...)``.

    Args:
        color_type: ``'color'`` gives 3 channels, ``'grayscale'`` 1 (by luma), ``'unchanged'`` those of the file,
            ``'auto'`` those of the file, but 1 when it stores gray as three equal channels.
        bit_depth: Significant bits of a 16-bit file, e.g. 14 for a raw thermal camera.
        stretch: Percentiles (low, high) that are mapped to 0 and 1, per image; the result is float32. Radiometry is
            lost.
        window: (low, high) that are mapped to 0 and 1, the same in every image: in raw counts, or in degrees Celsius
            with ``radiometry``. The result is float32. One value for both sources leaves files of 8 bits or with color
            alone, so that it is enough for a visible and a thermal image; a dict is followed to the letter. Of a
            radiometric JPEG of FLIR the raw thermal image is taken. A temperature then has the same gray in every
            frame, where ``stretch`` gives it another one as soon as something warmer comes into view.
        radiometry: What makes degrees of raw counts, with ``window``: ``dict(scale=0.01, offset=-273.15)``; ``'file'``
            for the constants in a radiometric JPEG; or a dict of arguments of :class:`~mmfusion.thermal.PlanckScale`,
            of which those that are not given are taken from the file, as in ``dict(emissivity=0.98)``.
        tone: Tone mapping of the windowed image that adapts to the surroundings: ``'clahe'``, or
            ``dict(clip=0.01, grid=8)``, see :func:`~mmfusion.thermal.tone_map`. The gray of a temperature is not the
            same everywhere then.
        reduce_to: (width, height) that the pipeline shrinks to. Pairs of jpg files of at least twice that are decoded
            at 1/2, 1/4 or 1/8 of their size, never below it, which is quicker and gives slightly other values. Labels
            still count in pixels of the files, so the resize that follows must be :class:`ReducedResize`. One value for
            both sources.
        cache: ``dict(folder='work_dirs/cache', max_gib=20)`` keeps what was loaded from files, uncompressed, for the
            next epochs and for all data workers, but for sources of a ``window``; see
            :class:`~mmfusion.fileio.image_cache.ImageCache`. Values are the same with and without. One value for both
            sources.
        registration: For pairs that do not lie on each other or differ in size: :class:`Register` with this argument
            follows. ``'auto'`` or a dict estimates a transform for each pair, the path of a rig file applies one to
            all. A pair without a trustworthy transform is an error.
        same_size: Refuse sources that differ in size; False leaves them to a :class:`Register` step.

    Required keys: ``first_path`` and ``second_path``, or ``first`` and ``second``. ``second_channel='alpha'`` (set by
    the data set) takes the fourth channel of the file alone; the same for ``first``.

    Added keys: ``first``, ``second``, ``img_shape``, ``ori_shape`` (H, W); of a pair that was decoded at a reduced size
    ``reduced_from``, its full (H, W), which is also that of ``img_shape`` and ``ori_shape``.

    With ``window`` also ``thermal``: for each source that it applied to, the fields of
    :class:`~mmfusion.thermal.ThermalFacts` as a dict: unit, window, minimum, maximum and mean of the whole image, and
    the part of it outside of the window.

    With ``registration`` also ``registration`` and ``valid_map``, as :class:`Register` adds them.

    Raises:
        UserError: The folder of the cache or the rig file cannot be used.
        PairDataError: A file is absent, unreadable or truncated; sizes differ; an image is smaller than 16x16; values
            are not finite or out of range; a pair cannot be registered; a window holds no pixel, or applies to neither
            source; a thermal file is damaged or of a maker whose files are not read.

    Examples:
        >>> import numpy as np
        >>> load = LoadPair(color_type=dict(first='color', second='grayscale'))
        >>> results = load(dict(first=np.zeros((32, 40, 3), np.uint8), second=np.zeros((32, 40), np.uint8)))
        >>> results['second'].shape, results['img_shape']
        ((32, 40, 1), (32, 40))
    """

    def __init__(
        self,
        color_type: Union[str, dict] = 'auto',
        bit_depth: Union[int, dict, None] = None,
        stretch: Union[Sequence[float], dict, None] = None,
        reduce_to: Optional[Sequence[int]] = None,
        cache: Optional[dict] = None,
        registration: Union[str, dict, None] = None,
        window: Union[Sequence[float], dict, None] = None,
        radiometry: Union[str, dict, None] = None,
        tone: Union[str, dict, None] = None,
        same_size: bool = True,
    ):
        self.color_type = per_source(color_type, 'color_type')
        self.bit_depth = per_source(bit_depth, 'bit_depth')
        self.stretch = per_source(stretch, 'stretch')
        for value in self.color_type.values():
            if value not in COLOR_TYPES:
                raise ValueError(f'color_type must be one of {list(COLOR_TYPES)}, got {value!r}')
        for value in self.bit_depth.values():
            if value is not None and not 1 <= value <= 16:
                raise ValueError(f'bit_depth must lie in 1...16, got {value!r}')
        for value in self.stretch.values():
            if value is not None and not (len(value) == 2 and 0 <= value[0] < value[1] <= 100):
                raise ValueError(f'stretch must be two percentiles 0 <= low < high <= 100, got {value!r}')
        if reduce_to is not None and not (
            len(reduce_to) == 2 and all(isinstance(side, int) and side >= MIN_SIZE for side in reduce_to)
        ):
            raise ValueError(
                f'reduce_to must be (width, height) in pixels, at least {MIN_SIZE} each, got {reduce_to!r}'
            )
        self.window = {source: check_window(value) for source, value in per_source(window, 'window').items()}
        self.window_named = isinstance(window, dict)
        self.radiometry = {
            source: check_radiometry(value)
            for source, value in per_source(radiometry, 'radiometry', options=True).items()
        }
        self.tone = {source: check_tone(value) for source, value in per_source(tone, 'tone', options=True).items()}
        self.keep_values = False  # whether the values of windowed sources stay in the results, as `thermal_values`
        if window is None and (radiometry is not None or tone is not None):
            raise ValueError('radiometry and tone are for a window; give window=(low, high)')
        if any(self.window[source] is not None and self.stretch[source] is not None for source in SOURCES):
            raise ValueError('window and stretch exclude each other; give one of them')
        self.reduce_to = None if reduce_to is None else tuple(reduce_to)
        self.cache = build_cache(cache)
        if registration is not None and reduce_to is not None:
            raise ValueError('registration needs the pictures as the files have them; leave reduce_to out')
        self.registration = registration
        self.register = None if registration is None else Register(registration)
        self.same_size = same_size

    def transform(self, results: dict) -> dict:
        """Load both sources."""
        reduction, full = self._reduction(results)
        names, values = {}, {}
        for source in SOURCES:
            results[source], names[source] = self._load(results, source, reduction)
            if isinstance(results[source], Thermal):
                values[source] = results[source]
        if any(self.window.values()):
            self._apply_windows(results, values, names)
        if self.register is not None:
            results = self.register(results)
        sizes = [results[source].shape[:2] for source in SOURCES]
        if sizes[0] != sizes[1] and self.same_size:
            first, second = (f'{names[source]} has {size[1]}x{size[0]} pixels' for source, size in zip(SOURCES, sizes))
            raise PairDataError(
                'size mismatch',
                f'{first}, {second}; the sources of a pair must be registered and of one size; '
                "LoadPair(registration='auto') registers them",
            )
        results['img_shape'] = results['ori_shape'] = full or sizes[0]
        if reduction > 1:
            results['reduced_from'] = full
        return results

    def _apply_windows(self, results: dict, values: dict, names: dict) -> None:
        if not values:
            for source in reversed(SOURCES):
                path = results.get(f'{source}_path')
                foreign = foreign_thermal(path) if path is not None and names[source] == path else None
                if foreign is not None:
                    raise PairDataError('no thermal data', f'{path}: {foreign}')
            raise PairDataError(
                'no thermal data',
                f'{names["first"]} and {names["second"]}: window is given, and both are pictures of 8 bits or in '
                f'color. Give 16-bit or float '
                'files or radiometric JPEG files of FLIR, or name the source: window=dict(first=None, '
                'second=(low, high))',
            )
        results['thermal'] = {}
        for source, thermal in values.items():
            image, facts = apply_window(
                thermal.values, self.window[source], thermal.unit, names[source], self.tone[source]
            )
            results[source] = convert_color(image, self.color_type[source])
            results['thermal'][source] = facts._asdict()
        if self.keep_values:
            results['thermal_values'] = {source: thermal.values[..., 0] for source, thermal in values.items()}

    def _reduction(self, results: dict) -> Tuple[int, Optional[Tuple[int, int]]]:
        """The part of their size at which both files are decoded, and their full (H, W) if it was looked at."""
        paths = [results.get(f'{source}_path') for source in SOURCES]
        if (
            self.reduce_to is None
            or None in paths
            or any(source in results or f'{source}_channel' in results for source in SOURCES)
            or any(self.window.values())
        ):
            return 1, None
        return reduction_for(paths, self.reduce_to[::-1])

    def _load(self, results: dict, source: str, reduction: int) -> Tuple[Union[np.ndarray, Thermal], str]:
        """One source as it goes on, or the values of a window, and its name for messages."""
        if source in results:
            image, name = self._given(results, source)
            return self._convert(image, name, source), name
        path = results.get(f'{source}_path')
        if path is None:
            raise PairDataError(
                'missing partner',
                f"LoadPair: sample {results.get('sample_id', '?')} has neither '{source}_path' nor '{source}'",
            )
        foreign = foreign_file(path)
        if foreign is not None:
            raise PairDataError('unreadable image', f'{path}: {foreign}')
        alpha = results.get(f'{source}_channel') == 'alpha'
        if self.window[source] is not None and not alpha:
            thermal = self._read_thermal(path, source)
            if thermal is not None:
                return thermal, path

        def decode() -> Union[np.ndarray, Thermal]:
            return self._convert(read_alpha(path) if alpha else read_image(path, reduction), path, source)

        if self.cache is None or self.window[source] is not None:
            return decode(), path
        how = repr((self.color_type[source], self.bit_depth[source], self.stretch[source], alpha, reduction))
        return self.cache.load(path, how, decode), path

    def _read_thermal(self, path: str, source: str) -> Optional[Thermal]:
        """Values of a file, None where the window does not concern it. Not from the cache."""
        thermal = read_thermal(path, self.radiometry[source], self.window_named)
        if thermal is not None:
            self._check_size(thermal.values, path)
        return thermal

    @staticmethod
    def _check_size(image: np.ndarray, name: str) -> None:
        if min(image.shape[:2]) < MIN_SIZE:
            raise PairDataError(
                'image too small',
                f'{name} has {image.shape[1]}x{image.shape[0]} pixels; sources must be at least {MIN_SIZE}x{MIN_SIZE}',
            )

    def _convert(self, image: np.ndarray, name: str, source: str) -> Union[np.ndarray, Thermal]:
        self._check_size(image, name)
        if self.window[source] is not None and (self.window_named or (image.dtype != np.uint8 and image.shape[2] == 1)):
            return to_values(image, name, self.radiometry[source])
        image = to_working_range(image, name, self.bit_depth[source], self.stretch[source])
        return convert_color(image, self.color_type[source])

    @staticmethod
    def _given(results: dict, source: str) -> Tuple[np.ndarray, str]:
        image, name = results[source], f"the array '{source}' of sample {results.get('sample_id', '?')}"
        if (
            not isinstance(image, np.ndarray)
            or image.ndim not in (2, 3)
            or (image.ndim == 3 and image.shape[2] not in (1, 3))
        ):
            found = image.shape if isinstance(image, np.ndarray) else type(image).__name__
            raise PairDataError('wrong shape', f'{name} must be numpy (H, W), (H, W, 1) or (H, W, 3), got {found}')
        return (image[..., None] if image.ndim == 2 else image), name

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(color_type={self.color_type}, bit_depth={self.bit_depth}, stretch={self.stretch}, '
            f'reduce_to={self.reduce_to}, cache={self.cache}, registration={self.registration}, window={self.window}, '
            f'radiometry={self.radiometry}, tone={self.tone}, same_size={self.same_size})'
        )
