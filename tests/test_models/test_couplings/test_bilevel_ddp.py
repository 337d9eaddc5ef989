"""Two processes, each with half of a batch, take the bilevel step of one process with the whole batch; the usual loop is refused."""
import os
from types import SimpleNamespace

import pytest
import tiny_models
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.optim import OptimWrapper, OptimWrapperDict
from test_meta_ddp import free_port

from mmfusion.utils import UserError


def step(rank, world_size):
    """State of the model after two steps on this rank's share of a fixed batch."""
    from mmengine.model import MMDistributedDataParallel

    from mmfusion.engine.loops import CouplingTrainLoop
    from mmfusion.registry import MODELS
    from mmfusion.utils import register_all_modules
    register_all_modules()
    torch.manual_seed(0)
    model = MODELS.build(dict(type='BilevelCoupling', fuser=dict(type='TIM', genotype='fusion_light', width=4),
                              fusion_loss=dict(l1=dict(type='L1FusionLoss')), tasks=dict(seg=tiny_models.segmentor()), momentum=0.5)).train()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):  # batch statistics see only the local images
            module.eval()
    wrapped = MMDistributedDataParallel(model, find_unused_parameters=True) if world_size > 1 else model
    wrappers = OptimWrapperDict(**{name: OptimWrapper(torch.optim.SGD(getattr(model, name).parameters(), lr=0.05)) for name in ('fuser', 'tasks')})
    inputs, samples = tiny_models.make_batch(2, 32, 48)
    share = slice(rank * 2 // world_size, (rank + 1) * 2 // world_size)
    batch = dict(inputs={name: list(value[share]) for name, value in inputs.items()}, data_samples=samples[share])
    # What the loop does with a wrapped model, without a runner.
    loop = CouplingTrainLoop.__new__(CouplingTrainLoop)
    loop._runner = SimpleNamespace(model=wrapped, optim_wrapper=wrappers, call_hook=lambda *args, **kwargs: None)
    loop._iter = 0
    for index in range(2):
        loop.run_iter(index, batch)
    return {name: value.clone() for name, value in model.state_dict().items()}


def worker(rank, world_size, port, folder):
    """One process of the distributed run."""
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=world_size)
    torch.save(step(rank, world_size), os.path.join(folder, f'rank{rank}.pt'))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason='this torch has no gloo backend')
def test_two_processes_equal_one(tmp_path):
    single = step(0, 1)
    mp.spawn(worker, args=(2, free_port(), str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f'rank{rank}.pt', weights_only=True) for rank in range(2))
    for name, wanted in single.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], wanted, atol=1e-5, rtol=1e-4)


def test_loop_that_passes_over_the_step_is_refused():
    from mmengine.runner import EpochBasedTrainLoop

    from mmfusion.apis.checks import _check_loop
    from mmfusion.engine.loops import CouplingTrainLoop
    coupling = SimpleNamespace(averages_gradients=True)
    for loop, wrapped in ((EpochBasedTrainLoop, True), (CouplingTrainLoop, True), (EpochBasedTrainLoop, False)):
        runner = SimpleNamespace(model=SimpleNamespace(module=coupling) if wrapped else coupling, train_loop=loop.__new__(loop))
        if wrapped and loop is EpochBasedTrainLoop:
            with pytest.raises(UserError, match='CouplingTrainLoop'):
                _check_loop(runner)
        else:
            _check_loop(runner)
