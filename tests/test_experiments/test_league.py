"""League of fusers: what is measured and what is not, what users add, interruptions, full disks, tables."""

import csv
import json
import os

import cv2
import numpy as np
import pytest
import tiny_league
import torch
from full_disk import FullDisk
from scipy.stats import rankdata

from mmfusion.apis import FusionInferencer, evaluate
from mmfusion.cli.main import main
from mmfusion.experiments.league import cells, league, read_settings
from mmfusion.experiments.league import measure as measure_module
from mmfusion.experiments.league.cost import fuse, measure_here
from mmfusion.experiments.league.methods import build_method
from mmfusion.experiments.league.plan import make_plan
from mmfusion.experiments.league.settings import Cost, Method
from mmfusion.experiments.league.standing import rank_methods, rank_overall
from mmfusion.experiments.locking import locked
from mmfusion.experiments.verdict.recorder import PredictionRecorder
from mmfusion.experiments.verdict.resampling import draw_weights
from mmfusion.models.fusers import MaximumFuser
from mmfusion.utils import UserError
from mmfusion.utils.shipped import config_names


@pytest.fixture
def config(tmp_path):
    return tiny_league.config(tmp_path / 'pairs')


def fused_folder(tmp_path, names=range(4), size=(40, 56), shape=(3,), folder='own'):
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    for index in names:
        cv2.imwrite(str(tmp_path / folder / f'{index:02d}.png'), rng.integers(0, 256, (*size, *shape), np.uint8))
    return tmp_path / folder


def test_figures_are_those_of_score(config, tmp_path):
    """The same pictures, rated by the command that rates folders."""
    result = league(config, tmp_path / 'work')
    part = result.standing.sets['small']
    assert list(part.means) == ['average', 'maximum', 'visible'] and not result.failed and not result.missing
    folder = next((tmp_path / 'work' / 'cells' / 'maximum').glob('small_pictures-*'))
    known = evaluate(
        folder,
        tmp_path / 'pairs/vi',
        tmp_path / 'pairs/ir',
        ['EN', 'SD', 'MI'],
        out_dir=tmp_path / 'score',
        workers=1,
        progress=False,
    )
    statistics = next(iter(known.summaries.values())).statistics()
    for metric in ('EN', 'SD', 'MI'):
        assert part.means['maximum'][metric] == pytest.approx(statistics[metric].mean, rel=1e-12)
    rows = list(csv.DictReader(result.files['csv'].read_text().splitlines()))
    value = next(row for row in rows if (row['table'], row['method'], row['column']) == ('small', 'maximum', 'EN'))
    assert float(value['value']) == pytest.approx(statistics['EN'].mean, rel=1e-5)


def test_ranks_and_their_intervals_by_hand():
    rng = np.random.default_rng(0)
    values = {name: {'EN': rng.normal(mean, 1, 12)} for name, mean in (('a', 0), ('b', 0.2), ('c', 5))}
    weights = rng.multinomial(12, np.full(12, 1 / 12), 300).astype(float)
    means, ranks, mean_rank, drawn = rank_methods(values, ['EN'], 'default', weights)
    resampled = np.array(
        [[np.repeat(values[name]['EN'], row.astype(int)).mean() for name in values] for row in weights]
    )
    places = np.stack([rankdata(-row) for row in resampled])
    assert means['c']['EN'] == pytest.approx(values['c']['EN'].mean())
    for index, name in enumerate(values):
        np.testing.assert_array_equal(drawn[name][1:], places[:, index])
        assert ranks[name]['EN'].low == min(np.quantile(places[:, index], 0.025), ranks[name]['EN'].value)
    assert (ranks['c']['EN'].value, ranks['c']['EN'].low, ranks['c']['EN'].high) == (1, 1, 1)
    assert ranks['a']['EN'].high > ranks['a']['EN'].low  # the data cannot tell a from b


