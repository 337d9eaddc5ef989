"""Procedural multi-exposure and multi-focus pairs: no files, no download."""

from typing import Sequence, Union

from mmfusion.registry import DATASETS

from .procedural import ProceduralPairs
from .scenes import ExposurePair, FocusPair, render_exposures, render_focus


class _ColorPairs(ProceduralPairs):
    """Two color images of one scene, without labels.

    Args:
        night_ratio: Part of night scenes.
        spread: Least and most of what tells the two images apart.
        limits: Bounds of both, and its name for messages.
        kwargs: See :class:`ProceduralPairs`.
    """

    def __init__(self, night_ratio: float, spread: Sequence[float], limits: tuple, **kwargs) -> None:
        if not 0 <= night_ratio <= 1:
            raise ValueError(f'night_ratio must lie in [0, 1], got {night_ratio}')
        name, low, high = limits
        if len(spread) != 2 or not low <= spread[0] <= spread[1] <= high:
            raise ValueError(f'{name} must be {low} <= least <= most <= {high}, got {tuple(spread)}')
        self.night_ratio, self.spread = float(night_ratio), (float(spread[0]), float(spread[1]))
        super().__init__(**kwargs)

    def render(self, index: int) -> Union[ExposurePair, FocusPair]:
        """Render one scene with everything known about it."""
        raise NotImplementedError

    def get_data_info(self, idx: int) -> dict:
        """The item of one scene."""
        info = super().get_data_info(idx)
        first, second = self.render(info['img_id'])[:2]
        info.update(first=first, second=second, seg_fields=[], height=self.size[0], width=self.size[1])
        return info


@DATASETS.register_module()
class DemoExposurePairs(_ColorPairs):
    """Scenes with deep shade and strong light, rendered with an exposure too long and one too short; the embedded
    default of demos and tests.

    The overexposed image is the first source. Its highlights are clipped, the shadows of the other are lost in noise
    and quantization, so neither alone suffices. ``render(index)`` also gives the light itself. Items have arrays in the
    place of paths: ``first`` and ``second``, both (H, W, 3) uint8 BGR.

    Args:
        length: Number of pairs.
        size: (height, width), at least 64x64.
        seed: Seed of the whole set.
        split: ``'train'``, ``'val'`` or ``'test'``; they share no scene.
        night_ratio: Part of night scenes.
        stops: Least and most distance of the two exposures in stops, i.e. powers of two.
        kwargs: ``pipeline``, ``test_mode``, ``indices``, ... of :class:`mmengine.dataset.BaseDataset`.

    Raises:
        ValueError: An argument is out of range.

    Examples:
        >>> item = DemoExposurePairs(length=4, size=(96, 128), seed=1).get_data_info(2)
        >>> item['first'].shape, bool(item['first'].mean() > item['second'].mean() + 40)
        ((96, 128, 3), True)
    """

    METAINFO = dict(classes=(), palette=[], modalities=('over', 'under'))
    STREAM = (1,)

    def __init__(
        self,
        length: int = 200,
        size: Sequence[int] = (128, 160),
        seed: int = 0,
        split: str = 'train',
        night_ratio: float = 0.3,
        stops: Sequence[float] = (3.5, 5.0),
        **kwargs,
    ) -> None:
        super().__init__(
            night_ratio, stops, ('stops', 0.5, 10), length=length, size=size, seed=seed, split=split, **kwargs
        )

    def render(self, index: int) -> ExposurePair:
        """Render one scene with everything known about it."""
        return render_exposures(self.generator(index), self.size, self.night_ratio, self.spread)


@DATASETS.register_module()
class DemoFocusPairs(_ColorPairs):
    """Things close to the camera before a street scene, with the far or the near plane in focus; the embedded default
    of demos and tests.

    The image with the far plane in focus is the first source. The near plane out of focus spreads over its edge as in a
    real lens. ``render(index)`` also gives the image with all in focus and the mask of the near plane. Items have
    arrays in the place of paths: ``first`` and ``second``, both (H, W, 3) uint8 BGR.

    Args:
        length: Number of pairs.
        size: (height, width), at least 64x64.
        seed: Seed of the whole set.
        split: ``'train'``, ``'val'`` or ``'test'``; they share no scene.
        night_ratio: Part of night scenes.
        blur: Least and most radius of the blur, relative to the height of the image.
        kwargs: ``pipeline``, ``test_mode``, ``indices``, ... of :class:`mmengine.dataset.BaseDataset`.

    Raises:
        ValueError: An argument is out of range.

    Examples:
        >>> pair = DemoFocusPairs(length=4, size=(96, 128), seed=1).render(2)
        >>> pair.far.shape, pair.sharp.dtype, pair.near_mask.shape
        ((96, 128, 3), dtype('uint8'), (96, 128))
    """

    METAINFO = dict(classes=(), palette=[], modalities=('far', 'near'))
    STREAM = (2,)

    def __init__(
        self,
        length: int = 200,
        size: Sequence[int] = (128, 160),
        seed: int = 0,
        split: str = 'train',
        night_ratio: float = 0.1,
        blur: Sequence[float] = (0.015, 0.03),
        **kwargs,
    ) -> None:
        super().__init__(
            night_ratio, blur, ('blur', 0.005, 0.1), length=length, size=size, seed=seed, split=split, **kwargs
        )

    def render(self, index: int) -> FocusPair:
        """Render one scene with everything known about it."""
        return render_focus(self.generator(index), self.size, self.night_ratio, self.spread)
