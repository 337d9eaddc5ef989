"""TIM: searched networks of residual, dense, dilated, separable and attention operations; two stages.

R. Liu, Z. Liu, J. Liu, X. Fan, Z. Luo, "A task-guided, implicitly-searched and meta-initialized deep model for image
fusion", IEEE TPAMI 2024, arXiv 2305.15862. Written from a description of the method, without official code. No weights
are shipped; ``tools/model_converters/tim_official.py`` brings the official ones over.
"""

from .fuser import TIM
from .genotype import Cell, Genotype, genotype_names, load_genotype, save_genotype
from .operations import OPERATIONS, SEARCH_SPACE, build_operation, parse_operation
from .supernet import SearchableTIM
from .two_stage import TwoStageTIM

__all__ = [
    'OPERATIONS',
    'SEARCH_SPACE',
    'TIM',
    'Cell',
    'Genotype',
    'SearchableTIM',
    'TwoStageTIM',
    'build_operation',
    'genotype_names',
    'load_genotype',
    'parse_operation',
    'save_genotype',
]
