"""The first loss that is not finite ends training, in every coupling, and leaves the last good checkpoint."""

import itertools
import math

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from tiny_runs import RUNS, write_run
from two_processes import in_two_processes

from mmfusion.models.couplings.steps.loss_check import LossCheck
from mmfusion.registry import MODELS
from mmfusion.utils import NonFiniteError, friendly_main, safe_load

COUNT = itertools.count()


@MODELS.register_module(force=True)
class PoisonLoss(torch.nn.Module):
    """A loss of zero, from the n-th time it is asked for with a gradient not finite any more."""

    def __init__(self, after, value='nan'):
        super().__init__()
        self.left, self.value = after, float(value)

    def forward(self, fused, first, second, **context):
        self.left -= torch.is_grad_enabled()
        return fused.mean() * 0.0 + (self.value if self.left <= 0 else 0.0)


def run(folder, kind, after, value='nan', hooks='_base_.custom_hooks'):
    extra = (
        f'model["fusion_loss"] = dict(model["fusion_loss"], poison=dict(type="PoisonLoss", after={after}, '
        f'value="{value}"))\n'
    )
    extra += f'experiment_name = "nan_{next(COUNT)}"\ncustom_hooks = {hooks}\nwork_dir = "{folder}/work"\n'
    extra += 'default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))\n'
    cfg = Config.fromfile(write_run(folder, kind, epochs=3, extra=extra))
    Runner.from_cfg(cfg).train()


def checkpoints(folder):
    return sorted(path.name for path in (folder / 'work').glob('*.pth'))


# Calls with gradients an epoch: three batches, a meta step more in meta, two for each of two search steps, two inner
# losses of two episodes.
CALLS = dict(fusion=3, joint=3, bilevel=3, meta=4, search=4, meta_init=6)


@pytest.mark.parametrize(('kind', 'value'), [*((kind, 'nan') for kind in RUNS), ('joint', 'inf')])
def test_every_coupling_stops(kind, value, tmp_path):
    with pytest.raises(NonFiniteError) as caught:
        run(tmp_path, kind, CALLS[kind] + 2, value, hooks='[]')  # in the second epoch; without a single custom hook
    text = str(caught.value)
    assert f'poison = {value}' in text and 'epoch 2, ' in text and 'train' in text and 'epoch_1.pth' in text, text
    assert checkpoints(tmp_path) == ['epoch_1.pth']
    assert all(value.isfinite().all() for value in safe_load(tmp_path / 'work' / 'epoch_1.pth')['state_dict'].values())


def test_the_message_names_iteration_and_samples(tmp_path):
    with pytest.raises(
        NonFiniteError,
        match=r'at epoch 1, iteration 2, samples train\d, train\d: fusion.loss_poison = nan.*No checkpoint was',
    ):
        run(tmp_path, 'joint', 2)
    with pytest.raises(
        NonFiniteError, match=r'at epoch 1, meta step 1, samples train\d, train\d, train\d, train\d: fusion.loss_poison'
    ):
        run(tmp_path, 'meta', 1)


def test_exit_code_and_message(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        friendly_main(run)(tmp_path, 'fusion', 1)
    assert caught.value.code == 1
    shown = capsys.readouterr().err
    assert shown.count('mmfusion: error: the loss is not finite') == 1 and 'Traceback' not in shown


class OnDevice(LossCheck):
    """Puts the answer off as on a GPU."""

    def _is_known(self, finite):
        return False


def test_elsewhere_the_answer_comes_with_the_next_batch_or_the_checkpoint():
    check, hub = OnDevice(), MessageHub.get_instance(f'nan_{next(COUNT)}')
    preprocessor = torch.nn.Identity().train()
    hub.update_info('epoch', 0)
    batches = [dict(data_samples=[dict(sample_id=name)]) for name in 'ab']
    for value, ends in (
        (1.0, check.finish),
        (math.nan, check.finish),
        (math.inf, lambda: check.see(preprocessor, (), batches[1])),
    ):
        hub.update_info('iter', 4)
        check.see(preprocessor, (), batches[0])
        check(torch.tensor(value), dict(loss_x=torch.tensor(value)))
        hub.update_info('iter', 5)
        if math.isfinite(value):
            ends()
        else:
            with pytest.raises(NonFiniteError, match=rf'epoch 1, iteration 5, samples a: loss_x = {value}'):
                ends()
        check.finish()  # once told is enough


def in_a_process(rank, world_size):
    """What a process of two hears when the loss of the other is not finite."""
    check = LossCheck()
    check(torch.tensor(1.0), {})
    try:
        check(torch.tensor([1.0, math.nan][rank]), dict(loss_a=torch.tensor([1.0, math.nan][rank])))
    except NonFiniteError as error:
        return {'told': torch.tensor(1), 'another': torch.tensor(int('another process' in str(error)))}
    return {'told': torch.tensor(0)}


def test_all_processes_stop(tmp_path):
    first, second = in_two_processes(in_a_process, tmp_path)
    assert first == dict(told=1, another=1) and second == dict(told=1, another=0)


def test_infinite_gradients_alone_do_not_stop():
    """Dynamic loss scaling makes and mends them."""
    model = MODELS.build(RUNS['fusion']['model']).train()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0))
    total, _ = model.parse_losses(dict(loss=next(model.parameters()).sum() * 0 + 1.0))
    (total * float('inf')).backward()
    assert not all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())
    wrapper.zero_grad()
    model.loss_check.finish()