def test_the_overall_rank_is_among_those_that_are_everywhere():
    rng = np.random.default_rng(0)
    one = {name: {'EN': rng.normal(mean, 0.01, 5)} for name, mean in (('a', 1), ('b', 2), ('c', 3))}
    two = {name: {'EN': rng.normal(mean, 0.01, 7)} for name, mean in (('a', 5), ('b', 4), ('d', 9))}
    weights = {name: draw_weights(count, 200) for name, count in (('one', 5), ('two', 7))}
    overall = rank_overall(dict(one=one, two=two), ['EN'], 'default', weights)
    assert {name: tuple(value) for name, value in overall.items()} == {'a': (1.5, 1.5, 1.5), 'b': (1.5, 1.5, 1.5)}


def test_done_cells_are_read(config, tmp_path, monkeypatch):
    before = league(config, tmp_path / 'work').standing.sets['small'].means
    monkeypatch.setattr(measure_module, 'evaluate_metrics', lambda *_, **__: pytest.fail('measured twice'))
    monkeypatch.setattr('mmfusion.experiments.league.cells.make_pictures', lambda *_: pytest.fail('fused twice'))
    assert league(config, tmp_path / 'work').standing.sets['small'].means == before


def test_other_facts_are_other_cells(config, tmp_path):
    """Another metric is scored on the same pictures; another picture, checkpoint or network is a cell of its own."""
    keys = {(cell.kind, cell.method): cell.key for cell in make_plan(read_settings(config)).cells}
    other = {
        (cell.kind, cell.method): cell.key for cell in make_plan(read_settings(dict(config, metrics=('EN',)))).cells
    }
    assert (
        keys['pictures', 'average'] == other['pictures', 'average']
        and keys['scores', 'average'] != other['scores', 'average']
    )
    assert len({key for (kind, _), key in keys.items() if kind == 'pictures'}) == 3
    own = fused_folder(tmp_path)
    settings = read_settings(config, [f'own={own}'])
    before = {cell.kind: cell.key for cell in make_plan(settings).cells if cell.method == 'own'}
    cv2.imwrite(str(own / '02.png'), 255 - cv2.imread(str(own / '02.png')))
    after = {cell.kind: cell.key for cell in make_plan(settings).cells if cell.method == 'own'}
    assert before['pictures'] != after['pictures'] and before['scores'] != after['scores']


def test_interrupted_in_a_cell(config, tmp_path, monkeypatch):
    """What was rated before stays: the second run rates the rest alone, a line that was cut off included."""
    rated = []

    def counting(names, fused, *sources, protocol):
        if len(rated) == 2:
            raise KeyboardInterrupt
        rated.append(1)
        return original(names, fused, *sources, protocol=protocol)

    original = measure_module.evaluate_metrics
    monkeypatch.setattr(measure_module, 'evaluate_metrics', counting)
    with pytest.raises(KeyboardInterrupt):
        league(config, tmp_path / 'work', only=['average'])
    scores = next((tmp_path / 'work').rglob('scores.jsonl'))
    scores.write_bytes(scores.read_bytes() + b'{"name": "02", "val')
    rated[:] = [1] * 3
    assert not league(config, tmp_path / 'work', only=['average']).missing
    assert len(rated) == 5  # two of four were left


