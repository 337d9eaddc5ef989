"""The converter, on state dicts made from the list of the official code's keys."""

import importlib.util
from itertools import chain

import pytest
import recorded
import torch
from mmengine.config import Config

from mmfusion.cli import convert_tim
from mmfusion.models.fusers import TIM, TwoStageTIM
from mmfusion.models.fusers.tim import load_genotype
from mmfusion.models.fusers.tim.conversion import convert_checkpoint
from mmfusion.utils.errors import UserError
from mmfusion.utils.shipped import shipped_config

C = 8


def norm(place, c):
    return {
        **{f'{place}.{name}': (c,) for name in ('weight', 'bias', 'running_mean', 'running_var')},
        f'{place}.num_batches_tracked': (),
    }


def operation(place, name, c):
    kind, k = (
        name.rsplit('_', 2)[0] if name.count('_') > 1 else name.rsplit('_', 1)[0],
        int(name.split('_')[-2 if name[-2:] in ('_1', '_2') else -1]),
    )
    dw, pw = (c, 1, k, k), (c, c, 1, 1)
    shapes = dict(
        residual={'op.0.conv': dw, 'op.1': (c, 1, 3, 3), 'op.2': pw, 'op.4': (1,)},
        dense={**{f'conv{i}.conv': (c, i, k, k) for i in (1, 2, 3)}, 'lrelu': (1,)},
        dil_conv={'op.1.conv': dw, 'op.2': pw},
        sep_conv={'op.1': dw, 'op.2': pw, 'op.5': dw, 'op.6': pw},
        eca={'conv1': (c, c, 3, 3), 'se.conv': (1, 1, k), 'relu': (1,)},
        spatial={'se.spatial.conv': (1, 2, k, k)},
    )[kind]
    norms = dict(residual=['op.3'], dil_conv=['op.3'], sep_conv=['op.3', 'op.7']).get(kind, [])
    return {
        **{f'{place}.{key}.weight': shape for key, shape in shapes.items()},
        **dict(chain(*(norm(f'{place}.{n}', c).items() for n in norms))),
    }


