"""Processes that mean AP starts end with it."""

import multiprocessing
from importlib import import_module

import numpy as np
from mmdet.evaluation.functional import eval_map

from mmfusion.utils import register_all_modules


def test_mean_ap_waits_for_its_processes(monkeypatch):
    register_all_modules(init_default_scope=False)
    mean_ap = import_module('mmdet.evaluation.functional.mean_ap')
    pools = []  # held, so that nothing ends because it is forgotten
    make = mean_ap.Pool
    monkeypatch.setattr(mean_ap, 'Pool', lambda *args: pools.append(make(*args)) or pools[-1])
    box = np.array([[4.0, 4.0, 24.0, 24.0]], np.float32)
    found = [[np.hstack([box, [[0.9]]]).astype(np.float32)] for _ in range(3)]
    truth = [dict(bboxes=box, labels=np.zeros(1, np.int64)) for _ in range(3)]
    mean, _ = eval_map(found, truth, logger='silent', nproc=2)
    assert mean == 1 and len(pools) == 1
    assert not multiprocessing.active_children()