@pytest.mark.parametrize('kind', ['pictures', 'network', 'cost'])
def test_interrupted_in_any_other_cell(tmp_path, monkeypatch, kind):
    """The same call goes on: pictures that are there are not fused again, finished cells are read."""
    config = tiny_league.config(
        tmp_path / 'pairs',
        pairs=dict(
            demo=dict(title='Demo', dataset=dict(type='DemoPairs', length=3, size=(64, 80), split='test'), show=1)
        ),
        networks=dict(tiny=dict(network=tiny_league.detector(tmp_path))),
        cost=dict(image_size=(32, 32), repeats=1, reference='AverageFuser'),
    )
    monkeypatch.setattr('mmfusion.experiments.league.cells.measure_cost', measure_here)
    places = dict(
        pictures=(FusionInferencer, '__call__'), network=(PredictionRecorder, 'process'), cost=(cells, 'measure_cost')
    )
    owner, name = places[kind]
    calls, original = [], getattr(owner, name)

    def interrupted(*args, **kwargs):
        calls.append(kind)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            league(config, tmp_path / 'work', only=['average', 'visible'], resamples=100)
    kept = {
        path: path.stat().st_mtime_ns for name in ('*.png', 'result.json') for path in (tmp_path / 'work').rglob(name)
    }
    assert kept
    result = league(config, tmp_path / 'work', only=['average', 'visible'], resamples=100)
    assert not result.missing and not result.failed and list(result.standing.costs) == ['average', 'visible']
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_failures_are_kept_and_others_go_on(config, tmp_path, monkeypatch):
    def broken(self, first, second):
        raise RuntimeError('no memory for this one')

    monkeypatch.setattr(MaximumFuser, 'fuse', broken)
    result = league(config, tmp_path / 'work')
    assert result.failed == {'maximum, small, pictures': 'RuntimeError: no memory for this one'}
    assert list(result.standing.sets['small'].means) == ['average', 'visible'] and result.missing == [
        'maximum, small, scores'
    ]
    assert 'no memory for this one' in result.files['page'].read_text()
    monkeypatch.undo()
    again = league(config, tmp_path / 'work')
    assert not again.failed and not again.missing and 'maximum' in again.standing.sets['small'].means


def test_rows_without_weights_are_left_out(config, tmp_path):
    config['methods'].update(
        absent=dict(model='PlainConvFuser', weights='checkpoints/none.pth', get=
            'mmfusion convert absent FILE checkpoints/none.pth'),
        random=dict(model='PlainConvFuser'))  # fmt: skip
    result = league(config, tmp_path / 'work')
    assert result.skipped['absent, small, scores'].startswith(
        'no weights: checkpoints/none.pth is not there; mmfusion convert absent'
    )
    assert 'no checkpoint was given' in result.skipped['random, small, scores']
    assert 'checkpoints/none.pth is not there' in result.files['page'].read_text() and not result.failed


def test_weights_that_do_not_fit(config, tmp_path, capsys):
    """Of another method or width, with renamed keys, cut off: one message each, and the other rows are measured."""
    states = {name: build_method(Method(name, name, model=model)).state_dict() for name, model in (
        ('own', dict(type='LRRNet', width=4)), ('other', 'DenseFuse'), ('wide', dict(type='LRRNet', width=8)))}  # fmt: skip
    states['renamed'] = {key.replace('weight', 'kernel'): value for key, value in states['own'].items()}
    for name, state in states.items():
        torch.save(dict(state_dict=state), tmp_path / f'{name}.pth')
    (tmp_path / 'cut.pth').write_bytes((tmp_path / 'own.pth').read_bytes()[:-900])
    config['methods'] = dict(average=dict(model='AverageFuser', kind='rule'), **{
        name: dict(model=dict(type='LRRNet', width=4), weights=str(tmp_path / f'{name}.pth')) for name in (*states,
            'cut')})  # fmt: skip
    path = tmp_path / 'tiny.py'
    path.write_text('\n'.join(f'{key} = {value!r}' for key, value in config.items()))
    with pytest.raises(SystemExit) as error:
        main(['league', str(path), '--work-dir', str(tmp_path / 'work')])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('failed: ')]
    assert error.value.code == 1 and len(lines) == 4
    for line, name in zip(lines, ('other', 'wide', 'renamed', 'cut')):
        assert line.startswith(f'failed: {name}: {tmp_path}/{name}.pth ')
        assert ('damaged (its end is missing)' if name == 'cut' else 'does not fit FusionOnly') in line
    page = (tmp_path / 'work/league.html').read_text()
    assert 'checkpoint (16,), model (8,)' in page and 'fuser.visible.start.kernel' in page
    assert list(league(config, tmp_path / 'work', measure=False).standing.sets['small'].means) == ['average', 'own']


def test_sets_that_are_not_there(config, tmp_path):
    config['pairs']['other'] = dict(title='Other', dataset=tiny_league.pairs_of(tmp_path / 'nowhere'))
    result = league(config, tmp_path / 'work')
    assert result.notes[0].startswith('Other is left out') and 'small' in result.standing.sets
    with pytest.raises(UserError, match='none of the sets of pairs is there:\n  Other is left out'):
        league(config, tmp_path / 'work', pairs=['other'])


