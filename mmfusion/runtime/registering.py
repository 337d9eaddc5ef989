"""Registration before an exported file, by a rig file or estimated for each pair; the modules that do it are loaded
only then.
"""

from typing import Callable, List, NamedTuple, Optional, Sequence

import numpy as np

from mmfusion.utils.errors import UserError


class PairRegistrar(NamedTuple):
    """Brings the second picture onto the first.

    Attributes:
        plain: As :func:`mmfusion.registration.build_registrar` made it.
    """

    plain: Callable

    def __call__(self, first: np.ndarray, second: np.ndarray) -> List[np.ndarray]:
        """Both pictures on the pixels of the first, which shows in gray where the second has nothing.

        Args:
            first: (H, W, 1 or 3) BGR, uint8 or float32 in [0, 1].
            second: Likewise, of any size.

        Raises:
            UserError: The rig was made for other sizes, or the estimate is refused.
        """
        from mmfusion.registration.registrar import fill_unknown

        try:
            registered = self.plain(first, second)
        except ImportError as error:
            raise UserError(
                f'estimating a registration needs scipy ({error}): pip install scipy, or give a rig file of mmfusion '
                f'register'
            ) from error
        return [registered.first, fill_unknown(registered.first, registered.second, registered.valid)]

    def pictures(
        self, pictures: Sequence[np.ndarray], names: Sequence[str], bit_depth: Optional[int] = None
    ) -> List[np.ndarray]:
        """The same for (H, W, 1 or 3) RGB of any type of values, which become uint8 or float32 in [0, 1].

        Args:
            pictures: Both.
            names: What messages call them.
            bit_depth: Significant bits of uint16.
        """
        from mmfusion.fileio.image_reading import to_working_range

        sources = [to_working_range(picture[..., ::-1], name, bit_depth) for picture, name in zip(pictures, names)]
        try:
            registered = self(*map(np.ascontiguousarray, sources))
        except UserError as error:
            raise UserError(f'{" and ".join(names)}: {error}') from error
        return [picture[..., ::-1] for picture in registered]


def registrar(registration: Optional[str]) -> Optional[PairRegistrar]:
    """What ``--registration`` asks for.

    Args:
        registration: Rig file, ``'auto'`` to estimate each pair, or None.

    Raises:
        UserError: A package is missing, or the rig file cannot be used.
    """
    if registration is None:
        return None
    try:
        from mmfusion.registration.registrar import build_registrar
    except ImportError as error:
        raise UserError(
            f'registration needs OpenCV, Pillow and PyYAML ({error}): pip install opencv-python-headless pillow pyyaml'
        ) from error
    return PairRegistrar(build_registrar(registration))
