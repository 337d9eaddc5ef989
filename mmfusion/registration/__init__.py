"""Registration of pairs: how the second image lies on the first, and whether to believe it."""

from .registering import Registration, register_pair
from .registrar import build_registrar
from .rig import Lens, Rig, estimate_rig

__all__ = ['Lens', 'Registration', 'Rig', 'build_registrar', 'estimate_rig', 'register_pair']
