"""SearchTrainLoop and tools/search.py: the two parts of the data, when the architecture moves, what is written, and
that resuming is exact.
"""

import argparse
import io
import itertools
import json
from contextlib import redirect_stdout

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmengine.runner import Runner
from tiny_config import CONFIGS
from tiny_runner import NoisyDataset, StopAfterEpochs, collate
from torch import nn

from mmfusion.cli.arguments import parse_search_args
from mmfusion.models.fusers.tim import load_genotype
from mmfusion.registry import DATASETS
from mmfusion.running import search as search_module
from mmfusion.running.search import retrain, search
from mmfusion.utils import UserError
from mmfusion.visualization.architecture import draw_architecture

COUNT = itertools.count()


@DATASETS.register_module()
class NumberedSet(BaseDataset):
    """Test double: samples that are their own numbers."""

    def load_data_list(self):
        return [dict(number=float(number)) for number in range(24)]

    def prepare_data(self, idx):
        return torch.tensor([self.get_data_info(idx)['number']])


class Recorder(BaseModel):
    """Test double: keeps which samples each step was given."""

    def __init__(self):
        super().__init__()
        self.fuser = nn.Linear(1, 1)
        self.seen = []

    def forward(self, inputs, mode='loss'):
        return dict(loss=self.fuser(inputs).mean())

    def train_step(self, data, optim_wrapper):
        self.seen.append((data['inputs'].flatten().tolist(), None))
        return dict(loss=torch.tensor(1.0))

    def search_step(self, data, upper, optim_wrapper):
        self.seen.append((data['inputs'].flatten().tolist(), upper['inputs'].flatten().tolist()))
        return dict(loss=torch.tensor(1.0))


class Plain(BaseModel):
    """Test double without a search step."""

    def __init__(self):
        super().__init__()
        self.fuser = nn.Linear(1, 1)

    def forward(self, inputs, mode='loss'):
        return dict(loss=self.fuser(inputs).mean())


def make_runner(work_dir, model=None, dataset=None, **train_cfg):
    loader = dict(
        dataset=dataset or dict(type='NumberedSet'),
        batch_size=2,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type=collate),
    )
    return Runner(
        model=model or Recorder(),
        work_dir=str(work_dir),
        experiment_name=f'search_loop_{next(COUNT)}',
        train_dataloader=loader,
        train_cfg={**dict(type='SearchTrainLoop', max_epochs=2), **train_cfg},
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.5)),
        custom_hooks=[dict(type='EpochSeedHook')],
        randomness=dict(seed=3),
        default_scope='mmfusion',
        log_level='WARNING',
    )


def numbers(steps, part):
    return [number for step in steps if step[part] is not None for number in step[part]]


def test_the_two_parts_share_no_sample(tmp_path):
    runner = make_runner(tmp_path, upper_part=0.25, upper_batch_size=1)
    runner.train()
    seen = runner.model.seen
    assert len(seen) == 2 * 9
    epochs = [seen[:9], seen[9:]]
    lower, upper = (set(numbers(epochs[0], part)) for part in range(2))
    assert len(lower) == 18 and len(upper) == 6 and not lower & upper
    for epoch in epochs:
        assert set(numbers(epoch, 0)) == lower and len(numbers(epoch, 0)) == 18
        assert (
            set(numbers(epoch, 1)[:6]) == upper and len(numbers(epoch, 1)) == 9
        )  # the smaller part is gone over again
    assert numbers(epochs[0], 0) != numbers(epochs[1], 0) and numbers(epochs[0], 1) != numbers(epochs[1], 1)
    again = make_runner(tmp_path / 'again', upper_part=0.25, upper_batch_size=1)
    again.train()
    assert again.model.seen == seen


def test_begin_and_interval(tmp_path):
    runner = make_runner(tmp_path, search_begin=2, search_interval=3)
    runner.train()
    assert [upper is not None for _, upper in runner.model.seen] == [False] * 6 + [True, False, False] * 2


def test_upper_dataloader_of_its_own(tmp_path):
    other = dict(
        dataset=dict(type='NumberedSet', indices=4),
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type=collate),
    )
    runner = make_runner(tmp_path, upper_dataloader=other, max_epochs=1)
    runner.train()
    assert sorted(numbers(runner.model.seen, 0)) == list(range(24))
    assert all(sorted(upper) == [0, 1, 2, 3] for _, upper in runner.model.seen)