@pytest.mark.parametrize('make, message', [
    (dict(names=[0, 1]), r'has no picture of 2 of the 4 pairs of small: 02, 03.*add them'),
    (dict(size=(40, 57)), r'4 pictures in .* have another size than their sources: 00 \(57x40, '
                          r'sources 56x40\).*fuse at the size'),
])  # fmt: skip
def test_pictures_that_do_not_fit(config, tmp_path, make, message):
    own = fused_folder(tmp_path, **make)
    with pytest.raises(UserError, match=message):
        league(config, tmp_path / 'work', [f'own={own}'])
    assert not (tmp_path / 'work' / 'cells').exists()  # said before anything was measured


def test_pictures_of_the_user(config, tmp_path):
    """Below a folder for the set or not; gray ones where the sources have color get a note."""
    fused_folder(tmp_path, folder='own/small')
    gray = fused_folder(tmp_path, shape=(), folder='gray')
    result = league(config, tmp_path / 'work', [f'own={tmp_path / "own"}', f'gray={gray}'], only=['average'])
    assert list(result.standing.sets['small'].means) == ['average', 'own', 'gray']
    assert len(result.notes) == 1 and result.notes[0].startswith(
        'gray: its pictures of Small are gray, the sources have color'
    )
    result = league(config, tmp_path / 'work', [f'none={tmp_path / "pairs"}'], only=['average'])
    assert result.skipped['none, small, scores'].endswith('has no picture of Small')


@pytest.mark.parametrize('text, message', [
    ('own', 'write NAME=FOLDER'),
    ('own=/no/such/folder', 'there is no folder /no/such/folder'),
    ('own=some.py,none.pth', 'there is no file none.pth'),
    ('average=.', "there is a method 'average' already"),
    ('a b=.', "'a b' cannot name a method"),
])  # fmt: skip
def test_methods_that_are_none(config, text, message):
    with pytest.raises(UserError, match=message):
        read_settings(config, [text])


@pytest.mark.parametrize('change, message', [
    (dict(method=dict()), "unknown key 'method'. Did you mean 'methods'"),
    (dict(methods={}), 'is no config of a league: it needs methods='),
    (dict(methods=dict(a=dict(modle='AverageFuser'))), "methods.a has no 'modle'"),
    (dict(methods=dict(a=dict(model='AverageFuser', kind='best'))), 'kind must be one of'),
    (dict(methods=dict(a=dict(title='A'))), 'needs a model or a folder'),
    (dict(metrics=('EN', 'XY')), "protocol 'default' has no metric 'XY'"),
    (dict(protocol='none'), "unknown protocol 'none'"),
    (dict(networks=dict(n=dict(network={}, pairs=('other',)))), 'networks.n.pairs names other'),
    (dict(networks=dict(n=dict(title='N'))), 'networks.n: missing'),
    (dict(cost=dict(repeat=3)), "cost has no 'repeat'"),
    (dict(cost=dict(repeats=0)), 'repeats of at least 1'),
])  # fmt: skip
def test_configs_that_are_none(config, change, message):
    with pytest.raises(UserError, match=message):
        read_settings({**config, **change})


def test_unknown_rows_and_sets(config):
    with pytest.raises(UserError, match="no method 'avrage'. Did you mean 'average'"):
        read_settings(config, only=['avrage'])
    with pytest.raises(UserError, match="no set of pairs 'smal'"):
        read_settings(config, pairs=['smal'])


