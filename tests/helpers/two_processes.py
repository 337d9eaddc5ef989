"""Run a function in two gloo processes, for tests of couplings that average over processes."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from plain_configs import leave_configs_as_they_are


def free_port():
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def in_two_processes(function, folder):
    """What ``function(rank, 2)`` of a test module returns in each of two processes, tensors in dicts or tuples; skips
    without gloo.
    """
    if not dist.is_available() or not dist.is_gloo_available():
        pytest.skip('this torch has no gloo backend')
    mp.spawn(_work, args=(function, free_port(), str(folder)), nprocs=2)
    return [torch.load(os.path.join(folder, f'rank{rank}.pt'), weights_only=True) for rank in range(2)]


def _work(rank, function, port, folder):
    torch.set_num_threads(1)
    leave_configs_as_they_are(pytest.MonkeyPatch())
    dist.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    torch.save(function(rank, 2), os.path.join(folder, f'rank{rank}.pt'))
    dist.barrier()
    dist.destroy_process_group()
