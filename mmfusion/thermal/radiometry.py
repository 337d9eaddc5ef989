r"""Conversion of raw counts of a thermal camera to degrees Celsius.

The calibration of a FLIR camera is Planck's law with five constants,

.. math:: S(T) = \frac{R_1}{R_2 \left(e^{B / T} - F\right)} - O,

and what reaches the sensor is the object's own radiation, what it reflects, and what air and a protective window add
and take away:

.. math:: S = \tau_1 \tau_w \tau_2 \left(\epsilon S(T) + (1 - \epsilon) S(T_r)\right) + (1 - \tau_1) \tau_w \tau_2
    S(T_a) + (1 - \tau_w) \tau_2 S(T_w)
        + (1 - \tau_2) S(T_a)

with the window in the middle of the path: each half of the distance d has the transmission

.. math:: \tau = X e^{-\sqrt{d / 2} \left(\alpha_1 + \beta_1 \sqrt{h}\right)} + (1 - X) e^{-\sqrt{d / 2}
    \left(\alpha_2 + \beta_2 \sqrt{h}\right)}

of air with the water content h. W. Minkina and S. Dudzik, "Infrared thermography: errors and uncertainties", Wiley
2009, chapter 2, and G. J. Tattersall, "Infrared thermography: a non-invasive window into thermal physiology", Comp.
Biochem. Physiol. A 202, 78 (2016). Written from the formulas, without code of others.
"""

from dataclasses import dataclass, fields, replace
from typing import Optional, Union

import numpy as np

from mmfusion.utils.errors import InputError

ZERO = 273.15  # degrees Celsius in kelvin


