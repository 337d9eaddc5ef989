"""A small MetaCoupling with its optimizers and batches, for tests."""

import tiny_models
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict

from mmfusion.registry import MODELS

SMALL = dict(channels=4, heads=2, blocks=1)
MOE = dict(
    type='MoEFusion', base_channels=4, expert_channels=4, decoder_channels=(8,), local_grid=(4, 4), global_grid=(4, 4)
)
GUIDE = dict(
    type='TwoStreamGuide',
    in_channels=32,
    attention_channels=8,
    detector=dict(
        tiny_models.rtmdet(), data_preprocessor=dict(tiny_models.rtmdet()['data_preprocessor'], batch_augments=None)
    ),
)


def meta(**options):
    coupling = MODELS.build(
        dict(
            dict(
                type='MetaCoupling',
                fuser=dict(type='ReFusion', **SMALL),
                loss_generator=dict(type='LossGenerationModule', **SMALL),
                fusion_loss=dict(learned=dict(type='LearnedFusionLoss')),
                tasks=dict(seg=tiny_models.segmentor()),
                crop_size=32,
            ),
            **options,
        )
    )
    coupling.init_weights()
    return coupling.train()


def optimizers(coupling, lr=1e-3, **extra):
    parts = {
        name: OptimWrapper(torch.optim.Adam(getattr(coupling, name).parameters(), lr=lr))
        for name in ('fuser', 'tasks', 'guide')
        if getattr(coupling, name) is not None
    }
    return OptimWrapperDict(**{**parts, **extra})


def data(seed=0, number=2, **options):
    """A collated batch of uint8 pictures."""
    inputs, samples = tiny_models.make_batch(number, seed=seed, **options)
    return dict(
        inputs={name: [(image * 255).byte() for image in images] for name, images in inputs.items()},
        data_samples=samples,
    )


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module, before):
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
