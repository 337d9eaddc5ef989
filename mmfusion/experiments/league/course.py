"""Training of a task network on the pictures of a method, by the downstream protocol."""

import copy
from pathlib import Path
from typing import Dict

from mmengine.config import Config

from mmfusion.experiments.comparison import RESULT_FILE, train_and_test
from mmfusion.experiments.downstream import TASK_KEYS, downstream_config, fuse_parts
from mmfusion.experiments.identity import data_identity, section_sha256
from mmfusion.fileio.paths import ensure_writable_dir
from mmfusion.fileio.reading import read_record
from mmfusion.utils import load_config

from .methods import make_inferencer
from .pair_set import LOAD
from .settings import Course, Method


def course_facts(course: Course, base: Config) -> dict:
    """What the result of a course depends on besides the method."""
    return dict(task=section_sha256(base, *TASK_KEYS), data=data_identity(base), seeds=list(course.seeds))


def run_course(course: Course, method: Method, folder: Path, device: str = 'cpu') -> Dict[str, dict]:
    """Fuse training and test pairs, train from each seed and test; pictures and epochs that are there are kept.

    Returns:
        dict: Metrics by seed.
    """
    base = load_config(course.config, dict(course.options))
    folders = fuse_parts(base, Path(folder) / 'fused', lambda: make_inferencer(method, LOAD, device))
    metrics = {}
    for seed in course.seeds:
        cfg = downstream_config(copy.deepcopy(base), folders, seed, Path(folder) / f'seed{seed}')
        ensure_writable_dir(cfg.work_dir)
        cfg.dump(str(Path(cfg.work_dir) / 'config.py'))
        done = Path(cfg.work_dir) / RESULT_FILE
        if done.exists():
            result = read_record(done, 'delete it to make this run again')
        else:
            result = train_and_test(cfg, f'{course.name}_{seed}', dict(variant=method.name, seed=seed))
        metrics[str(seed)] = result['metrics']
    return metrics