@dataclass(frozen=True)
class LinearScale:
    """Degrees that grow in proportion to the counts, as in files of cameras that write temperatures.

    Args:
        scale: Degrees per count: 0.01 for hundredths of a degree, 0.04 in some cameras.
        offset: Degrees Celsius at 0 counts: -273.15 where counts are kelvin.

    Examples:
        >>> float(LinearScale(0.01, -273.15).celsius(30000.0))
        26.85...
    """

    scale: float = 1.0
    offset: float = 0.0

    def celsius(self, counts: np.ndarray) -> np.ndarray:
        """Degrees Celsius of raw counts, float64."""
        return np.asarray(counts, np.float64) * self.scale + self.offset

    def counts(self, celsius: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`celsius`."""
        return (np.asarray(celsius, np.float64) - self.offset) / self.scale


@dataclass(frozen=True)
class PlanckScale:
    """Planck calibration of a camera and what lies between it and the object; see :mod:`mmfusion.thermal.radiometry`.

    Args:
        r1: Calibration constant R1.
        b: Constant B in kelvin.
        f: Constant F.
        o: Constant O, in counts.
        r2: Constant R2.
        emissivity: Of the object, in (0, 1].
        distance: To the object in meters.
        reflected: Temperature that the object reflects, in degrees Celsius.
        atmosphere: Temperature of the air in degrees Celsius.
        humidity: Relative humidity in percent.
        window: Temperature of the protective window in degrees Celsius.
        transmission: Of the protective window, in (0, 1]; 1 for none.
        alpha1: Atmospheric constant; so are the next three.
        alpha2: See ``alpha1``.
        beta1: See ``alpha1``.
        beta2: See ``alpha1``.
        x: Atmospheric constant X.

    Examples:
        >>> scale = PlanckScale(r1=16556, b=1428, f=1, o=-207, r2=0.0095)
        >>> round(float(scale.celsius(scale.counts(36.6))), 6)
        36.6
    """

    r1: float
    b: float
    f: float
    o: float
    r2: float
    emissivity: float = 1.0
    distance: float = 0.0
    reflected: float = 20.0
    atmosphere: float = 20.0
    humidity: float = 50.0
    window: float = 20.0
    transmission: float = 1.0
    alpha1: float = 0.006569
    alpha2: float = 0.01262
    beta1: float = -0.002276
    beta2: float = -0.00667
    x: float = 1.9

    def __post_init__(self) -> None:
        for name in ('emissivity', 'transmission'):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f'{name} must lie in (0, 1], got {getattr(self, name)}')
        for name in ('r1', 'b', 'r2'):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f'the Planck constant {name} must be positive, got {getattr(self, name)}')
        if not (self.distance >= 0 and 0 <= self.humidity <= 100):
            raise InputError(
                f'distance must be at least 0 and humidity lie in 0 to 100 %, got {self.distance} and {self.humidity}'
            )

    def signal(self, celsius: np.ndarray) -> np.ndarray:
        """Counts of a black body in front of the camera."""
        return self.r1 / (self.r2 * (np.exp(self.b / (np.asarray(celsius, np.float64) + ZERO)) - self.f)) - self.o

    def air(self) -> float:
        """Transmission of the air of half the distance."""
        t = self.atmosphere
        water = self.humidity / 100 * np.exp(1.5587 + 0.06939 * t - 0.00027816 * t**2 + 0.00000068455 * t**3)
        root, wet = np.sqrt(self.distance / 2), np.sqrt(water)
        return float(
            self.x * np.exp(-root * (self.alpha1 + self.beta1 * wet))
            + (1 - self.x) * np.exp(-root * (self.alpha2 + self.beta2 * wet))
        )

    def _path(self) -> 'tuple[float, float]':
        """Part of the object's own radiation that arrives, and the counts that all else adds."""
        air, glass = self.air(), self.transmission
        reflected, atmosphere, window = (float(self.signal(t)) for t in (self.reflected, self.atmosphere, self.window))
        added = (
            air * glass * air * (1 - self.emissivity) * reflected
            + (1 - air) * glass * air * atmosphere
            + (1 - glass) * air * window
            + (1 - air) * atmosphere
        )
        return self.emissivity * air * glass * air, added

    def celsius(self, counts: np.ndarray) -> np.ndarray:
        """Degrees Celsius of raw counts, float64. NaN where there is no temperature that cold."""
        gain, added = self._path()
        own = (np.asarray(counts, np.float64) - added) / gain + self.o
        own = np.where(own > 0, own, np.nan)
        return self.b / np.log(self.r1 / (self.r2 * own) + self.f) - ZERO

    def counts(self, celsius: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`celsius`."""
        gain, added = self._path()
        return gain * self.signal(celsius) + added


Scale = Union[LinearScale, PlanckScale]
_LINEAR, _PLANCK = ({item.name for item in fields(kind)} for kind in (LinearScale, PlanckScale))


def build_scale(radiometry: Union[None, str, dict], of_file: Optional[PlanckScale], name: str) -> Optional[Scale]:
    """The scale of a source.

    Args:
        radiometry: None for raw counts; ``'file'`` for the constants that the file brings; a dict of the arguments of
            :class:`LinearScale` or :class:`PlanckScale`, of which those that are not given are taken from the file.
        of_file: What the file brings.
        name: Of the source, for errors.

    Raises:
        InputError: Constants are missing or of no use.
    """
    if radiometry is None:
        return None
    if isinstance(radiometry, dict) and set(radiometry) <= _LINEAR:
        return LinearScale(**radiometry)
    given = {} if radiometry == 'file' else dict(radiometry)
    if of_file is not None:
        return replace(of_file, **given)
    if {'r1', 'b', 'f', 'o', 'r2'} <= set(given):
        return PlanckScale(**given)
    raise InputError(
        f'{name} brings no radiometric constants; give radiometry=dict(scale=0.01, offset=-273.15) '
        f'for a file of temperatures, or the '
        'constants r1, b, f, o and r2 of the camera (--radiometry scale=0.01 offset=-273.15)'
    )


def check_radiometry(radiometry: object) -> Union[None, str, dict]:
    """``radiometry`` as :func:`build_scale` takes it.

    Raises:
        InputError: It is something else.
    """
    if radiometry is None or radiometry == 'file':
        return radiometry
    known = _LINEAR if isinstance(radiometry, dict) and set(radiometry) & _LINEAR else _PLANCK
    if (
        isinstance(radiometry, dict)
        and radiometry
        and set(radiometry) <= known
        and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in radiometry.values())
    ):
        if radiometry.get('scale') == 0:
            raise InputError('radiometry: scale must not be 0')
        return dict(radiometry)
    raise InputError(
        f"radiometry must be None, 'file', dict(scale=..., offset=...) or a dict of numbers out of "
        f'{", ".join(sorted(_PLANCK))}, got {radiometry!r}'
    )
