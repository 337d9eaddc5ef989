"""Building the runner of a config."""

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmfusion.models.couplings import BaseCoupling
from mmfusion.utils.compat import BUILT_LATER
from mmfusion.utils.errors import building


def build_runner(cfg: Config) -> Runner:
    """Build the runner of a config; what cannot be built, now or when training begins, is an error of the config.

    Args:
        cfg: Config with everything that it needs, perhaps with a ``runner_type``.

    Raises:
        UserError: A type is unknown, or a class refuses its arguments.
    """
    with building():
        runner = Runner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
    for name in BUILT_LATER:
        setattr(runner, name, building()(getattr(runner, name)))
    return runner


def init_weights_quietly(coupling: BaseCoupling) -> None:
    """Initialize a coupling without mmengine's report on every parameter, which comes to the terminal where there is no
    log file.

    Raises:
        UserError: Weights that the config names cannot be loaded, or do not fit.
    """
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('WARNING')
    try:
        with building():
            coupling.init_weights()
    finally:
        logger.setLevel(level)


def leave_out_training(cfg: Config) -> None:
    """Set all that a test does not need to None, as mmengine's runner wants it: loaders, loops, evaluator,
    optimizer.
    """
    parts = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')
    for key in (*parts, 'val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg[key] = None
