"""A fuser of which a part is frozen, in every coupling with a task network: the adapters of TC-MoA learn, the rest
stays, bit for bit.
"""

import pytest
import tiny_models
from small_fusers import SMALL
from tiny_meta import changed, data, state

from mmfusion.engine import PartOptimWrapperConstructor, TrainableOptimWrapperConstructor
from mmfusion.registry import MODELS

FUSER = dict(type='TCMoA', **SMALL['TCMoA'])
PIXEL = dict(pixel=dict(type='L1FusionLoss', target='mean'))
# with the losses that depend on task and epoch
BY_TASK = dict(task=dict(type='TaskFusionLoss', fusion_tasks=dict.fromkeys(('visible_infrared', 'multi_focus'), PIXEL)))
TASK = dict(tasks=dict(seg=tiny_models.segmentor()))
ADAM = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
PARTS = dict(fuser=ADAM, tasks=ADAM)
COUPLINGS = dict(
    JointCoupling=(dict(TASK, fusion_loss=BY_TASK), None),
    BilevelCoupling=(dict(TASK, fusion_loss=BY_TASK, momentum=0.9), PARTS),
    MetaCoupling=(
        dict(
            TASK,
            fusion_loss=dict(learned=dict(type='LearnedFusionLoss')),
            crop_size=32,
            loss_generator=dict(type='LossGenerationModule', channels=4, heads=2, blocks=1),
        ),
        PARTS,
    ),
    MetaInitCoupling=(dict(fusion_loss=BY_TASK, inner_steps=1), None),
)


def build(kind, **options):
    coupling = MODELS.build(dict(COUPLINGS[kind][0], type=kind, fuser=dict(FUSER, **options)))
    coupling.init_weights()
    parts = COUPLINGS[kind][1]
    optimizer = (
        PartOptimWrapperConstructor(dict(parts))
        if parts
        else TrainableOptimWrapperConstructor(dict(ADAM, type='OptimWrapper'))
    )(coupling)
    return coupling.train(), optimizer


def batch(task='multi_focus'):
    made = data()
    for sample in made['data_samples']:
        sample.set_metainfo(dict(fusion_task=task))
    return made


@pytest.mark.parametrize('kind', COUPLINGS)
def test_adapters_alone_learn(kind):
    coupling, optimizer = build(kind)
    learning = {name for name, parameter in coupling.fuser.named_parameters() if parameter.requires_grad}
    assert learning == {name for name, _ in coupling.fuser.named_parameters() if not name.startswith('mae.')}
    held = {
        id(parameter)
        for one in (optimizer.values() if COUPLINGS[kind][1] else [optimizer])
        for group in one.optimizer.param_groups
        for parameter in group['params']
    }
    assert not held & {id(parameter) for parameter in coupling.fuser.mae.parameters()}
    assert held >= {id(parameter) for name, parameter in coupling.fuser.named_parameters() if name in learning}

    before = state(coupling.fuser)
    coupling.set_epoch(3)
    log = coupling.train_step(batch(), optimizer)
    assert changed(coupling.fuser, before) == learning
    assert not coupling.fuser.mae.training and coupling.fuser.encoder.training
    assert all(parameter.grad is None for parameter in coupling.fuser.mae.parameters())
    assert log['loss'].isfinite() and coupling.fuser.epoch == 3
    if len(coupling.tasks):
        assert 'seg.decode.loss_ce' in log and log['fuser.loss_prompt'] > 0


@pytest.mark.parametrize('freeze, with_cp', [(True, False), (False, True)])
def test_meta_step(freeze, with_cp):
    """Second derivatives through a frozen part, and through one that learns and is computed again."""
    coupling, optimizer = build('MetaCoupling', freeze=freeze, with_cp=with_cp)
    fuser, generator = state(coupling.fuser), state(coupling.loss_generator)
    log = coupling.meta_step(batch(), batch(), optimizer)
    assert changed(coupling.loss_generator, generator) and not changed(coupling.fuser, fuser)
    assert 0 < log['meta.max_grad'] < float('inf')
