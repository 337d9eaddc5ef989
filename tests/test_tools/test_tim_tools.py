"""Commands around searched and meta-learned networks: what they write, and what they say of bad input."""

import importlib.util
import json

import pytest
import torch
from tiny_config import CONFIGS

from mmfusion.models.fusers import TIM

ADAPTATION = """
pipeline = [dict(type='LoadPair'), dict(type='PackFusionInputs')]
loader = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
              dataset=dict(type='DemoPairs', length=2, size=(64, 80), pipeline=pipeline))
model = dict(type='MetaInitCoupling', fuser=dict(type='TIM', genotype='fusion_light', width=4),
             fusion_loss=dict(saliency=dict(type='SaliencyFusionLoss')))
train_dataloader = loader
test_dataloader = loader
adaptation = dict(points=(0, 1), metrics=('EN', ))
"""


@pytest.fixture
def tool(repo_dir):

    def load(name):
        spec = importlib.util.spec_from_file_location(name, repo_dir / f'tools/analysis_tools/{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main

    return load


def refusal(main, capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_latency_table_of_a_search(tool, tmp_path, capsys):
    main, out = tool('measure_latency'), tmp_path / 'sub' / 'latency.json'
    options = ['model.fuser.width=2', "model.fuser.candidates=['eca_3','spatial_3']"]
    main(
        [
            str(CONFIGS / 'tim_demo_search.py'),
            '--out',
            str(out),
            '--shape',
            '16',
            '20',
            '--repeats',
            '1',
            '--cfg-options',
            *options,
        ]
    )
    table = json.loads(out.read_text())
    assert table['size'] == [16, 20] and set(table['milliseconds']) == {
        f'cells.{i}.{j}' for i in range(2) for j in range(2)
    }
    assert all(set(row) == {'eca_3', 'spatial_3'} and min(row.values()) > 0 for row in table['milliseconds'].values())
    assert 'one image of 16x20' in capsys.readouterr().out
    (tmp_path / 'no_fuser.py').write_text("model = dict(type='FusionOnly')\n")
    assert 'its model has no fuser' in refusal(main, capsys, tmp_path / 'no_fuser.py')
    assert 'no mixtures of candidates' in refusal(main, capsys, CONFIGS / 'tim_demo.py')


def test_adaptation_curves(tool, tmp_path, capsys):
    main, config, weights = tool('adaptation_curves'), tmp_path / 'adapt.py', tmp_path / 'init.pth'
    config.write_text(ADAPTATION)
    torch.save(
        dict(state_dict={f'fuser.{name}': value for name, value in TIM('fusion_light', width=4).state_dict().items()}),
        weights,
    )
    main([str(config), '--init', f'meta={weights}', '--seeds', '0', '--work-dir', str(tmp_path / 'out')])
    rows = (tmp_path / 'out' / 'adaptation.csv').read_text().splitlines()
    assert rows[0] == 'init,seed,step,loss,EN' and [row.split(',')[:3] for row in rows[1:]] == [
        [name, '0', step] for name in ('meta', 'random') for step in '01'
    ]
    printed = capsys.readouterr()
    assert (
        'the loss that meta has after 1: random needs' in printed.out
        and 'init_weights' not in printed.out + printed.err
    )
    for init, message in (
        ('meta', 'NAME=CHECKPOINT'),
        ('a b=x', 'NAME=CHECKPOINT'),
        (f'meta={tmp_path / "none.pth"}', 'checkpoint not found'),
        (f'random={weights}', 'choose another'),
    ):
        assert message in refusal(main, capsys, config, '--init', init, '--work-dir', tmp_path / 'other')
