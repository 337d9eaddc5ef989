"""Versions, code and machine that a result was made with."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Dict, List, Optional

from mmfusion.version import __version__

#: Name in a manifest -> distributions, of which one is installed.
PACKAGES = {
    'torch': ('torch',),
    'mmengine': ('onedl-mmengine', 'mmengine'),
    'mmcv': ('onedl-mmcv', 'mmcv'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
    'mmsegmentation': ('onedl-mmsegmentation', 'mmsegmentation'),
    'numpy': ('numpy',),
    'scipy': ('scipy',),
    'opencv': ('opencv-python-headless', 'opencv-python', 'opencv-contrib-python-headless', 'opencv-contrib-python'),
}


def versions() -> Dict[str, Optional[str]]:
    """Versions of Python, of this package and of what it computes with; None for what is absent."""
    found: Dict[str, Optional[str]] = dict(python=platform.python_version(), mmfusion=__version__)
    for name, distributions in PACKAGES.items():
        found[name] = next(filter(None, map(_version, distributions)), None)
    return found


def code() -> Optional[Dict[str, object]]:
    """Commit of the checkout that this package runs from, and whether tracked files differed from it; None outside a
    checkout.

    Read when this module is imported, which every command does at its start: a checkout may change while a long run
    goes on with what it has loaded.
    """
    return None if _CODE is None else dict(_CODE)


def _read_code() -> Optional[Dict[str, object]]:
    folder = Path(__file__).resolve().parents[2]
    if not (folder / '.git').exists():
        return None
    commit, status = _git(folder, 'rev-parse', 'HEAD'), _git(folder, 'status', '--porcelain', '--untracked-files=no')
    return None if commit is None or status is None else dict(commit=commit, dirty=bool(status))


def machine() -> Dict[str, object]:
    """Models of CPU and GPUs, cores and threads, without a name of the machine."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return dict(
        system=f'{platform.system()} {platform.machine()}',
        cpu=_cpu_model(),
        cores=cores,
        threads=torch.get_num_threads(),
        gpu=_gpus(torch),
    )


def _version(distribution: str) -> Optional[str]:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> Optional[str]:
    try:
        done = subprocess.run(['git', '-C', str(folder), *arguments], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_model() -> str:
    try:
        with open('/proc/cpuinfo', encoding='utf-8', errors='replace') as file:
            return next(line.partition(':')[2].strip() for line in file if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.processor() or 'unknown'


def _gpus(torch) -> List[str]:
    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


_CODE = _read_code()
