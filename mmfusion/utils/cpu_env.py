"""Environment that must be set before torch is imported; this module therefore imports nothing heavy."""
import os
import sys
import warnings


def setup_cpu_env() -> None:
    """Let torch's OpenMP threads go to sleep soon when they wait (``OMP_WAIT_POLICY=PASSIVE``), unless the user chose otherwise.

    GNU OpenMP spins by default. On a busy machine with few cores the spinning threads of two processes starve each other, and a
    training step takes up to 25 times longer. Sleeping at once has its price too, since small operations end before a thread is awake
    again: a joint training step of 8 images of 128x160 took 0.127 s per image on two idle cores, 0.094 s with a short spin before sleep
    (``GOMP_SPINCOUNT=2000``), 0.073 s with a ten times longer one; beside one busy process 0.167, 0.174 and 0.406 s. The short spin is set.
    Both are read once, when torch is loaded, so this comes first in every tool; it also makes ``torch.load`` refuse pickled code everywhere
    (``TORCH_FORCE_WEIGHTS_ONLY_LOAD``), mmengine's fallback included.

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
    if os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE').upper() == 'PASSIVE':
        os.environ.setdefault('GOMP_SPINCOUNT', '2000')
    if 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD' not in os.environ:  # torch refuses to have both
        os.environ.setdefault('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
