"""Photometric changes of both sources, for 8-bit and float images alike."""

from typing import Optional, Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmfusion.registry import TRANSFORMS

_LUMA_BGR = np.array([0.114, 0.587, 0.299], np.float32)  # ITU-R BT.601


@TRANSFORMS.register_module()
class PairPhotometric(BaseTransform):
    """Change brightness, contrast, gamma, saturation and noise at random; boxes and masks are untouched.

    For values v in [0, 1]: ``clip((clip(v)**gamma - 0.5) * contrast + 0.5 + brightness)``, then the color is moved
    towards or away from its luma, then normal noise is added, and the result is clipped. The 8-bit steps go through one
    table of 256 values.

    Args:
        brightness: Largest shift, as a part of the full range; drawn from [-b, b].
        contrast: (low, high) of the factor about mid gray.
        gamma: (low, high) of the exponent, drawn uniformly in its logarithm.
        saturation: (low, high) of the factor; gray images are not touched.
        noise: Largest standard deviation of the noise, as a part of the full range; drawn from [0, noise]. 0 is none.
        prob: Probability of each of the steps.
        sources: Keys of the images that are changed.
        shared: Draw once for all sources. By default each source draws for itself, since light and temperature vary
            apart.

    Raises:
        ValueError: An argument is out of range.

    Examples:
        >>> import numpy as np
        >>> change = PairPhotometric(brightness=0.5, prob=1.0, sources=('first', ))
        >>> results = change(dict(first=np.full((2, 2, 3), 128, np.uint8), second=np.full((2, 2, 1), 128, np.uint8)))
        >>> results['first'].dtype, int(results['second'][0, 0, 0])
        (dtype('uint8'), 128)
    """

    def __init__(
        self,
        brightness: float = 0.1,
        contrast: Sequence[float] = (0.8, 1.25),
        gamma: Sequence[float] = (0.8, 1.25),
        saturation: Sequence[float] = (0.7, 1.3),
        noise: float = 0.0,
        prob: float = 0.5,
        sources: Sequence[str] = ('first', 'second'),
        shared: bool = False,
    ):
        if brightness < 0 or noise < 0 or not 0 <= prob <= 1:
            raise ValueError(
                f'brightness and noise must not be negative and prob must lie in [0, 1]; '
                f'got {brightness}, {noise}, {prob}'
            )
        for name, (low, high) in dict(contrast=contrast, gamma=gamma, saturation=saturation).items():
            if not 0 <= low <= high or (name == 'gamma' and low == 0):
                raise ValueError(f'{name} must be 0 <= low <= high (gamma above 0), got {(low, high)}')
        self.brightness, self.contrast, self.gamma, self.saturation = (
            brightness,
            tuple(contrast),
            tuple(gamma),
            tuple(saturation),
        )
        self.noise, self.prob, self.sources, self.shared = noise, prob, tuple(sources), shared

    def draw(self) -> dict:
        """Draw one set of parameters from numpy's global generator."""
        on = np.random.uniform(size=5) < self.prob
        neutral = dict(brightness=0.0, contrast=1.0, gamma=1.0, saturation=1.0, noise=0.0)
        drawn = dict(
            brightness=np.random.uniform(-self.brightness, self.brightness),
            contrast=np.random.uniform(*self.contrast),
            gamma=float(np.exp(np.random.uniform(*np.log(self.gamma)))),
            saturation=np.random.uniform(*self.saturation),
            noise=np.random.uniform(0, self.noise),
        )
        return {name: drawn[name] if active else neutral[name] for name, active in zip(drawn, on)}

    def transform(self, results: dict) -> Optional[dict]:
        """Change the sources."""
        parameters = None
        for source in self.sources:
            if parameters is None or not self.shared:
                parameters = self.draw()
            results[source] = self.apply(results[source], **parameters)
        return results

    @staticmethod
    def apply(
        image: np.ndarray, brightness: float, contrast: float, gamma: float, saturation: float, noise: float
    ) -> np.ndarray:
        """Apply given parameters to a uint8 image or a float32 one in [0, 1]."""
        eight_bit = image.dtype == np.uint8

        def tone(values: np.ndarray) -> np.ndarray:
            return np.clip(
                (np.clip(values, 0, 1) ** np.float32(gamma) - 0.5) * contrast + 0.5 + brightness, 0, 1
            ).astype(np.float32)

        saturate = saturation != 1.0 and image.shape[2] == 3
        if (brightness, contrast, gamma) != (0.0, 1.0, 1.0):
            if eight_bit and not saturate and noise == 0:
                return _look_up(image, np.rint(tone(np.arange(256, dtype=np.float32) / 255) * 255).astype(np.uint8))
            image = _look_up(image, tone(np.arange(256, dtype=np.float32) / 255)) if eight_bit else tone(image)
        elif saturate or noise > 0:
            image = image.astype(np.float32) / 255 if eight_bit else image
        else:
            return image
        if saturate:
            luma = (image @ _LUMA_BGR)[..., None]
            image = luma + (image - luma) * np.float32(saturation)
        if noise > 0:
            image = image + np.random.normal(0, noise, image.shape).astype(np.float32)
        image = np.clip(image, 0, 1)
        return np.rint(image * 255).astype(np.uint8) if eight_bit else image.astype(np.float32)

    def __repr__(self) -> str:
        names = ('brightness', 'contrast', 'gamma', 'saturation', 'noise', 'prob', 'sources', 'shared')
        return f'{type(self).__name__}({", ".join(f"{name}={getattr(self, name)!r}" for name in names)})'


def _look_up(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """``table[image]`` of an 8-bit (H, W, C) image, five times as fast."""
    return cv2.LUT(np.ascontiguousarray(image), table).reshape(image.shape)
