"""Modules under their former names, which work for one version more and say where the names have gone."""

import importlib
import sys
import warnings
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Callable, Dict, Mapping, Optional, Sequence

# former module: module of today
MODULES: Dict[str, str] = {
    'mmfusion.apis.checks': 'mmfusion.running.checks',
    'mmfusion.apis.run_config': 'mmfusion.running.run_config',
    'mmfusion.apis.search': 'mmfusion.running.search',
    'mmfusion.apis.single_sample_batch': 'mmfusion.running.single_sample_batch',
    'mmfusion.apis.source_order': 'mmfusion.running.source_order',
    'mmfusion.apis.task_checkpoint': 'mmfusion.running.task_checkpoint',
    'mmfusion.apis.testing': 'mmfusion.running.testing',
    'mmfusion.apis.training': 'mmfusion.running.training',
    'mmfusion.utils.cli': 'mmfusion.cli.arguments',
    'mmfusion.utils.conversion_cli': 'mmfusion.cli.conversion',
    'mmfusion.datasets.demo_pairs': 'mmfusion.datasets.demo.pairs',
    'mmfusion.datasets.demo_scenes': 'mmfusion.datasets.demo.scenes',
    'mmfusion.datasets.demo_scenes.background': 'mmfusion.datasets.demo.scenes.background',
    'mmfusion.datasets.demo_scenes.cameras': 'mmfusion.datasets.demo.scenes.cameras',
    'mmfusion.datasets.demo_scenes.render': 'mmfusion.datasets.demo.scenes.render',
    'mmfusion.datasets.demo_scenes.scene': 'mmfusion.datasets.demo.scenes.scene',
    'mmfusion.datasets.demo_scenes.shapes': 'mmfusion.datasets.demo.scenes.shapes',
    'mmfusion.datasets.demo_task_pairs': 'mmfusion.datasets.demo.task_pairs',
    'mmfusion.datasets.procedural': 'mmfusion.datasets.demo.procedural',
    'mmfusion.models.fusers.tc_moa.tiles': 'mmfusion.models.layers.tiles',
    'mmfusion.models.couplings.image_sizes': 'mmfusion.models.couplings.steps.image_sizes',
    'mmfusion.models.couplings.implicit_gradient': 'mmfusion.models.couplings.steps.implicit_gradient',
    'mmfusion.models.couplings.latency_table': 'mmfusion.models.couplings.steps.latency_table',
    'mmfusion.models.couplings.loss_check': 'mmfusion.models.couplings.steps.loss_check',
    'mmfusion.models.couplings.meta_checks': 'mmfusion.models.couplings.steps.meta_checks',
    'mmfusion.models.couplings.meta_update': 'mmfusion.models.couplings.steps.meta_update',
    'mmfusion.models.couplings.pair_batch': 'mmfusion.models.couplings.steps.pair_batch',
    'mmfusion.models.couplings.part_optimizers': 'mmfusion.models.couplings.steps.optimizers',
    'mmfusion.models.couplings.task_labels': 'mmfusion.models.couplings.steps.task_labels',
    'mmfusion.models.couplings.training_state': 'mmfusion.models.couplings.steps.state',
    'mmfusion.evaluation.functional.checks': 'mmfusion.evaluation.functional.common.checks',
    'mmfusion.evaluation.functional.chunks': 'mmfusion.evaluation.functional.common.chunks',
    'mmfusion.evaluation.functional.contrast_sensitivity': 'mmfusion.evaluation.functional.common.contrast_sensitivity',
    'mmfusion.evaluation.functional.filters': 'mmfusion.evaluation.functional.common.filters',
    'mmfusion.evaluation.functional.grey': 'mmfusion.evaluation.functional.common.grey',
    'mmfusion.evaluation.functional.histograms': 'mmfusion.evaluation.functional.common.histograms',
    'mmfusion.evaluation.functional.lightness': 'mmfusion.evaluation.functional.common.lightness',
    'mmfusion.evaluation.functional.masks': 'mmfusion.evaluation.functional.common.masks',
    'mmfusion.evaluation.functional.per_source': 'mmfusion.evaluation.functional.common.per_source',
    'mmfusion.evaluation.functional.phase_congruency': 'mmfusion.evaluation.functional.common.phase_congruency',
    'mmfusion.evaluation.functional.protocols': 'mmfusion.evaluation.protocols',
    'mmfusion.evaluation.functional.protocols.edges': 'mmfusion.evaluation.protocols.edges',
    'mmfusion.evaluation.functional.protocols.information': 'mmfusion.evaluation.protocols.information',
    'mmfusion.evaluation.functional.protocols.perceptual': 'mmfusion.evaluation.protocols.perceptual',
    'mmfusion.evaluation.functional.protocols.similarity': 'mmfusion.evaluation.protocols.similarity',
    'mmfusion.evaluation.functional.protocols.spec': 'mmfusion.evaluation.protocols.spec',
    'mmfusion.evaluation.functional.sobel': 'mmfusion.evaluation.functional.common.sobel',
    'mmfusion.evaluation.functional.table': 'mmfusion.evaluation.protocols.table',
    'mmfusion.evaluation.functional.visual_information': 'mmfusion.evaluation.functional.common.visual_information',
    'mmfusion.evaluation.functional.windows': 'mmfusion.evaluation.functional.common.windows',
    'mmfusion.datasets.errors': 'mmfusion.fileio.errors',
    'mmfusion.datasets.image_io': 'mmfusion.fileio.image_reading',
    'mmfusion.datasets.layout': 'mmfusion.fileio.pairing',
    'mmfusion.utils.paths': 'mmfusion.fileio.paths',
    'mmfusion.visualization.image_file': 'mmfusion.fileio.image_writing',
    'mmfusion.apis.fusion_plot': 'mmfusion.evaluation.reports.plots',
    'mmfusion.apis.fusion_tables': 'mmfusion.evaluation.reports.tables',
    'mmfusion.evaluation.summary': 'mmfusion.evaluation.reports.summary',
    'mmfusion.apis.fusion_evaluation': 'mmfusion.evaluation.folders.evaluation',
    'mmfusion.apis.fusion_journal': 'mmfusion.evaluation.folders.journal',
    'mmfusion.apis.fusion_matching': 'mmfusion.evaluation.folders.matching',
    'mmfusion.apis.fusion_report': 'mmfusion.evaluation.folders.report',
    'mmfusion.apis.fusion_scoring': 'mmfusion.evaluation.folders.scoring',
    'mmfusion.utils.memory': 'mmfusion.evaluation.folders.memory',
    'mmfusion.apis.benchmark': 'mmfusion.profiling.benchmark',
    'mmfusion.apis.flops': 'mmfusion.profiling.flops',
    'mmfusion.apis.latency': 'mmfusion.profiling.latency',
    'mmfusion.apis.metric_benchmark': 'mmfusion.profiling.metric_benchmark',
    'mmfusion.apis.synthetic': 'mmfusion.profiling.synthetic',
    'mmfusion.utils.timing': 'mmfusion.profiling.timing',
    'mmfusion.apis.adaptation': 'mmfusion.experiments.adaptation',
    'mmfusion.apis.adaptation_report': 'mmfusion.experiments.adaptation_report',
    'mmfusion.apis.comparison': 'mmfusion.experiments.comparison',
    'mmfusion.apis.downstream': 'mmfusion.experiments.downstream',
    'mmfusion.evaluation.metrics.csv_file': 'mmfusion.fileio.whole',
}


