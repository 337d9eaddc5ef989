"""The averaged weights of a training are tested by the runner that made them, as they are by its checkpoint."""

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmfusion.engine.hooks import EMAHook
from mmfusion.engine.hooks.ema_hook import update_at_once
from mmfusion.registry import DATASETS, METRICS, MODELS
from mmfusion.utils import register_all_modules


class Numbers(Dataset):
    """Test double: four numbers."""

    metainfo = dict(name='numbers')

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.tensor([float(index)])


class OneWeight(BaseModel):
    """Test double: a weight that goes on falling, and is its own prediction."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, *inputs, mode='tensor'):
        if mode == 'loss':
            return dict(loss=self.layer.weight.sum())
        return [self.layer.weight.detach().clone() for _ in inputs]


class Seen(BaseMetric):
    """Test double: the weight that the test had."""

    def process(self, data_batch, data_samples):
        self.results.extend(data_samples)

    def compute_metrics(self, results):
        return dict(weight=float(results[0]))


@pytest.mark.parametrize('name', ['EMAHook', 'mmengine.EMAHook'])
def test_test_after_training_sees_the_averaged_weights(tmp_path, name):
    register_all_modules()
    for registry, module in ((DATASETS, Numbers), (MODELS, OneWeight), (METRICS, Seen)):
        registry.register_module(module=module, force=True)
    loader = dict(batch_size=2, num_workers=0, dataset=dict(type='Numbers'), sampler=dict(type='DefaultSampler'))
    runner = Runner(
        model=dict(type='OneWeight'),
        work_dir=str(tmp_path),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        test_dataloader=loader,
        test_cfg=dict(),
        test_evaluator=dict(type='Seen'),
        custom_hooks=[dict(type=name, momentum=0.2)],
        default_scope='mmfusion',
        experiment_name=f'ema_{tmp_path.name}',
    )
    assert sum(isinstance(hook, EMAHook) for hook in runner.hooks) == 1
    runner.train()
    last = float(runner.model.layer.weight.detach())
    stored = torch.load(tmp_path / 'epoch_3.pth', weights_only=False)['state_dict']['layer.weight']
    assert abs(float(stored) - last) > 0.05
    for _ in range(2):  # the training's weights are back after each test
        assert runner.test()['weight'] == pytest.approx(float(stored), abs=1e-6)
        assert float(runner.model.layer.weight.detach()) == last


@pytest.mark.parametrize('update_buffers', [False, True])
@pytest.mark.parametrize(
    'kind, options',
    [
        ('ExponentialMovingAverage', dict(momentum=0.3, interval=2)),
        ('mmdet.ExpMomentumEMA', dict(momentum=0.1, gamma=3)),
        ('StochasticWeightAverage', dict()),
    ],
)
def test_one_call_for_all_weights_gives_the_same_average(kind, options, update_buffers):
    register_all_modules()
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    ours, theirs = (
        MODELS.build(dict(type=kind, update_buffers=update_buffers, **options), default_args=dict(model=network))
        for _ in range(2)
    )
    update_at_once(ours)
    assert ('update_parameters' in vars(ours)) == (kind != 'StochasticWeightAverage')
    for step in range(5):
        with torch.no_grad():
            for weight in (*network.parameters(), network[1].running_mean):
                weight.add_(torch.randn(weight.shape))
            network[1].num_batches_tracked.fill_(step)
        for average in (ours, theirs):
            average.update_parameters(network)
    assert ours.steps == theirs.steps == 5
    for (name, one), two in zip(ours.module.state_dict().items(), theirs.module.state_dict().values()):
        assert torch.allclose(one.double(), two.double(), rtol=1e-6, atol=1e-7), name
    assert (ours.module[0].weight - network[0].weight).abs().max() > 1e-3
