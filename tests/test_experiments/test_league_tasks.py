"""Task networks of a league: a segmentor as it was loaded, and trainings on the pictures of every method."""

import csv
import json

import numpy as np
import pytest
import tiny_league
import torch
from mmengine.config import Config
from tiny_runs import SEGMENTOR, write_run

from mmfusion.experiments.league import league
from mmfusion.experiments.league import measure as measure_module
from mmfusion.experiments.league.course import train_and_test
from mmfusion.experiments.verification import format_verification, verify
from mmfusion.fileio.image_reading import read_image
from mmfusion.models.scoped import build_scoped


@pytest.fixture
def segmentor(tmp_path):
    """A tiny segmentor of the nine classes of MSRS, and pairs with class maps in the layout of MSRS."""
    config = write_run(tmp_path, 'joint', epochs=1)
    torch.manual_seed(0)
    torch.save(dict(state_dict=build_scoped(SEGMENTOR).state_dict()), tmp_path / 'segmentor.pth')
    network = dict(SEGMENTOR, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'segmentor.pth')))
    pairs = dict(
        msrs=dict(title='MSRS', dataset=dict(type='MSRSSegDataset', data_root=f'{tmp_path}/MSRS/', split='test'))
    )
    return config, network, pairs


def settings(folder, **changes):
    content = tiny_league.config(folder / 'unused', metrics=('EN',), **changes)
    return dict(
        content,
        methods=dict(average=dict(model='AverageFuser', kind='rule'), maximum=dict(model='MaximumFuser', kind='rule')),
    )


def test_a_segmentor_looks_at_the_pictures(segmentor, tmp_path):
    """Its answers for one picture are those of the network itself; mIoU is that of all pixels together."""
    _, network, pairs = segmentor
    result = league(
        settings(tmp_path, pairs=pairs, networks=dict(seg=dict(title='Tiny', network=network))),
        tmp_path / 'work',
        resamples=100,
    )
    assert not result.failed and not result.missing
    answer = result.standing.sets['msrs'].answers['seg']
    assert answer.metric == 'mIoU' and 'mIoU, MSRS' in result.files['markdown'].read_text()
    assert 'mIoU' in result.files['page'].read_text()
    record = answer.records['maximum']
    plain = build_scoped(SEGMENTOR).eval()
    plain.load_state_dict(torch.load(tmp_path / 'segmentor.pth')['state_dict'])
    for index, name in enumerate(record.names):
        picture = read_image(next((tmp_path / 'work').glob(f'cells/maximum/msrs_pictures-*/{name}.png')))
        truth = read_image(tmp_path / f'MSRS/test/Segmentation_labels/{name}.png')[..., 0]
        inputs = (
            torch.from_numpy(np.broadcast_to(picture, (32, 32, 3))[..., ::-1].copy()).permute(2, 0, 1)[None] - 127.5
        ) / 60
        with torch.no_grad():
            found = plain.encode_decode(inputs, [dict(img_shape=(32, 32))]).argmax(1)[0].numpy()
        expected = np.zeros((9, 9))
        np.add.at(expected, (truth, found), 1)
        np.testing.assert_array_equal(record.confusion[index], expected)
    total = record.confusion.sum(0)
    union = total.sum(0) + total.sum(1) - np.diag(total)
    assert answer.values['maximum'].value == pytest.approx(np.mean(np.diag(total)[union > 0] / union[union > 0]))
    assert not verify(tmp_path / 'work', 1).findings


def test_a_training_per_method(segmentor, tmp_path, monkeypatch):
    """The protocol of ``mmfusion downstream`` on the pictures of each method; what is through is read, and an
    interruption costs one seed.
    """
    config, _, pairs = segmentor
    own = tmp_path / 'own'
    course = dict(
        title='trained tiny',
        config=str(config),
        seeds=(0, 1),
        options={'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1},
    )
    content = settings(tmp_path, pairs=pairs, courses=dict(seg=course))
    own.mkdir()
    for name in ('test0', 'test1'):
        (own / f'{name}.png').write_bytes((tmp_path / f'MSRS/test/vi/{name}.png').read_bytes())
    trained = []

    def interrupted(cfg, name, facts):
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(cfg.work_dir)
        return train_and_test(cfg, name, facts)

    monkeypatch.setattr('mmfusion.experiments.league.course.train_and_test', interrupted)
    with pytest.raises(KeyboardInterrupt):
        league(content, tmp_path / 'work', [f'own={own}'], only=['average'])
    trained[:] = [None] * 2
    result = league(content, tmp_path / 'work', [f'own={own}'], resamples=100)
    assert not result.failed and not result.missing and len(trained) == 5  # one of average, two of maximum
    assert 'a training needs those of its own pairs' in result.skipped['own, seg']
    cells = {name: next((tmp_path / 'work').glob(f'cells/{name}/seg-*')) for name in ('average', 'maximum')}
    metrics = {name: json.loads((cell / 'result.json').read_text())['values'] for name, cell in cells.items()}
    rows = {
        row['method']: row
        for row in csv.DictReader(result.files['csv'].read_text().splitlines())
        if row['column'] == 'seg_mIoU'
    }
    for name, seeds in metrics.items():
        found = [seeds[seed]['seg/mIoU'] / 100 for seed in ('0', '1')]
        assert float(rows[name]['value']) == pytest.approx(np.mean(found), rel=1e-5)
        assert (float(rows[name]['low']), float(rows[name]['high'])) == pytest.approx(
            (min(found), max(found)), rel=1e-5
        )
        assert len(list((cells[name] / 'fused/train').glob('*.png'))) == 6
        seen = Config.fromfile(cells[name] / 'seed0' / 'config.py')
        assert seen.train_cfg.max_epochs == 1 and seen.model.fuser.type == 'SourceFuser'
    assert metrics['average'] != metrics['maximum'] and 'trained tiny' in result.files['page'].read_text()

    monkeypatch.setattr('mmfusion.experiments.league.course.train_and_test', lambda *_: pytest.fail('trained twice'))
    assert league(content, tmp_path / 'work', resamples=100).standing.courses['seg'] == metrics
    checked = verify(tmp_path / 'work', 1)
    assert not checked.findings, format_verification(checked)
    assert any('loss of the first batch computed again' in note for note in checked.notes)


def test_a_training_whose_pairs_are_not_there_is_left_out(segmentor, tmp_path, monkeypatch):
    """With the reason, before anything is measured; a config that does not exist is an error."""
    config, _, pairs = segmentor
    course = dict(
        title='trained tiny', config=str(config), options={'train_dataloader.dataset.data_root': 'data/nowhere/'}
    )
    monkeypatch.setattr(measure_module, 'evaluate_metrics', lambda *_, **__: dict(EN=torch.tensor(1.0)))
    result = league(settings(tmp_path, pairs=pairs, courses=dict(seg=course)), tmp_path / 'work', resamples=100)
    assert result.skipped['average, seg'].startswith('no pairs to train with: ') and not result.failed
    assert (
        'data/nowhere' in result.skipped['average, seg']
        and 'no pairs to train with' in result.files['page'].read_text()
    )