def moved_names(package: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """The function ``__getattr__`` of a module (PEP 562), some of whose names have gone to other modules.

    Args:
        package: Name of the module that had them.
        names: Public name -> module that has it today, and ``MODULE:NAME`` where the name is another one too.
    """

    def resolve(name: str, level: int = 2) -> object:
        if name not in names:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        return _take(package, name, names[name], level + 1)

    return resolve


def _take(former: str, name: str, place: str, level: int) -> object:
    module, _, today = place.partition(':')
    today = today or name
    try:
        value = getattr(importlib.import_module(module), today)
    except AttributeError:
        raise AttributeError(f'module {former!r} has no attribute {name!r}') from None
    if not name.startswith('__'):
        warnings.warn(
            f'{former}.{name} is {module}.{today} now; the former place goes with the next version',
            DeprecationWarning,
            stacklevel=level,
        )
    return value


class _FormerModules:
    """Finds and loads modules by their former names (the two roles of :mod:`importlib`)."""

    def find_spec(
        self, name: str, path: Optional[Sequence[str]] = None, target: Optional[ModuleType] = None
    ) -> Optional[ModuleSpec]:
        return ModuleSpec(name, self, is_package=True) if name in MODULES else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        former, today = module.__name__, MODULES[module.__name__]
        importlib.import_module(today)
        module.__doc__ = f'Former name of :mod:`{today}`.'
        module.__getattr__ = lambda name: _take(former, name, today, 3)
        module.__dir__ = lambda: dir(sys.modules[today])


def install() -> None:
    """Let ``import`` find modules by their former names; called once, when the package is imported."""
    if not any(isinstance(finder, _FormerModules) for finder in sys.meta_path):
        sys.meta_path.insert(
            0, _FormerModules()
        )  # first, or what is left of a folder in a checkout would be found as an empty package
