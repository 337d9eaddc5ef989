"""Environment that must be set before torch is imported; this module therefore imports nothing heavy."""
import os
import sys
import warnings


def setup_cpu_env() -> None:
    """Let torch's OpenMP threads sleep while they wait (``OMP_WAIT_POLICY=PASSIVE``), unless the user chose otherwise.

    GNU OpenMP spins by default. On a busy machine with few cores the spinning threads of two processes starve each other, and a
    training step takes up to 25 times longer. The policy is read once, when torch is loaded, so this comes first in every tool;
    it also makes ``torch.load`` refuse pickled code everywhere (``TORCH_FORCE_WEIGHTS_ONLY_LOAD``), mmengine's fallback included.

    Warns:
        RuntimeWarning: torch was imported already and the policy was not set, so it has no effect in this process.

    Examples:
        >>> setup_cpu_env()
        >>> os.environ['OMP_WAIT_POLICY']
        'PASSIVE'
    """
    if 'OMP_WAIT_POLICY' not in os.environ and 'torch' in sys.modules:
        warnings.warn('torch was imported before mmfusion.utils.setup_cpu_env(): OMP_WAIT_POLICY=PASSIVE has no effect in this process. '
                      'Call it first, or export OMP_WAIT_POLICY=PASSIVE', RuntimeWarning, stacklevel=2)
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
    if 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD' not in os.environ:  # torch refuses to have both
        os.environ.setdefault('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