def cells(place, genotype, c):
    shapes = {}
    for n, cell in enumerate(load_genotype(genotype).cells):
        at = f'{place}.{n}'
        shapes.update({f'{at}.preprocess1.op.1.weight': (c, c, 1, 1), **norm(f'{at}.preprocess1.op.2', c)})
        scales = (('_ops', c), ('_ops_1', 2 * c), ('_ops_2', 4 * c)) if cell.kind == 'multiscale' else (('_ops', c),)
        for ops, width in scales:
            for j, name in enumerate(cell.operations):
                shapes.update(operation(f'{at}.{ops}.{j}._op', name, width))
        if cell.kind == 'multiscale':
            for body, w in (('down_2.body.0', c), ('down_4.body.0', c), ('down_4.body.1', 2 * c)):
                shapes.update(
                    {
                        f'{at}.{body}.{key}': shape
                        for key, shape in {
                            'top.0.weight': (w, w, 1, 1),
                            'top.1.weight': (1,),
                            'top.2.weight': (w, w, 3, 3),
                            'top.3.weight': (1,),
                            'top.4.filt': (w, 1, 3, 3),
                            'top.5.weight': (2 * w, w, 1, 1),
                            'bot.0.filt': (w, 1, 3, 3),
                            'bot.1.weight': (2 * w, w, 1, 1),
                        }.items()
                    }
                )
            for body, w in (('upsample_2.body.0', 2 * c), ('upsample_4.body.0', 4 * c), ('upsample_4.body.1', 2 * c)):
                shapes.update(
                    {
                        f'{at}.{body}.{key}.weight': shape
                        for key, shape in {
                            'top.0': (w, w, 1, 1),
                            'top.1': (1,),
                            'top.2': (w, w, 3, 3),
                            'top.3': (1,),
                            'top.4': (w // 2, w, 1, 1),
                            'bot.1': (w // 2, w, 1, 1),
                        }.items()
                    }
                )
            hidden = max(c // 8, 4)
            shapes.update(
                {
                    f'{at}.SKFF.conv_du.0.weight': (hidden, c, 1, 1),
                    f'{at}.SKFF.conv_du.1.weight': (1,),
                    **{f'{at}.SKFF.fcs.{i}.weight': (c, hidden, 1, 1) for i in range(3)},
                }
            )
    return shapes


def convs(place, *layers):
    """Convolutions with bias at the given places of a sequence: (place, output, input, kernel)."""
    return dict(
        chain(
            *(
                (
                    ((f'{place}.{n}.conv2d.weight', (o, i, k, k)), (f'{place}.{n}.conv2d.bias', (o,)))
                    for n, o, i, k in layers
                )
            )
        )
    )


def official_stage1(genotype, c=C):
    return {
        **convs('stem', (0, 2 * c, 2, 3), (2, c, 2 * c, 3)),
        'stem.1.weight': (1,),
        'stem.3.weight': (1,),
        **cells('cells', genotype, c),
        **convs('stem_out', (0, c, c, 3), (2, c // 2, c, 3), (3, 1, c // 2, 1)),
        'stem_out.1.weight': (1,),
    }


def official_stage2(first, second, mask, c=C):
    """``first`` is the genotype of the first argument, which runs as cells3."""
    shapes = {'spa.spatial.conv.weight': (1, 3, 1, 1)} if mask else {}
    for n in (2, 3):
        shapes.update(
            {
                **convs(f'stem{n}', (0, 2 * c, 2, 3), (2, c, 2 * c, 3)),
                f'stem{n}.1.weight': (1,),
                f'stem{n}.4.weight': (1,),
                **norm(f'stem{n}.3', c),
                **convs(f'stem_out{n}', (0, c, c, 3), (2, c // 2, c, 3), (3, 1, c // 2, 1)),
                f'stem_out{n}.1.weight': (1,),
            }
        )
    shapes.update(convs('stem_out4', (0, c, c if mask else 2 * c, 3), (1, c // 2, c, 3), (2, 1, c // 2, 1)))
    return {**shapes, **cells('cells3', first, c), **cells('cells2', second, c)}


def filled(shapes):
    row = torch.tensor([1.0, 2.0, 1.0]) / 4
    return {
        key: (row[:, None] * row).expand(shape).clone()
        if key.endswith('filt')
        else torch.tensor(7)
        if key.endswith('tracked')
        else torch.rand(shape)
        for key, shape in shapes.items()
    }


def two_stages(branches, merge='mask'):
    return Config(dict(fuser=dict(type='TwoStageTIM', width=C, branches=branches, merge=merge)))


IVIF = dict(visible='ivif_visible', infrared='ivif_infrared')


def write(path, state):
    torch.save(state, path)
    return path


def converted(tmp_path, task, states, config):
    files = [write(tmp_path / f'weights_{n}.pt', state) for n, state in enumerate(states, 1)]
    weights = convert_checkpoint(task, files, tmp_path / 'new' / 'out.pth', config)
    saved = torch.load(tmp_path / 'new' / 'out.pth', weights_only=True)
    assert saved['meta']['converted_from'] == ' and '.join(file.name for file in files)
    assert saved['state_dict'].keys() == weights.keys() and all(key.startswith('fuser.') for key in weights)
    return {key.removeprefix('fuser.'): value for key, value in weights.items()}


def test_the_official_numbers_of_entries():
    assert len(official_stage1('fusion', 48)) == 131 and len(official_stage1('fusion_light', 48)) == 49
    assert len(official_stage2('ivif_visible', 'ivif_infrared', True, 48)) == 91


def test_keys_are_those_of_the_original():
    nets = recorded.load('tim')['nets']
    stage2 = official_stage2('ivif_visible', 'ivif_infrared', True, 48)
    for name, shapes in (('ivif_fusion', official_stage1('fusion', 48)), ('ivif_enhance', stage2)):
        assert {key: tuple(value.shape) for key, value in nets[name].items()} == shapes


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: state,
        lambda state: dict(state_dict=state),
        lambda state: {f'module.{key}': value for key, value in state.items()},
    ],
    ids=['bare', 'wrapped', 'parallel'],
)
def test_ivif(tmp_path, wrap):
    one, two = filled(official_stage1('fusion')), filled(official_stage2('ivif_visible', 'ivif_infrared', True))
    weights = converted(tmp_path, 'ivif', [wrap(one), wrap(two)], two_stages(IVIF))
    fuser = TwoStageTIM(width=C)
    fuser.load_state_dict(weights)
    assert torch.equal(
        fuser.stage1.stem[0].weight[:, 0], one['stem.0.conv2d.weight'][:, 1]
    )  # visible: second there, first here
    assert torch.equal(fuser.branches['visible'].stem[0].weight, two['stem2.0.conv2d.weight'])
    assert torch.equal(
        fuser.branches['visible'].cells[1].operations[0].conv.weight, two['cells3.1._ops.0._op.conv1.weight']
    )
    assert torch.equal(
        fuser.branches['infrared'].cells[0].operations[1].norm.running_var, two['cells2.0._ops.1._op.op.3.running_var']
    )
    assert torch.equal(fuser.branches['infrared'].auxiliary[2].bias, two['stem_out3.2.conv2d.bias'])
    cell = fuser.stage1.cells[0]
    assert torch.equal(cell.chain_quarter[0].context.weight, one['cells.0._ops_2.0._op.op.1.weight'])
    assert torch.equal(cell.down_quarter[1].project.weight, one['cells.0.down_4.body.1.top.5.weight'])
    assert torch.equal(cell.up_quarter[0].shortcut.weight, one['cells.0.upsample_4.body.0.bot.1.weight'])
    assert torch.equal(cell.merge.scores[2].weight, one['cells.0.SKFF.fcs.2.weight'])
    assert torch.equal(fuser.merge.head[1].weight, two['stem_out4.1.conv2d.weight'])


def test_light_and_stage1_alone(tmp_path):
    state = filled(official_stage1('fusion_light'))
    weights = converted(
        tmp_path, 'light', [state], Config(dict(fuser=dict(type='TIM', genotype='fusion_light', width=C)))
    )
    assert torch.equal(weights['stem.0.weight'], state['stem.0.conv2d.weight'])  # already visible, infrared
    TIM('fusion_light', width=C).load_state_dict(weights)
    state = filled(official_stage1('fusion'))
    weights = converted(tmp_path, 'ivif', [state], Config(dict(fuser=dict(type='TIM', width=C))))
    assert torch.equal(weights['stem.0.weight'], state['stem.0.conv2d.weight'].flip(1))


@pytest.mark.parametrize('other, order', [('ct', ('mri', 'ct')), ('pet', ('pet', 'mri')), ('spect', ('mri', 'spect'))])
def test_medical(tmp_path, other, order):
    task, names = f'mri_{other}', {name: f'mri_{other}_{name}' for name in ('mri', other)}
    one, two = filled(official_stage1('fusion')), filled(official_stage2(names[order[0]], names[order[1]], False))
    weights = converted(tmp_path, task, [one, two], two_stages(names, 'concat'))
    swapped = order[0] != 'mri'
    assert torch.equal(
        weights['stage1.stem.0.weight'], one['stem.0.conv2d.weight'].flip(1) if swapped else one['stem.0.conv2d.weight']
    )
    assert torch.equal(weights[f'branches.{order[0]}.stem.2.weight'], two['stem2.2.conv2d.weight'])
    head = two['stem_out4.0.conv2d.weight']
    assert torch.equal(
        weights['merge.head.0.weight'], torch.cat([head[:, C:], head[:, :C]], dim=1) if swapped else head
    )


def test_counters_may_be_missing(tmp_path):
    state = {
        key: value for key, value in filled(official_stage1('fusion_light')).items() if not key.endswith('tracked')
    }
    weights = converted(
        tmp_path, 'light', [state], Config(dict(fuser=dict(type='TIM', genotype='fusion_light', width=C)))
    )
    assert weights['cells.0.preprocess.norm.num_batches_tracked'] == 0


DAMAGES = {
    'missing stem.2.bias': lambda state: state.pop('stem.2.conv2d.bias'),
    'unexpected keys: stem.4.weight': lambda state: state.update({'stem.4.weight': torch.rand(1)}),
    r'head.0.weight has shape \(3, 8, 3, 3\)': lambda state: state.update(
        {'stem_out.0.conv2d.weight': torch.rand(3, 8, 3, 3)}
    ),
    'top.4.filt is not the 3x3 binomial filter': lambda state: state['cells.0.down_2.body.0.top.4.filt'].mul_(2),
}


@pytest.mark.parametrize('words', DAMAGES)
def test_strict(tmp_path, words):
    state = filled(official_stage1('fusion'))
    DAMAGES[words](state)
    with pytest.raises(UserError, match=f'(?s)weights_1.pt.*{words}'):
        convert_checkpoint(
            'ivif',
            [write(tmp_path / 'weights_1.pt', state)],
            tmp_path / 'out.pth',
            Config(dict(fuser=dict(type='TIM', width=C))),
        )
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.parametrize(
    'task, number, config, words',
    [
        ('vif', 1, dict(type='TIM', width=C), 'unknown task'),
        ('ivif', 2, dict(type='TIM', width=C), 'comes from 1 file, one per stage; got 2'),
        ('ivif', 1, dict(type='TwoStageTIM', width=C), 'comes from 2 files'),
        ('mri_ct', 2, dict(type='TwoStageTIM', width=C), 'does not suit the branches visible, infrared'),
        ('light', 2, dict(type='TwoStageTIM', width=C), 'does not suit'),
        ('light', 1, dict(type='TIM', width=C, genotype='fusion_light'), 'is not a checkpoint of TIM'),
    ],
)
def test_wrong_calls(tmp_path, task, number, config, words):
    with pytest.raises(UserError, match=words):
        convert_checkpoint(
            task, [write(tmp_path / 'a.pt', dict(epoch=1))] * number, tmp_path / 'out.pth', Config(dict(fuser=config))
        )


def test_command(repo_dir, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location('tim_official', repo_dir / 'tools/model_converters/tim_official.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for task in convert_tim.CONFIGS.values():
        assert shipped_config(f'{convert_tim.FUSERS}/{task}.py').is_file()
    one = write(tmp_path / 'weights_1.pt', filled(official_stage1('fusion')))
    two = write(tmp_path / 'weights_2.pt', filled(official_stage2('mri_pet_pet', 'mri_pet_mri', False)))
    tool.main(['mri_pet', str(one), str(two), str(tmp_path / 'out.pth'), '--cfg-options', f'fuser.width={C}'])
    assert 'for TwoStageTIM' in capsys.readouterr().out and (tmp_path / 'out.pth').is_file()
    tool.main(['mri_pet', str(one), str(tmp_path / 'stage1.pth'), '--cfg-options', f'fuser.width={C}'])
    assert '125 entries for TIM' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        tool.main(['mri_ct', str(one), str(two), str(tmp_path / 'out2.pth'), '--cfg-options', f'fuser.width={C}'])
    assert 'unexpected keys' in capsys.readouterr().err
