"""Named protocols: which convention of each metric belongs to whose program."""

from typing import Dict

from .edges import ENTRIES as EDGES
from .information import ENTRIES as INFORMATION
from .perceptual import ENTRIES as PERCEPTUAL
from .similarity import ENTRIES as SIMILARITY
from .spec import MetricSpec, Protocol

TITLES = {
    'default': ('8-bit luma, float64, bits, true PSNR, SSIM 11/1.5 with L = 255, means over images', 'grey'),
    'cddfuse': (
        'utils/Evaluator.py of MMIF-CDDFuse with its pinned scikit-image: MI in nats, SSIM with L = 2, '
        'sums over sources',
        'grey',
    ),
    'film': ('utils/Evaluator.py of IF-FILM: as cddfuse, SSIM with L = 255', 'grey'),
    'tang': ("Linfeng Tang's MATLAB programs since March 2023", 'grey'),
    'tang_uint8': (
        "Linfeng Tang's MATLAB programs before March 2023: SD and VIF in saturating 8-bit arithmetic, SF on [0, 1]",
        'grey',
    ),
    'tang_py': ('the Python copies of these programs', 'grey'),
    'vifb': ('the benchmark VIFB: every color channel by itself, then their mean', 'each'),
    'mefb': ('the benchmarks MEFB and MFIFB: every color channel by itself, then their mean', 'each'),
    'liu2012': ('the programs to Z. Liu et al., IEEE Trans. Pattern Anal. Mach. Intell. 34, 94 (2012)', 'grey'),
}

# rows of every table: activity, information, correlation and error, structure, edges, human vision, features
ORDER = (
    'EN',
    'SD',
    'SF',
    'AG',
    'EI',
    'MI',
    'QMI',
    'QNCIE',
    'QTE',
    'CE',
    'CC',
    'SCD',
    'MSE',
    'RMSE',
    'PSNR',
    'VIF',
    'VIFF',
    'SSIM',
    'MS_SSIM',
    'MEF_SSIM',
    'Qabf',
    'Qabf_P',
    'Labf',
    'Nabf',
    'Nabf_misordered',
    'QG',
    'QM',
    'QSF',
    'QP',
    'QS',
    'QW',
    'QE',
    'QY',
    'QC',
    'QCV',
    'QCB',
    'FMI',
    'FMI_gradient',
    'FMI_dct',
)


def _collect() -> Dict[str, Protocol]:
    tables: Dict[str, Dict[str, MetricSpec]] = {name: {} for name in TITLES}
    for family in (INFORMATION, SIMILARITY, EDGES, PERCEPTUAL):
        for name, entries in family.items():
            tables[name].update(entries)
    ranks = {name: rank for rank, name in enumerate(ORDER)}
    ordered = {
        protocol: dict(sorted(table.items(), key=lambda item: ranks.get(item[0], len(ranks))))
        for protocol, table in tables.items()
    }
    return {name: Protocol(name, title, ordered[name], channels) for name, (title, channels) in TITLES.items()}


PROTOCOLS: Dict[str, Protocol] = _collect()
