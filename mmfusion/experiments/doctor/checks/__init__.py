"""The checks that ship; importing them registers them."""

from .boxes import BoxesCheck
from .doubles import DuplicatesCheck, SplitsCheck
from .files import FilesCheck
from .labels import AnnotationsCheck, ClassMapsCheck, NamesCheck
from .places import PartnerCheck, RegistrationCheck
from .polarity import PolarityCheck
from .swapped import SwappedCheck
from .tones import ConstantCheck, DepthCheck, GrayCheck, SaturatedCheck

__all__ = [
    'AnnotationsCheck',
    'BoxesCheck',
    'ClassMapsCheck',
    'ConstantCheck',
    'DepthCheck',
    'DuplicatesCheck',
    'FilesCheck',
    'GrayCheck',
    'NamesCheck',
    'PartnerCheck',
    'PolarityCheck',
    'RegistrationCheck',
    'SaturatedCheck',
    'SplitsCheck',
    'SwappedCheck',
]
