"""Scoring folders: values, matching, resuming, damaged files, worker processes, batches, tables, plots."""

import csv
import json
import os

import cv2
import numpy as np
import pytest
import torch

import mmfusion.evaluation.functional as MF
from mmfusion.evaluation import protocols as MP
from mmfusion.evaluation.folders import evaluation as fusion_evaluation
from mmfusion.evaluation.folders import scoring as fusion_scoring
from mmfusion.evaluation.folders.evaluation import evaluate_folders
from mmfusion.evaluation.folders.matching import Scene, find_scenes, name_methods
from mmfusion.evaluation.folders.report import format_report, list_protocols
from mmfusion.evaluation.folders.scoring import Rating, load_image, score_in_batches, score_on_cpu
from mmfusion.evaluation.reports.plots import plot, scale
from mmfusion.evaluation.reports.summary import Summary
from mmfusion.evaluation.reports.tables import mean_ranks, tabulate, to_latex, to_markdown, to_text
from mmfusion.fileio.errors import PairDataError
from mmfusion.utils import UserError

METRICS = ('EN', 'SD', 'MI', 'SSIM')


def picture(seed, shape=(40, 48), dtype=np.uint8):
    noise = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
    return cv2.blur(noise, (3, 3))


@pytest.fixture
def folders(tmp_path):
    """Three pairs (color and gray) and two methods, the second with jpg files."""
    for i, name in enumerate('abc'):
        first, second = picture(i, (40, 48, 3)), picture(10 + i)
        grey = cv2.cvtColor(first, cv2.COLOR_BGR2GRAY)
        for folder, file, image in (
            ('vi', f'{name}.png', first),
            ('ir', f'{name}.bmp', second),
            ('mean', f'{name}.png', grey // 2 + second // 2),
            ('max', f'{name}.jpg', np.maximum(grey, second)),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            assert cv2.imwrite(str(tmp_path / folder / file), image)
    return tmp_path


def run(folders, methods=('mean', 'max'), metrics=METRICS, **options):
    return evaluate_folders(
        name_methods([str(folders / method) for method in methods]),
        str(folders / 'vi'),
        str(folders / 'ir'),
        metrics,
        out_dir=str(folders / 'out'),
        progress=False,
        **options,
    )


def rows_of(result):
    with open(result.files['images'], newline='') as file:
        return list(csv.DictReader(file))


@pytest.fixture
def scored(monkeypatch):
    """Names of what is scored and not taken from the journal."""
    names, original = [], fusion_scoring.score_scene

    def counting(scene, rating):
        names.extend((scene.name, method) for method in scene.fused)
        return original(scene, rating)

    monkeypatch.setattr(fusion_scoring, 'score_scene', counting)
    return names


def test_values_are_those_of_the_metrics(folders):
    result = run(folders)
    assert (result.scored, result.total, result.failures) == (6, 6, [])
    rows = rows_of(result)
    assert len(rows) == 6 and {row['protocol'] for row in rows} == {'default'}
    assert [(row['name'], row['method']) for row in rows[:3]] == [('a', 'mean'), ('a', 'max'), ('b', 'mean')]
    row = rows[4]
    images = [load_image(str(folders / file)) for file in ('mean/c.png', 'vi/c.png', 'ir/c.bmp')]
    expected = MP.evaluate_metrics(METRICS, *MP.prepare_images(images))
    assert 'SSIM_first' in expected
    assert {key: float(row[key]) for key in expected} == pytest.approx(
        {key: value.item() for key, value in expected.items()}, rel=1e-12
    )
    means = result.summaries['mean'].statistics()
    assert means['SSIM'].mean == pytest.approx(
        np.mean([float(row['SSIM']) for row in rows if row['method'] == 'mean']), rel=1e-14
    )
    assert result.milliseconds > 0


def test_colour_order_is_rgb(folders):
    image = load_image(str(folders / 'vi' / 'a.png'))
    assert image.shape == (1, 3, 40, 48) and image.dtype == torch.uint8
    stored = cv2.imread(str(folders / 'vi' / 'a.png'))
    assert (image[0, 0].numpy() == stored[..., 2]).all()
    grey = cv2.cvtColor(stored.astype(np.float32), cv2.COLOR_BGR2GRAY)
    assert np.abs(MF.to_grey(image)[0, 0].numpy() - grey).max() <= 0.51


def test_16_bit_files_are_scaled(folders):
    levels = picture(1).astype(np.uint16)
    cv2.imwrite(str(folders / 'deep.png'), levels * 257)
    cv2.imwrite(str(folders / 'raw.png'), levels * 64)  # 14 bits: level 255 is 16320 of 16383
    assert (MF.to_uint8(load_image(str(folders / 'deep.png')))[0, 0].numpy() == levels).all()
    raw = MF.to_uint8(load_image(str(folders / 'raw.png'), bit_depth=14))[0, 0].numpy().astype(int)
    assert np.abs(raw - levels).max() <= 1


def test_second_run_scores_what_is_new_or_changed(folders, scored):
    first = rows_of(run(folders))
    assert len(scored) == 6
    scored.clear()
    again = run(folders)
    assert not scored and again.reused == 6 and rows_of(again) == first and np.isnan(again.milliseconds)
    cv2.imwrite(str(folders / 'mean' / 'b.png'), picture(77))
    changed = rows_of(run(folders))
    assert scored == [('b', 'mean')]
    assert [i for i, (old, new) in enumerate(zip(first, changed)) if old != new] == [2]
    scored.clear()
    os.utime(folders / 'ir' / 'c.bmp', ns=(1, 1))  # a source counts as well
    run(folders)
    assert scored == [('c', 'mean'), ('c', 'max')]


def test_metrics_protocols_and_depths_do_not_mix(folders, scored, monkeypatch):
    monkeypatch.setitem(MP.PROTOCOLS, 'other', MP.Protocol('other', 'another', dict(EN=MP.get_metric('SD'))))
    run(folders, ['mean'], ['EN'])
    entropies = [row['EN'] for row in rows_of(run(folders, ['mean'], ['EN']))]
    assert len(scored) == 3
    other = run(folders, ['mean'], ['EN'], protocol='other')
    assert (
        len(scored) == 6
        and [row['EN'] for row in rows_of(other)] != entropies
        and rows_of(other)[0]['protocol'] == 'other'
    )
    run(folders, ['mean'], ['EN', 'SD'])
    assert len(scored) == 9
    assert [row['EN'] for row in rows_of(run(folders, ['mean'], ['EN']))] == entropies and 'SD' not in rows_of(
        run(folders, ['mean'], ['EN'])
    )[0]
    assert len(scored) == 9
    run(folders, ['mean'], ['EN'], bit_depth=12)
    assert len(scored) == 12
    run(folders, ['mean'], ['EN'], bit_depth=12, resume=False)
    assert len(scored) == 15


def test_stopped_run_goes_on(folders, scored, monkeypatch):
    original = fusion_evaluation.score_on_cpu

    def stops(*args):
        for i, score in enumerate(original(*args)):
            if i == 3:
                raise KeyboardInterrupt
            yield score

    monkeypatch.setattr(fusion_evaluation, 'score_on_cpu', stops)
    with pytest.raises(KeyboardInterrupt):
        run(folders)
    monkeypatch.setattr(fusion_evaluation, 'score_on_cpu', original)
    journal = folders / 'out' / 'journal.jsonl'
    journal.write_bytes(journal.read_bytes()[:-20])  # killed while it wrote the third line
    scored.clear()
    result = run(folders)
    assert (result.reused, result.scored) == (2, 6) and len(scored) == 4
    assert (
        all(json.loads(line)['values'] for line in journal.read_text().splitlines() if line.endswith('}'))
        and run(folders).reused == 6
    )


def test_bad_files_are_named_and_the_rest_is_scored(folders):
    (folders / 'mean' / 'a.png').write_bytes((folders / 'mean' / 'a.png').read_bytes()[:100])
    cv2.imwrite(str(folders / 'max' / 'a.jpg'), picture(3, (40, 50)))
    (folders / 'max' / 'b.jpg').unlink()
    result = run(folders)
    assert (result.scored, result.total) == (3, 6) and result.summaries['mean'].n_images == 1
    report = format_report(result)
    for part in (
        'a (mean): image file',
        'a.png is truncated',
        'a (max):',
        'has 50x40 pixels',
        'vi/a.png 48x40',
        'b (max): no such image',
        '3 of 6 fused images scored',
    ):
        assert part in report, report


def test_methods_are_compared_on_images_that_all_have(folders):
    (folders / 'mean' / 'a.png').write_bytes(b'')
    (folders / 'extra').mkdir()
    result = run(folders)
    assert result.scored == 5 and all(summary.n_images == 2 for summary in result.summaries.values())
    assert len(rows_of(result)) == 5 and 'compared on the 2 images' in format_report(result)
    cv2.imwrite(str(folders / 'extra' / 'a.png'), picture(0))
    with pytest.raises(UserError, match='mean, extra have no image in common'):
        run(folders, ['mean', 'extra'])


def test_a_bad_source_costs_its_pair(folders):
    (folders / 'ir' / 'b.bmp').write_bytes(b'no image')
    result = run(folders)
    assert result.scored == 4 and [failure[:8] for failure in result.failures] == ['b (mean)', 'b (max):']


def test_nothing_to_score(folders):
    for file in (folders / 'mean').iterdir():
        file.write_bytes(b'')
    with pytest.raises(UserError, match=r'not one fused image could be scored:\n  a \(mean\): .*empty'):
        run(folders, ['mean'])


def test_unmatched_names_are_listed(folders):
    cv2.imwrite(str(folders / 'mean' / 'z.png'), picture(0))
    cv2.imwrite(str(folders / 'ir' / 'y.png'), picture(0))
    notes = '\n'.join(run(folders).notes)
    assert 'mean belong to no pair of sources: z' in notes and 'ir belong to no pair of sources: y' in notes
    assert '3 of 3 fused images of max are JPEG' in notes and 'of mean are JPEG' not in notes
    for file in (folders / 'mean').iterdir():
        file.rename(file.with_name(f'{file.stem}_fused.png'))
    with pytest.raises(UserError, match='no fused image has the name of a pair.*a_fused'):
        run(folders, ['mean'])
    assert run(folders, ['mean'], suffixes=('_fused', '', '')).scored == 3
    cv2.imwrite(str(folders / 'mean' / 'a_fused.bmp'), picture(0))
    with pytest.raises(PairDataError, match=r'a_fused\.(bmp|png).*same name'):
        run(folders, ['mean'], suffixes=('_fused', '', ''))


def test_wrong_arguments_say_what_there_is(folders):
    with pytest.raises(UserError, match="has no metric 'XYZ', it has .*EN"):
        run(folders, metrics=['XYZ'])
    with pytest.raises(UserError, match='unknown protocol.*default'):
        run(folders, protocol='mine')
    with pytest.raises(UserError, match='no folder'):
        name_methods([str(folders / 'gone')])
    with pytest.raises(UserError, match='two methods are called .mean.*NAME=DIR'):
        name_methods([str(folders / 'mean'), f'mean={folders / "max"}'])
    with pytest.raises(UserError, match='no pair of images with the same name'):
        (folders / 'empty').mkdir()
        find_scenes(dict(mean=str(folders / 'mean')), str(folders / 'vi'), str(folders / 'empty'))


def test_worker_processes_give_the_same(folders):
    scenes = find_scenes(
        dict(mean=str(folders / 'mean'), max=str(folders / 'max')), str(folders / 'vi'), str(folders / 'ir')
    )[0]
    rating = Rating(METRICS)
    here = {(score.name, score.method): score.values for score in score_on_cpu(scenes, rating)}
    apart = {(score.name, score.method): score.values for score in score_on_cpu(scenes, rating, workers=2)}
    assert here.keys() == apart.keys() and len(here) == 6
    for key, values in here.items():
        assert apart[key] == pytest.approx(values, rel=1e-12)  # where arrays begin in memory decides how sums are split


@pytest.mark.parametrize('batch_size', [1, 2, 5])
def test_batches_give_the_same(folders, batch_size):
    for folder, shape in (('vi', (40, 60, 3)), ('ir', (40, 60)), ('mean', (40, 60)), ('max', (40, 60))):
        cv2.imwrite(str(folders / folder / 'b.png'), picture(5, shape))  # another size in the middle
    for old in ('ir/b.bmp', 'max/b.jpg'):
        (folders / old).unlink()
    (folders / 'mean' / 'c.png').write_bytes(b'')
    scenes = find_scenes(
        dict(mean=str(folders / 'mean'), max=str(folders / 'max')), str(folders / 'vi'), str(folders / 'ir')
    )[0]
    single = {score[:2]: score for score in score_on_cpu(scenes, Rating(METRICS))}
    batched = {score[:2]: score for score in score_in_batches(scenes, Rating(METRICS), 'cpu', batch_size)}
    assert single.keys() == batched.keys() and len(single) == 6
    for key, score in single.items():
        assert score.error == batched[key].error and score.files == batched[key].files
        assert batched[key].values == pytest.approx(score.values, rel=1e-12)


@pytest.mark.gpu
def test_gpu_gives_the_same(folders):
    device, rows = run(folders, device='cuda', batch_size=2, resume=False), rows_of(run(folders, resume=False))
    for one, other in zip(rows_of(device), rows):
        assert [float(one[key]) for key in METRICS] == pytest.approx([float(other[key]) for key in METRICS], rel=1e-10)


def test_reading_stays_near_the_scoring(folders, monkeypatch):
    """However many scenes there are, only a few are read ahead."""
    read, taken = [], 0
    monkeypatch.setattr(
        fusion_scoring, 'load_scene', lambda scene, rating: read.append(scene.name) or iter([(scene, None)])
    )
    for _ in fusion_scoring._read_ahead((Scene(str(i), '', '', {}) for i in range(200)), Rating(METRICS), 2):
        taken += 1
        assert len(read) <= taken + 2 * fusion_scoring.AHEAD + 1
    assert taken == 200


@pytest.fixture
def summaries():
    made = {}
    for method, (entropy, error) in {'a_1': (7.0, 2.0), 'b': (6.0, 1.0), 'c': (6.5, 1.0)}.items():
        made[method] = Summary(['EN', 'QCV', 'SD'])
        for i in (-0.5, 0.5):
            made[method].add(f'i{i}', dict(EN=entropy + i, QCV=error + i, SD=float('nan') if method == 'c' else 3e-5))
    return made


@pytest.fixture(autouse=True)
def lower_is_better(monkeypatch):
    """A metric with the other direction, whatever the protocol holds."""
    monkeypatch.setitem(
        MP.PROTOCOLS['default'].metrics,
        'QCV',
        MP.MetricSpec(None, 'visible error', higher_is_better=False, caution='mind the size'),
    )


def test_ranks_follow_the_direction(summaries):
    entries = tabulate(summaries)
    assert [entry.ranks for entry in entries[:2]] == [dict(a_1=1, b=3, c=2), dict(a_1=3, b=1.5, c=1.5)]
    assert mean_ranks(entries) == dict(
        a_1=pytest.approx((1 + 3 + 1.5) / 3), b=pytest.approx((3 + 1.5 + 1.5) / 3), c=pytest.approx(1.75)
    )
    assert scale(entries[0]) == dict(a_1=1, b=0, c=0.5) and scale(entries[1]) == dict(a_1=0, b=1, c=1)


def test_markdown(summaries):
    lines = to_markdown(summaries).splitlines()
    assert (
        lines[0].startswith("Fusion metrics, protocol 'default'")
        and 'mean over 2 images ± standard deviation' in lines[0]
    )
    assert lines[2] == '| method | EN ↑ | QCV ↓ | SD ↑ | mean rank |'
    assert (
        lines[4]
        == '| a_1 | **7.0000 ± 0.7071 (1)** | <u>2.0000 ± 0.7071 (3)</u> | **3.00e-05 ± 0.0000 (1.5)** | 1.83 |'
    )
    assert lines[6].split(' | ')[3] == '-'
    assert '- QCV: mind the size' in lines and any(line.startswith('- c: SD undefined for 2 of 2') for line in lines)


def test_latex(summaries):
    text = to_latex(summaries)
    assert r'\caption{Fusion metrics, protocol ' in text and r'\begin{tabular}{lcccc}' in text and r'\toprule' in text
    assert (
        r'a\_1 & \textbf{7.0000}$\,\pm\,$0.7071 & \underline{2.0000}' in text
        and r'QCV~$\downarrow$' in text
        and r'\cdot 10^{-5}' in text
    )
    assert text.count('{') == text.count('}') and '% QCV: mind the size' in text
    assert len({line.count('&') for line in text.splitlines() if '&' in line}) == 1


def test_many_metrics_become_rows(summaries, monkeypatch):
    monkeypatch.setattr('mmfusion.evaluation.reports.tables.WIDE', 2)
    assert to_markdown(summaries).splitlines()[2] == '| metric | a_1 | b | c |'
    assert to_text(summaries).splitlines()[2].split()[:3] == ['EN', '↑', '7.0000']


def test_one_method_has_no_ranks(summaries):
    alone = {'a_1': summaries['a_1']}
    text = to_markdown(alone)
    assert 'rank' not in text and '**' not in text and '(1)' not in to_text(alone)


@pytest.mark.parametrize('kind', ['bars', 'radar'])
def test_plots_are_pictures(summaries, kind, tmp_path):
    path = plot(summaries, kind, tmp_path / 'new' / f'{kind}.png')
    image = cv2.imread(path)
    assert min(image.shape[:2]) > 200 and image.std() > 5
    with pytest.raises(UserError, match='cannot write the plot'):
        plot(summaries, kind, tmp_path / 'plot.xyz')


def test_radar_needs_something_to_compare(summaries, tmp_path):
    with pytest.raises(UserError, match='at least two methods'):
        plot({'b': summaries['b']}, 'radar', tmp_path / 'a.png')
    with pytest.raises(ValueError, match='bars'):
        plot(summaries, 'pie', tmp_path / 'a.png')


def test_list_names_everything():
    text = list_protocols()
    for protocol in MP.PROTOCOLS.values():
        assert f'{protocol.name}: {protocol.title}' in text
    assert 'visible error, lower is better' in text and 'mind the size' in text