@pytest.mark.parametrize(
    'options, error, message',
    [
        (dict(upper_part=1.0), ValueError, 'between 0 and 1'),
        (dict(search_begin=0), ValueError, 'search_begin must be at least 1'),
        (dict(upper_batch_size=0), ValueError, 'upper_batch_size must be at least 1'),
        (dict(upper_part=0.01), UserError, 'leaves one of the parts empty'),
        (dict(dataset=NoisyDataset()), UserError, 'NoisyDataset cannot be split'),
        (dict(model=Plain()), UserError, 'Plain has no search step'),
    ],
)
def test_bad_input(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        make_runner(tmp_path, **options).train()


TINY_SEARCH = f"""
_base_ = ['{CONFIGS}/tim_demo_search.py']
model = dict(fuser=dict(width=2, candidates=('eca_3', 'residual_3_1'), cells=[dict(kind='chain', length=2)]))
train_dataloader = dict(batch_size=2, dataset=dict(length=8, size=(64, 64)))
val_dataloader = dict(dataset=dict(length=2, size=(64, 64)))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=2, val_interval=2, upper_batch_size=1, search_begin=1)
log_level = 'WARNING'
"""
TINY_THEN = f"""
_base_ = ['{CONFIGS}/tim_demo.py']
model = dict(fuser=dict(width=2))
train_dataloader = dict(batch_size=2, dataset=dict(length=4, size=(64, 64)))
val_dataloader = dict(dataset=dict(length=2, size=(64, 64)))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1, val_interval=1)
log_level = 'WARNING'
"""


@pytest.fixture
def files(tmp_path):
    for name, text in dict(tiny_search=TINY_SEARCH, tiny_then=TINY_THEN).items():
        (tmp_path / f'{name}.py').write_text(text)
    return tmp_path


def test_search_writes_the_genotype_and_trains_it(files):
    printed = io.StringIO()
    with redirect_stdout(printed):
        path = search(
            parse_search_args(
                [
                    str(files / 'tiny_search.py'),
                    '--work-dir',
                    str(files / 'work'),
                    '--then',
                    str(files / 'tiny_then.py'),
                ]
            )
        )
    genotype = load_genotype(path)
    assert path == files / 'work' / 'genotype.json' and len(genotype.cells[0].operations) == 2
    assert (
        'genotype found' in printed.getvalue()
        and f'cells.0.1    {genotype.cells[0].operations[1]}' in printed.getvalue()
    )
    pictures = sorted(file.name for file in (files / 'work' / 'architecture').iterdir())
    assert pictures == ['epoch_0.png', 'epoch_2.png', 'latest.png']
    scalars = [
        line for file in (files / 'work').glob('*/vis_data/scalars.json') for line in file.read_text().splitlines()
    ]
    assert any('architecture/cells.0.0/eca_3' in line for line in scalars) and any(
        'search.entropy' in line for line in scalars
    )
    trained = torch.load(files / 'work' / 'tiny_then' / 'epoch_1.pth', weights_only=False)['state_dict']
    names = {name.split('.')[5] for name in trained if name.startswith('fuser.cells.0.operations.1.')}
    assert names == (
        {'score', 'conv', 'activation'}
        if genotype.cells[0].operations[1] == 'eca_3'
        else {'depthwise', 'context', 'pointwise', 'norm', 'activation'}
    )
    assert (
        json.loads((files / 'work' / 'tiny_then' / 'searched_genotype.json').read_text())['cells'][0]['kind'] == 'chain'
    )


def test_a_resumed_search_repeats_an_uninterrupted_one(files):

    def run(name, stop_after=None, resume=False):
        cfg = Config.fromfile(files / 'tiny_search.py')
        cfg.update(
            work_dir=str(files / name),
            resume=resume,
            experiment_name=f'search_real_{next(COUNT)}',
            val_dataloader=None,
            val_cfg=None,
            val_evaluator=None,
        )
        cfg.custom_hooks.extend([dict(type=StopAfterEpochs, epochs=stop_after)] if stop_after else [])
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner

    whole, first = run('whole'), run('pieces', stop_after=1)
    assert not torch.equal(first.model.fuser.architecture.alpha, whole.model.fuser.architecture.alpha)
    second = run('pieces', resume=True)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


@pytest.mark.parametrize('answer', ['auto', None])
def test_other_processes_do_as_the_main_one_says(tmp_path, monkeypatch, answer):
    """They must not look at files that the main one has perhaps not written yet, or written already."""
    told = []
    monkeypatch.setattr(search_module, 'is_main_process', lambda: False)
    monkeypatch.setattr(search_module, 'broadcast_object_list', lambda data: data.__setitem__(0, answer))
    monkeypatch.setattr(search_module, 'train', told.append)
    retrain(
        argparse.Namespace(then='then.py', work_dir=str(tmp_path), resume='auto', cfg_options=None),
        tmp_path / 'absent.json',
    )
    assert told[0].resume == answer and told[0].cfg_options == {'model.fuser.genotype': str(tmp_path / 'absent.json')}
    assert not list(tmp_path.iterdir())


def test_configs_that_do_not_suit(files):
    with pytest.raises(UserError, match='trains a BilevelCoupling; a search needs'):
        search(parse_search_args([str(files / 'tiny_then.py')]))
    with pytest.raises(UserError, match='has no genotype to replace'):
        search(parse_search_args([str(files / 'tiny_search.py'), '--then', str(CONFIGS / 'moe_fusion_demo.py')]))
    (files / 'no_fuser.py').write_text("model = dict(type='FusionOnly')\n")
    with pytest.raises(UserError, match='has no genotype to replace'):
        search(parse_search_args([str(files / 'tiny_search.py'), '--then', str(files / 'no_fuser.py')]))
    with pytest.raises(ValueError, match='have no 2 positions and 3 candidates'):
        draw_architecture(torch.zeros(2, 2).numpy(), ['a', 'b'], ['c', 'd', 'e'], files / 'x.png')
