"""``mmfusion verify`` on the folder of a league: what was changed is named, and a sample of every cell is computed
again.
"""

import json
import shutil

import cv2
import pytest
import tiny_league
import torch
from tiny_detectors import fcos

from mmfusion.experiments.league import league
from mmfusion.experiments.league.cost import measure_here
from mmfusion.experiments.verification import format_verification, verify
from mmfusion.fileio.reading import read_json
from mmfusion.models.couplings import FusionOnly


@pytest.fixture(scope='module')
def original(tmp_path_factory):
    """Two sets, one with boxes and a split; a rule, a network with weights, pictures of a user; scores, a detector,
    costs.
    """
    folder = tmp_path_factory.mktemp('original')
    write_night(folder / 'night')
    shutil.copytree(tiny_league.write_pairs(folder / 'small') / 'vi', folder / 'own/small')
    torch.manual_seed(0)
    torch.save(dict(state_dict=FusionOnly(fuser=dict(type='PlainConvFuser')).state_dict()), folder / 'plain.pth')
    tiny_league.detector(folder, 1)
    measure(folder)
    return folder


def measure(folder):
    night = dict(type='CocoPairDataset', data_root=f'{folder}/night/', coco_file='boxes.json', ann_file='test.txt',
                 data_prefix=dict(first='vi', second='ir'))  # fmt: skip
    network = dict(fcos(1), init_cfg=dict(type='Pretrained', checkpoint=str(folder / 'detector.pth')))
    config = dict(
        methods=dict(average=dict(model='AverageFuser', kind='rule'),
                     plain=dict(model=dict(type='PlainConvFuser'), weights=str(folder / 'plain.pth')),
                     own=dict(folder=str(folder / 'own'), kind='yours')),
        pairs=dict(small=dict(title='Small', dataset=tiny_league.pairs_of(folder / 'small')),
                   night=dict(title='Night', dataset=night)),
        metrics=('EN', 'SD', 'MI'),
        networks=dict(tiny=dict(network=network, pairs=('night',))),
        cost=dict(image_size=(48, 32), repeats=1, reference='AverageFuser'),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            'mmfusion.experiments.league.cells.measure_cost', measure_here
        )  # a process of its own takes seconds
        result = league(config, folder / 'work', resamples=100)
    assert not result.failed and not result.missing and not result.notes


def write_night(folder):
    """Four pairs with a box each, of which a split lists three."""
    tiny_league.write_pairs(folder, 4, seed=1)
    (folder / 'test.txt').write_text('00\n01\n02\n')
    images = [dict(id=index, file_name=f'{index:02d}.png', height=40, width=56) for index in range(4)]
    boxes = [
        dict(id=index, image_id=index, category_id=1, bbox=[4, 6, 20, 16], area=320, iscrowd=0) for index in range(4)
    ]
    (folder / 'boxes.json').write_text(
        json.dumps(dict(images=images, annotations=boxes, categories=[dict(id=1, name='car')]))
    )


@pytest.fixture
def place(original, tmp_path):
    """A copy in another place, as on another machine."""
    shutil.copytree(original, tmp_path / original.name)
    folder = tmp_path / original.name
    for path in folder.rglob('places.json'):
        path.write_text(path.read_text().replace(str(original), str(folder)))
    return folder


def findings(folder, sample=0):
    """Sentences by cell, as ``average/small_scores``."""
    found = {}
    for finding in verify(folder / 'work', sample).findings:
        found.setdefault(finding.result.removeprefix('cells/').split('-')[0], set()).add(finding.text)
    return found


def change_pixels(path):
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    image[:8, :8] ^= 64
    cv2.imwrite(str(path), image)


def change_text(place, pattern, before, after):
    (path,) = (place / 'work').glob(pattern)
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))


def test_an_unchanged_league_is_computed_again(place):
    result = verify(place / 'work', 2)
    text = format_verification(result)
    assert not result.findings, text
    for cell, done in (
        ('plain/small_pictures', '2 of 4 pictures fused again'),
        ('own/small_scores', '2 of 4 pictures scored again (default)'),
        ('plain/night_tiny', 'tiny has looked at 2 of 3 pictures again'),
        ('plain/cost', 'parameters and operations counted again'),
    ):
        assert any(f'cells/{cell}' in line and done in line for line in text.splitlines()), (cell, text)
    settings = read_json(place / 'work' / 'manifest.json')['entries']['league']['config']
    assert (
        settings['resolved']['methods']['plain']['weights'] == '@' + place.name + '/plain.pth'
        and len(settings['sha256']) == 64
    )


def test_every_change_is_named_and_shows_in_what_is_computed_again(place):
    """A pixel of a source, one of a fused picture, weights of a fuser and of a detector, a line of a split, a label, a
    version, a figure.
    """
    change_pixels(place / 'small/vi/01.png')
    change_pixels(next((place / 'work').glob('cells/average/night_pictures-*/02.png')))
    for name in ('plain', 'detector'):
        content = torch.load(place / f'{name}.pth', weights_only=False)
        for value in content['state_dict'].values():
            if value.is_floating_point():
                value += 0.1
        torch.save(content, place / f'{name}.pth')
    (place / 'night/test.txt').write_text('00\n01\n03\n')
    boxes = json.loads((place / 'night/boxes.json').read_text())
    boxes['annotations'][0]['bbox'][0] += 1
    (place / 'night/boxes.json').write_text(json.dumps(boxes))
    change_text(place, 'cells/own/small_scores-*/manifest.json', '"numpy": "', '"numpy": "0.')
    change_text(place, 'cells/own/small_scores-*/result.json', '"EN": ', '"EN": 1')

    found = findings(place, None)
    assert "data 'pairs': @small/vi/01.png has changed" in found['average/small_pictures']
    assert named(found['average/small_pictures'], '01: fused again, ') and named(
        found['average/small_scores'], '01: MI was '
    )
    assert {'output 02.png has changed'} <= found['average/night_pictures']
    assert not named(found['average/night_pictures'], '02: fused again, ')  # no longer among the pairs of the split
    assert named(found['plain/night_pictures'], 'weights fusion: ') and named(
        found['plain/night_pictures'], '00: fused again, '
    )
    assert named(found['average/night_tiny'], 'weights network: ') and named(
        found['average/night_tiny'], '00: scores differ from'
    )
    assert {f"split 'pairs': {line}" for line in ('02 is gone', '03 is new', 'the labels of 00 have changed')} <= found[
        'plain/night_scores'
    ]
    assert any('test.txt has changed' in text for text in found['plain/night_scores'])
    assert named(found['own/small_scores'], 'package numpy: the result was made with 0.')
    assert 'output result.json has changed' in found['own/small_scores'] and named(
        found['own/small_scores'], '00: EN was 1'
    )
    assert 'average/cost' not in found


def named(texts, start):
    return any(text.startswith(start) for text in texts)


def test_a_manifest_that_is_gone_is_named_and_written_by_the_next_run(place):
    """A process may end between a result and its manifest; the other cells are checked, and what is written later says
    so.
    """
    (path,) = (place / 'work').glob('cells/average/cost-*/manifest.json')
    path.unlink()
    assert findings(place) == {'average/cost': {'its manifest is gone, or was never written'}}
    measure(place)
    result = verify(place / 'work', 0)
    assert any(
        'cells/average/cost' in note and 'measured before its manifest was written' in note for note in result.notes
    )
    assert not result.findings, format_verification(result)
