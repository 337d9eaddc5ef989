"""Two processes, each with half of a batch, take the meta step and the training step of one process with the whole
batch.
"""

import tiny_models
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from two_processes import in_two_processes

SMALL = dict(channels=4, heads=2, blocks=1)


def steps(rank, world_size):
    """State of the model after both phases on this rank's share of fixed batches."""
    from mmengine.model import MMDistributedDataParallel

    from mmfusion.models.couplings.steps.pair_batch import PairBatch
    from mmfusion.registry import MODELS
    from mmfusion.utils import register_all_modules

    register_all_modules()
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='MetaCoupling',
            fuser=dict(type='ReFusion', **SMALL),
            loss_generator=dict(type='LossGenerationModule', **SMALL),
            fusion_loss=dict(learned=dict(type='LearnedFusionLoss')),
            tasks=dict(seg=tiny_models.segmentor()),
            swap=False,
            crop_size=None,
        )
    )
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):  # batch statistics see only the local images
            module.eval()
    # The wrapper that mmengine puts around the model: its own averaging must neither be needed nor get in the way.
    wrapped = MMDistributedDataParallel(model, find_unused_parameters=True) if world_size > 1 else None
    adams = {
        name: torch.optim.Adam(getattr(model, name).parameters(), lr=1e-3, eps=1e-3) for name in ('fuser', 'tasks')
    }
    wrappers = OptimWrapperDict(**{name: OptimWrapper(adam) for name, adam in adams.items()})
    batches = []
    for seed in range(2):
        inputs, samples = tiny_models.make_batch(2, 32, 48, seed=seed)
        share = slice(rank * 2 // world_size, (rank + 1) * 2 // world_size)
        batches.append(PairBatch({name: value[share] for name, value in inputs.items()}, samples[share]))
    coupling = wrapped.module if wrapped is not None else model
    coupling.meta_update(batches[0], *batches, wrappers)
    raw = dict(inputs={name: list(value) for name, value in batches[0].inputs.items()}, data_samples=batches[0].samples)
    coupling.train_step(raw, wrappers)
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_two_processes_equal_one(tmp_path):
    single = steps(0, 1)
    first, second = in_two_processes(steps, tmp_path)
    for name, wanted in single.items():
        assert torch.equal(first[name], second[name]), name
        # steps are as long as the learning rate, 1e-3; the normalized one depends on the largest entry of a gradient of
        # about 1e-7
        torch.testing.assert_close(first[name], wanted, atol=2e-5, rtol=0)