def test_a_detector_looks_at_the_pictures(tmp_path):
    """Of rendered pairs with boxes: figures, intervals, boxes on the page; without labels or weights there is a
    reason.
    """
    pairs = dict(
        demo=dict(title='Demo', dataset=dict(type='DemoPairs', length=3, size=(64, 80), split='test'), show=1),
        small=dict(title='Small', dataset=tiny_league.pairs_of(tmp_path / 'pairs')),
    )
    network = tiny_league.detector(tmp_path)
    absent = dict(network, init_cfg=dict(type='Pretrained', checkpoint='none.pth'))
    networks = dict(tiny=dict(title='Tiny', network=network), absent=dict(network=absent))
    result = league(
        tiny_league.config(tmp_path / 'pairs', pairs=pairs, networks=networks),
        tmp_path / 'work',
        only=['average', 'visible'],
    )
    assert not result.failed
    answer = result.standing.sets['demo'].answers['tiny']
    assert answer.metric == 'mAP50' and set(answer.values) == {'average', 'visible'}
    assert all(0 <= value.low <= value.value <= value.high <= 1 or value.value == 0 for value in answer.values.values())
    assert len(answer.records['average'].found.score) > 0
    assert result.skipped['average, small, tiny'] == 'Small has no labels'
    assert result.skipped['average, demo, absent'] == 'no weights: none.pth is not there'
    assert (
        'mAP50, Demo' in result.files['markdown'].read_text()
        and ' missed</figcaption>' in result.files['page'].read_text()
    )


def test_costs():
    """Counted by hand: 48 809 parameters, and a product for each weight of a convolution and each pixel of its
    output.
    """
    cost = Cost(image_size=(64, 48), repeats=4)
    result = measure_here(Method('own', 'own', model='plain_conv_rendered'), cost, 'cpu')
    convolutions, fuser = [], build_method(Method('own', 'own', model='plain_conv_rendered'))
    for module in fuser.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(
                lambda module, _, output: convolutions.append(
                    module.weight.numel() * output.shape[-2] * output.shape[-1]
                )
            )
    fuse(fuser, (48, 64), 'cpu')()
    assert (
        result['parameters'] == 48_809 and len(result['rounds']) == 4 and result['cpu_ms'] > 0 and result['memory'] >= 0
    )
    assert 1e9 * result['gmac'] == pytest.approx(
        sum(convolutions)
    )  # its pyramid consists of sums, no products of modules
    assert result['times'] == pytest.approx(np.median(result['rounds']))


@pytest.mark.slow
def test_costs_in_a_process_of_their_own(config, tmp_path):
    config.update(cost=dict(image_size=(64, 48), repeats=5, reference='plain_conv_rendered'))
    config['methods'] = dict(
        own=dict(model='plain_conv_rendered', kind='mmfusion'), wrong=dict(model=dict(type='AverageFuser', weight=3))
    )
    with pytest.raises(ValueError, match='weight must lie'):  # said when the plan is made
        league(config, tmp_path / 'work')
    del config['methods']['wrong']
    result = league(config, tmp_path / 'work')
    cost = result.standing.costs['own']
    assert cost['parameters'] == 48_809 and len(cost['rounds']) == 5 and cost['machine']['torch_threads'] == 1


def test_a_network_that_takes_infrared_first(tmp_path):
    """Its sources are exchanged, so that all methods are given visible before infrared."""
    first = Method('a', 'a', model=dict(type='SourceFuser', source='first'))
    swapped = first._replace(sources=('infrared', 'visible'))
    images = dict(first=torch.zeros(1, 3, 16, 16), second=torch.ones(1, 1, 16, 16))
    assert build_method(first).fuse(images).image.mean() == 0 and build_method(swapped).fuse(images).image.mean() == 1


def test_a_full_disk_while_the_page_is_written(config, tmp_path, monkeypatch):
    """One message that says what to do; the former page stays, every measurement too."""
    league(config, tmp_path / 'work', only=['average', 'maximum'])
    before = (tmp_path / 'work/league.html').read_text()
    league(config, tmp_path / 'work')  # everything is measured
    (tmp_path / 'work/league.html').write_text(before)
    for room in range(4):
        with monkeypatch.context() as patch:
            FullDisk(patch, room)
            with pytest.raises(
                OSError,
                match='cannot write .*No space left.*Every measurement is kept: free space, and the same command',
            ):
                league(config, tmp_path / 'work')
        assert (tmp_path / 'work/league.html').read_text() == before
    monkeypatch.setattr(measure_module, 'evaluate_metrics', lambda *_, **__: pytest.fail('measured twice'))
    assert 'visible alone' in league(config, tmp_path / 'work').files['page'].read_text()


