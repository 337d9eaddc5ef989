"""Tools ask a coupling what it is capable of, so that a name with a scope, or a user's subclass, is treated like any
other.
"""

from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.hooks import RuntimeInfoHook as MMEngineRuntimeInfoHook

from mmfusion.engine.hooks import RuntimeInfoHook
from mmfusion.experiments.comparison import variant_config
from mmfusion.experiments.verdict.rows import check_base
from mmfusion.models.couplings import BilevelCoupling
from mmfusion.registry import MODELS
from mmfusion.running.checks import _check_hooks
from mmfusion.running.run_config import coupling_class
from mmfusion.running.training import enable_amp
from mmfusion.utils import UserError

SGD = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))


def config(kind, wrapper=SGD):
    """As much of a config as the tools look at."""
    model = dict(type=kind, fuser=dict(type='ReFusion'), fusion_loss=dict(), tasks=dict(det=dict()), guide=None)
    return Config(dict(model=model, optim_wrapper=wrapper, train_cfg=dict(type='CouplingTrainLoop', max_epochs=1)))


@pytest.mark.parametrize('kind', ['MetaCoupling', 'mmfusion.MetaCoupling', 'mmfusion.MetaInitCoupling'])
def test_half_precision_is_refused_under_every_name(kind):
    with pytest.raises(UserError, match='float32 only'):
        enable_amp(config(kind))


@pytest.mark.parametrize(
    ('kind', 'wanted'), [('mmfusion.BilevelCoupling', 'BFloat16OptimWrapper'), ('JointCoupling', 'AmpOptimWrapper')]
)
@pytest.mark.parametrize('several', [False, True])
def test_half_precision_on_a_gpu_by_capability_and_for_every_part(monkeypatch, kind, wanted, several):
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    parts = dict(constructor='PartOptimWrapperConstructor', fuser=SGD, tasks=SGD)
    cfg = config(kind, parts if several else SGD)
    enable_amp(cfg)
    wrappers = [cfg.optim_wrapper.fuser, cfg.optim_wrapper.tasks] if several else [cfg.optim_wrapper]
    assert all(wrapper.type == wanted for wrapper in wrappers)


def test_comparison_knows_couplings_by_class(monkeypatch):
    class Mine(BilevelCoupling):
        """A user's rule."""

    monkeypatch.setitem(MODELS.module_dict, 'Mine', Mine)
    for kind in ('BilevelCoupling', 'mmfusion.BilevelCoupling', 'Mine'):
        assert issubclass(coupling_class(dict(type=kind)), BilevelCoupling)
        assert variant_config(config(kind), 'bilevel', 0, Path('.')).model.type == kind
        assert variant_config(config(kind), 'joint', 0, Path('.')).model.type == 'JointCoupling'
        with pytest.raises(ValueError, match='MetaCoupling'):
            variant_config(config(kind), 'meta', 0, Path('.'))


def test_rows_without_a_learning_fuser_drop_its_optimizer():
    parts = dict(constructor='PartOptimWrapperConstructor', fuser=SGD, tasks=SGD, guide=SGD)
    cfg = variant_config(config('JointCoupling', parts), 'average', 0, Path('.'))
    assert set(cfg.optim_wrapper) == {'constructor', 'tasks'}


def test_runner_without_the_hook_that_training_depends_on_is_refused():
    runner = SimpleNamespace(model=SimpleNamespace(averages_gradients=False), hooks=[RuntimeInfoHook()])
    _check_hooks(runner)
    runner.hooks = [MMEngineRuntimeInfoHook()]
    with pytest.raises(UserError, match='default_scope'):
        _check_hooks(runner)


@pytest.mark.parametrize('kind', ['MetaCoupling', 'mmfusion.MetaCoupling'])
def test_commands_take_a_coupling_with_a_scope(kind):
    parts = dict(constructor='PartOptimWrapperConstructor', fuser=SGD, tasks=SGD)
    base = config(kind, parts)
    assert variant_config(base, 'meta', 0, Path('.')).model.type == kind
    assert variant_config(base, 'joint', 0, Path('.')).model.type == 'JointCoupling'
    with pytest.raises(ValueError, match='BilevelCoupling'):
        variant_config(base, 'bilevel', 0, Path('.'))
    base.update(train_dataloader=dict(batch_size=1), test_dataloader=dict(batch_size=1))
    check_base(base)
    assert coupling_class(base.model).loop == 'MetaTrainLoop' and coupling_class(base.model).averages_gradients


def test_a_search_with_a_scope_is_one():
    for kind in ('SearchCoupling', 'mmfusion.SearchCoupling'):
        assert all(hasattr(coupling_class(dict(type=kind)), name) for name in ('search_step', 'write_architecture'))
    assert not hasattr(coupling_class(dict(type='mmfusion.MetaCoupling')), 'search_step')
