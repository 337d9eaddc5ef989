"""torch.compile for the fuser of a coupling, where it works and pays, and autocast by the name of a precision."""

import contextlib
import os
import shutil
import warnings
from pathlib import Path
from typing import Iterator, Optional, Tuple

import torch
from torch import nn

from mmfusion.models.couplings import BaseCoupling
from mmfusion.models.fusers import DenseFuse, MoEFusion, PlainConvFuser, ReFusion
from mmfusion.utils import UserError
from mmfusion.utils.compat import compiler_error

PRECISIONS = dict(fp32=None, bf16=torch.bfloat16, fp16=torch.float16)
#: Why a fuser is not compiled on a CPU. Ratios of CPU time to eager, as docs/en/results.md has them.
_CPU_REASONS: Tuple[Tuple[type, str], ...] = (
    (
        MoEFusion,
        'which experts run depends on each picture, so that it falls into small pieces: 1.13 times the CPU time',
    ),
    (ReFusion, 'it works in strips, which torch does not follow: no gain (1.01 times the CPU time)'),
    (DenseFuse, 'it becomes slower: 1.44 times the CPU time'),
    (PlainConvFuser, "torch's compiler fails on it (InductorError)"),
)


def refusal(coupling: BaseCoupling, device: torch.device, training: bool = False) -> Optional[str]:
    """Why the fuser of a coupling is not compiled, or None.

    Args:
        coupling: The coupling.
        device: Where it runs. On a GPU nothing was measured, so that nothing is refused there for its speed.
        training: Whether it is trained, not only run.
    """
    name = type(coupling.fuser).__name__
    if next(coupling.fuser.parameters(), None) is None:
        return f'{name} has no parameters and nothing that would gain'
    if training and coupling.averages_gradients:
        return (
            f'{type(coupling).__name__} takes gradients in its own way, of parts or of gradients, '
            f'which torch.compile does not follow'
        )
    if device.type == 'cpu':
        return next((f'{name}: {reason}' for kind, reason in _CPU_REASONS if isinstance(coupling.fuser, kind)), None)
    return None


def compile_fuser(coupling: BaseCoupling, device: torch.device, training: bool = False, measured: bool = True) -> None:
    """Let torch compile the fuser; it does so at the first call, and again for another size of pictures.

    Guide and task networks stay as they are: they choose boxes by their values. Weights, checkpoints and copies are not
    touched.

    Args:
        coupling: The coupling; changed.
        device: Where it runs.
        training: Whether it is trained, not only run.
        measured: Refuse what was measured not to gain; False in a benchmark.

    Raises:
        UserError: It would not gain or not work, or there is no C++ compiler; the message says what to do.
    """
    reason = refusal(coupling, device, training) if measured else None
    if reason:
        raise UserError(f'--compile (compile=True): {reason}; leave it out')
    compiler = os.environ.get('CXX', 'g++')
    if device.type == 'cpu' and shutil.which(compiler) is None:
        raise UserError(
            f'--compile (compile=True): torch.compile needs a C++ compiler on a CPU, and no {compiler} was found. '
            f'Install one '
            '(Debian/Ubuntu: apt-get install g++ python3-dev), name it in the environment variable CXX, '
            'or leave the option out'
        )
    coupling.fuser.compile()


@contextlib.contextmanager
def compiler_errors(model: nn.Module) -> Iterator[None]:
    """Context in which what fails inside torch's compiler is an error with a remedy.

    Raises:
        UserError: In place of the compiler's error.
    """
    try:
        yield
    except compiler_error() as error:
        fuser = type(getattr(model, 'fuser', model)).__name__
        first = next(iter(str(error).splitlines()), '')
        raise UserError(
            f'--compile (compile=True): torch could not compile {fuser} ({type(error).__name__}: {first}); leave it out'
        ) from error


def autocast(precision: str, device: torch.device):
    """Context of autocast for the name of a precision (``'fp32'``, ``'bf16'``, ``'fp16'``).

    Raises:
        UserError: The name is another one, or float16 is asked for on a CPU.

    Warns:
        UserWarning: bfloat16 on a CPU that has no instructions for matrices of it, where it is slower than float32.
    """
    if precision not in PRECISIONS:
        raise UserError(f'precision must be out of {", ".join(PRECISIONS)}, got {precision!r}')
    if precision == 'fp32':
        return contextlib.nullcontext()
    if device.type == 'cpu' and precision == 'fp16':
        raise UserError("precision 'fp16' needs a GPU; take 'fp32' on a CPU, or 'bf16' on one with AMX")
    if device.type == 'cpu' and not has_fast_bfloat16():
        warnings.warn(
            "precision 'bf16': this CPU has no matrix instructions for bfloat16 (AMX); "
            'the fusers measured take 1.4 to 1.7 times as '
            "long as with 'fp32'",
            stacklevel=2,
        )
    return torch.autocast(device.type, PRECISIONS[precision])


def has_fast_bfloat16() -> bool:
    """Whether the CPU has matrix instructions for bfloat16 (x86: ``amx_bf16``); False where that cannot be told."""
    try:
        return ' amx_bf16' in Path('/proc/cpuinfo').read_text()
    except OSError:
        return False