def test_a_full_disk_in_a_cell(config, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        FullDisk(patch, 3)
        with pytest.raises(OSError, match='cannot write .*No space left'):
            league(config, tmp_path / 'work', only=['average'])
    kept = list((tmp_path / 'work').rglob('0*.png'))
    assert kept
    times = {path: path.stat().st_mtime_ns for path in kept}
    assert not league(config, tmp_path / 'work', only=['average']).missing
    assert {path: path.stat().st_mtime_ns for path in kept} == times


def test_a_cell_of_another_process_is_left_to_it(config, tmp_path):
    cell = make_plan(read_settings(config, only=['average'])).cells[0]
    folder = cell.folder(tmp_path / 'work')
    folder.mkdir(parents=True)
    with locked(folder / 'lock') as mine:
        assert mine
        result = league(config, tmp_path / 'work', only=['average'])
    assert result.missing == ['average, small, pictures', 'average, small, scores'] and not result.failed


@pytest.mark.slow
def test_several_processes_measure_the_same(config, tmp_path):
    alone = league(config, tmp_path / 'alone').standing.sets['small']
    shared = league(config, tmp_path / 'shared', workers=2)
    assert shared.standing.sets['small'].means == alone.means and not shared.missing
    assert shared.standing.sets['small'].mean_rank == alone.mean_rank


def test_tables_mark_best_and_second(config, tmp_path):
    result = league(config, tmp_path / 'work')
    table = result.tables[1]
    entropy = next(column for column in table.columns if column.key == 'EN')
    order = sorted(entropy.values, key=lambda name: -entropy.values[name].value)
    assert [entropy.places().get(name) for name in order] == [1, 2, None]
    markdown, latex = result.files['markdown'].read_text(), result.files['latex'].read_text()
    assert f'**{entropy.text(order[0])}**' in markdown and f'<u>{entropy.text(order[1])}</u>' in markdown
    assert rf'\textbf{{{entropy.text(order[0])}}}' in latex and latex.count(r'\toprule') == len(result.tables) == 2


def test_command(config, tmp_path, capsys):
    path = tmp_path / 'tiny.py'
    path.write_text('\n'.join(f'{key} = {value!r}' for key, value in config.items()))
    main(['league', str(path), '--work-dir', str(tmp_path / 'work'), '--only', 'average', 'maximum'])
    assert 'written: ' in capsys.readouterr().out
    result = json.loads(next((tmp_path / 'work').rglob('small_scores-*/result.json')).read_text())
    assert result['facts']['protocol'] == 'default' and result['machine']['torch']
    with pytest.raises(SystemExit) as error:
        main(['league', str(path), '--work-dir', str(tmp_path / 'work'), '--method', 'own=/no/such/folder'])
    assert error.value.code == 2 and 'there is no folder /no/such/folder' in capsys.readouterr().err


def test_the_shipped_config_can_be_read(repo_dir, monkeypatch):
    """Its methods exist, and all trained models are in it."""
    from mmfusion.model_zoo import list_models
    from mmfusion.model_zoo.catalog import SHIPPED

    monkeypatch.chdir(os.path.dirname(repo_dir))  # by its name, from any folder
    settings = read_settings('league_ivif')
    assert {card.name for card in list_models()[0] if card.folder == SHIPPED} == {
        method.model for method in settings.methods.values() if method.kind == 'mmfusion'
    }
    published = [name.removesuffix('_ivif') for name in config_names() if name.endswith('_ivif')]
    ours = {'plain_conv', 'refusion', 'moe_fusion', 'tdfusion', 'tim', 'league'}
    assert [name for name in published if name not in settings.methods and name not in ours] == []

    trained = read_settings('league_ivif_trained')
    assert trained.methods == settings.methods and [*trained.courses] == ['msrs_det'] and not settings.courses
