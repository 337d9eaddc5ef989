"""Doctor for data sets of pairs: each check on pairs with its fault and without, reports, checks of users, wrong
options.
"""

import csv
import json
import re

import cv2
import numpy as np
import pytest
from warped_scenes import moved, scene

from mmfusion.cli.main import main
from mmfusion.experiments.doctor import examine, pairs_of_config, pairs_of_folders
from mmfusion.experiments.doctor.check import Case, NotJudged, build_checks
from mmfusion.experiments.doctor.checks.boxes import BoxesCheck
from mmfusion.experiments.doctor.checks.labels import close_name
from mmfusion.experiments.doctor.checks.places import PartnerCheck, Place
from mmfusion.experiments.doctor.checks.polarity import PolarityCheck
from mmfusion.experiments.doctor.checks.swapped import SwappedCheck
from mmfusion.experiments.doctor.examination import judge_all, look_at
from mmfusion.experiments.doctor.loaded_pair import LoadedPair
from mmfusion.experiments.doctor.matching import Match
from mmfusion.experiments.doctor.pairs import PairEntry, Problem
from mmfusion.utils import UserError

COUNT = 8


def colored(gray, seed=0):
    """A gray picture with some color, (H, W, 3)."""
    noise = np.random.default_rng(seed).normal(0, 6, (*gray.shape, 3))
    return np.clip(gray[..., None] * np.array([0.8, 0.95, 1.0]) + noise, 0, 255).astype(np.uint8)


def write(folder, name, visible, infrared):
    for key, image in (('vi', visible), ('ir', infrared)):
        (folder / key).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / key / name), image)


@pytest.fixture(scope='module')
def pictures():
    """Visible and infrared pictures of scenes."""
    pairs = [scene(seed, (120, 160)) for seed in range(COUNT)]
    return [(colored(visible, seed), infrared) for seed, (visible, infrared) in enumerate(pairs)]


@pytest.fixture
def data(tmp_path, pictures):
    for number, (visible, infrared) in enumerate(pictures):
        write(tmp_path, f'{number}.png', visible, infrared)
    return tmp_path


def entries(folder, **options):
    return pairs_of_folders([folder / 'vi', folder / 'ir'], **options)


def found(folder, *checks, **options):
    """(pair, check) of all findings."""
    result = examine(entries(folder, **options), checks or None)
    return {(finding.entry.name, finding.check) for finding in result.findings}


def test_sound_pairs(data, capsys):
    main(['doctor', str(data / 'vi'), str(data / 'ir'), '--workers', '1'])  # exit code 0
    printed = capsys.readouterr().out
    assert f'examined {COUNT} pairs' in printed and 'nothing found' in printed
    assert f'partner ({COUNT})' in printed and f'registration ({COUNT})' in printed
    assert 'not judged, which is not sound:' in printed
    assert f'polarity: {COUNT} pairs, ' in printed and f'class_maps: {COUNT} pairs, no class map' in printed


@pytest.mark.parametrize(
    'scale, degrees, shift', [(1.0, 0.0, (9.0, -4.0)), (1.07, 0.0, (0.0, 0.0)), (1.0, 5.0, (0.0, 0.0))]
)
def test_registration(data, pictures, scale, degrees, shift):
    write(data, '3.png', pictures[3][0], moved(pictures[3][1], scale, degrees, shift)[0])
    assert ('3', 'registration') in found(data, 'registration')
    assert found(data, 'registration') == {('3', 'registration')}


def test_the_shift_is_told(data, pictures):
    """The message says where the second image has to go: back by what it was moved."""
    write(data, '3.png', pictures[3][0], moved(pictures[3][1], 1.0, 0.0, (9.0, -4.0))[0])
    (finding,) = examine(entries(data), ['registration']).findings
    x, y = map(int, re.search(r'moved by \((-?\d+), (-?\d+)\)', finding.message).groups())
    assert abs(x + 9) <= 1 and abs(y - 4) <= 1
    assert abs(finding.value * 160 - np.hypot(9, 4)) < 2  # part of the longer side


def test_partner(data, pictures):
    write(data, '2.png', pictures[2][0], pictures[5][1])
    write(data, '5.png', pictures[5][0], pictures[2][1])
    result = examine(entries(data), ['partner'])
    assert {(finding.entry.name, finding.other.name) for finding in result.findings} == {('2', '5'), ('5', '2')}


@pytest.mark.parametrize('usual,reported', [(12.0, {'3'}), (7.0, set())])
def test_a_set_whose_pairs_agree_well_expects_more(tmp_path, pictures, usual, reported):
    """Strangers reach 5.4 noise levels at times: too little where pairs have 12, as they often do, and nothing odd
    among pairs that have 7.
    """
    for number, (visible, _) in enumerate(pictures):
        write(tmp_path, f'{number}.png', visible, visible[..., 0])
    write(tmp_path, '3.png', pictures[3][0], np.random.default_rng(0).integers(0, 255, (120, 160), dtype=np.uint8))
    rests = [usual + number / 10 for number in range(COUNT)]
    rests[3] = 5.2
    cases = [
        Case(entry, Place(Match(rest, rest, 0.0, (0, 0), 1.0, 0.0), 1.0))
        for entry, rest in zip(entries(tmp_path), rests)
    ]
    assert {verdict.entry.name for verdict in PartnerCheck().judge(cases)} == reported


def test_files(data, pictures):
    content = (data / 'vi' / '1.png').read_bytes()
    (data / 'vi' / '1.png').write_bytes(content[: len(content) // 2])
    (data / 'ir' / '2.png').unlink()
    cv2.imwrite(str(data / 'ir' / '3.png'), pictures[3][1][:100])
    torn = pictures[4][0].copy()
    torn[90:] = 128
    cv2.imwrite(str(data / 'vi' / '4.png'), torn)
    result = examine(entries(data))
    messages = {finding.entry.name: finding.message for finding in result.findings if finding.check == 'files'}
    assert 'is truncated' in messages['1'] and 'has no second image' in messages['2']
    assert '160x120 pixels, the second 160x100' in messages['3'] and 'the last 30 of 120 rows' in messages['4']
    assert set(messages) == {'1', '2', '3', '4'}
    assert result.reasons('constant') == {'a file cannot be read': 2} and result.judged('constant') == COUNT - 2


def test_tones(data, pictures):
    visible, infrared = pictures[0]
    write(data, '0.png', visible, np.full_like(infrared, 90))
    write(data, '1.png', np.clip(pictures[1][0].astype(int) * 4 + 60, 0, 255).astype(np.uint8), pictures[1][1])
    write(data, '2.png', pictures[2][0], pictures[2][1].astype(np.uint16))
    write(data, '3.png', pictures[3][0], pictures[3][1].astype(np.uint16) * 257)
    write(data, '4.png', cv2.cvtColor(pictures[4][0][..., 1], cv2.COLOR_GRAY2BGR), pictures[4][1])
    write(data, '5.png', pictures[5][0][..., 1], pictures[5][1])
    write(data, '6.png', pictures[6][0], pictures[6][1].astype(np.uint16) * 40)
    listed = found(data, 'constant', 'saturated', 'depth', 'gray')
    assert listed == {
        ('0', 'constant'),
        ('1', 'saturated'),
        ('2', 'depth'),
        ('3', 'depth'),
        ('6', 'depth'),
        ('4', 'gray'),
        ('5', 'gray'),
    }


def test_depth_is_right_where_the_pipeline_scales(data, pictures):
    write(data, '6.png', pictures[6][0], pictures[6][1].astype(np.uint16) * 40)
    scaled = [entry._replace(scaled=(False, True)) for entry in entries(data)]
    assert not examine(scaled, ['depth']).findings


def test_gray_sets_are_not_judged(tmp_path, pictures):
    for number, (visible, infrared) in enumerate(pictures[:3]):
        write(tmp_path, f'{number}.png', visible[..., 1], infrared)
    result = examine(entries(tmp_path), ['gray'])
    assert not result.findings and result.reasons('gray') == {'a set of gray visible images': 3}


def test_duplicates(data, pictures):
    write(data, '8.png', *pictures[1])
    for key, image in zip(('vi', 'ir'), pictures[2]):  # written anew
        cv2.imwrite(str(data / key / '9.jpg'), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    write(data, '91.png', scene(40, (120, 160))[0], pictures[3][1])
    result = examine(entries(data), ['duplicates'])
    others = {finding.entry.name: (finding.other.name, finding.message) for finding in result.findings}
    assert {name: other for name, (other, _) in others.items()} == {'8': '1', '9': '2', '91': '3'}
    assert 'both images' in others['8'][1] and 'written anew' in others['9'][1]
    assert others['91'][1].startswith('the infrared image is that of')


def test_splits(data, pictures, tmp_path):
    test = tmp_path / 'test'
    write(test, 'a.png', *pictures[0])  # the same pair
    shift = np.array([[1, 0, 4.0], [0, 1, 0]])
    later = [cv2.warpAffine(image, shift, (160, 120), borderMode=cv2.BORDER_REFLECT) for image in pictures[1]]
    write(test, 'b.png', *later)
    visible, infrared = scene(30, (120, 160))
    write(test, 'c.png', colored(visible), infrared)
    both = pairs_of_folders([data / 'vi', data / 'ir', test / 'vi', test / 'ir'])
    result = examine(both, ['splits'])
    assert {(finding.entry.name, finding.other.name) for finding in result.findings} == {('a', '0'), ('b', '1')}


def test_swapped_by_color(data, pictures):
    write(data, '2.png', pictures[2][1], pictures[2][0])
    assert found(data, 'swapped') == {('2', 'swapped')}


def test_swapped_without_color():
    """Of gray pairs, the discriminant of the set tells; sets that it does not tell apart are not judged."""
    rng = np.random.default_rng(0)
    check = SwappedCheck()

    def case(number, sign):
        difference = sign * np.array([0.3, 0.2, 0.1, 0, 1, 0.8, 0.5, 0, 0.1]) + rng.normal(0, 0.1, 9)
        entry = PairEntry('set', str(number), 'a', 'b')
        return Case(entry, type('Looks', (), dict(color=(0.0, 0.0), difference=difference.astype(np.float32))))

    cases = [case(number, -1 if number in (3, 17) else 1) for number in range(40)]
    assert {verdict.entry.name for verdict in check.judge(cases)} == {'3', '17'}
    few = list(check.judge(cases[:10]))
    assert len(few) == 10 and all('does not tell them apart' in verdict.reason for verdict in few)


def person(size=(96, 128), polarity=1, seed=0):
    """An infrared picture with warm people, and their boxes."""
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 12, size)
    image += 10 * cv2.GaussianBlur(rng.normal(0, 1, size), (0, 0), 6) * 6
    boxes = []
    for x in (20, 70):
        x1, y1 = x + int(rng.integers(0, 20)), int(rng.integers(10, 40))
        image[y1 : y1 + 30, x1 : x1 + 12] += 90
        boxes.append(('person', (float(x1), float(y1), x1 + 12.0, y1 + 30.0)))
    image = np.clip(image, 0, 255).astype(np.uint8)
    return image if polarity > 0 else 255 - image, tuple(boxes)


def pairs_with_people(folder, count, inverted=()):
    listed = []
    for number in range(count):
        infrared, boxes = person(seed=number, polarity=-1 if number in inverted else 1)
        visible = colored(scene(number, (96, 128))[0])
        write(folder, f'{number:02d}.png', visible, infrared)
        path = f'{number:02d}.png'
        listed.append(
            PairEntry('set', f'{number:02d}', str(folder / 'vi' / path), str(folder / 'ir' / path), boxes=boxes)
        )
    return listed


def test_polarity(tmp_path):
    result = examine(pairs_with_people(tmp_path, 12, inverted=(4, 9)), ['polarity'])
    assert {finding.entry.name for finding in result.findings} == {'04', '09'}
    whole = examine(pairs_with_people(tmp_path, 12, inverted=range(12)), ['polarity'])
    assert len(whole.findings) == 12
    without = [entry._replace(boxes=None) for entry in pairs_with_people(tmp_path, 3)]
    silent = examine(without, ['polarity'])
    assert not silent.findings and silent.judged('polarity') == 0


def test_one_dark_box_is_not_enough():
    """A coat before a warm street."""
    layout = np.random.default_rng(0).normal(size=192).astype(np.float32)
    case = Case(PairEntry('set', 'a', 'a', 'b'), type('Warmth', (), dict(contrasts=[('person', -1.2)], layout=layout)))
    (verdict,) = PolarityCheck().judge([case])
    assert verdict.reason == 'one box alone, which is dark'


def test_boxes(tmp_path):
    """A pair whose boxes are all moved stands out, and the message says how to move them back."""
    listed = pairs_with_people(tmp_path, 60)
    step = np.array([16.0, 0.0, 16.0, 0.0])
    wrong = tuple((name, tuple(np.array(box) + step)) for name, box in listed[7].boxes)
    listed[7] = listed[7]._replace(boxes=wrong)
    check = [BoxesCheck()]
    findings, unjudged = judge_all(listed, [look_at(entry, check) for entry in listed], check)
    assert [finding.entry.name for finding in findings] == ['07'] and not unjudged
    x = int(re.search(r'\((-?\d+), ', findings[0].message).group(1))
    assert -22 <= x <= -10
    few = examine(listed[:10], ['boxes'])
    assert few.reasons('boxes') == {'fewer than 100 boxes in the set': 10}


def test_annotations(data):
    listed = entries(data)
    listed[0] = listed[0]._replace(boxes=(('car', (150.0, 10.0, 190.0, 40.0)),))
    listed[1] = listed[1]._replace(boxes=(('car', (20.0, 10.0, 20.0, 40.0)),))
    listed[2] = listed[2]._replace(boxes=(('car', (20.0, 10.0, 40.0, 40.0)),) * 2)
    listed[3] = listed[3]._replace(boxes=(), problems=(Problem('size mismatch', 'the annotation is for 10x10 pixels'),))
    listed[4] = listed[4]._replace(boxes=(('car', (-1.0, 10.0, 161.0, 40.0)),))  # within the tolerance
    result = examine(listed, ['annotations'])
    messages = {finding.entry.name: finding.message for finding in result.findings}
    assert set(messages) == {'0', '1', '2', '3'} and result.reasons('annotations') == {'no boxes': 3}
    assert 'exceeds the image of 160x120' in messages['0'] and 'has no area' in messages['1']
    assert 'is there 2 times' in messages['2']


def test_class_maps(data):
    (data / 'maps').mkdir()
    maps = np.zeros((COUNT, 120, 160), np.uint8)
    maps[:, 20:60, 30:90] = 2
    for number, numbers in enumerate(maps):
        cv2.imwrite(str(data / 'maps' / f'{number}.png'), numbers)
    palette = np.array([(0, 0, 0), (60, 20, 220), (142, 0, 0)], np.uint8)
    cv2.imwrite(str(data / 'maps' / '1.png'), palette[maps[1]])
    cv2.imwrite(str(data / 'maps' / '2.png'), maps[2] * 40)
    cv2.imwrite(str(data / 'maps' / '3.png'), maps[3][:60])
    listed = entries(data, class_maps=[data / 'maps'])
    messages = {finding.entry.name: finding.message for finding in examine(listed, ['class_maps']).findings}
    assert set(messages) == {'1', '2', '3'} and 'color picture' in messages['1'] and 'gray levels' in messages['2']
    known = [entry._replace(class_numbers=(0, 1)) for entry in listed]
    assert len(examine(known, ['class_maps']).findings) == COUNT


@pytest.mark.parametrize(
    'name, meant', [('Person', 'person'), ('persons', 'person'), ('peson', 'person'), ('cars', 'car'), ('bump', None)]
)
def test_close_names(name, meant):
    assert close_name(name, {'person': 100, 'car': 50, name: 1}, (), 0.05) == meant
    assert close_name(name, {name: 90}, ('person', 'car'), 0.05) == meant


def test_names(data):
    listed = [entry._replace(boxes=(('person', (10.0, 10.0, 20.0, 30.0)),) * 3) for entry in entries(data)]
    listed[2] = listed[2]._replace(boxes=(('Persn', (10.0, 10.0, 20.0, 30.0)),))
    (finding,) = examine(listed, ['names']).findings
    assert finding.entry.name == '2' and "'Persn' (perhaps 'person')" in finding.message


def test_other_modalities_are_not_judged(data):
    result = examine(entries(data, modalities=('MRI', 'PET')), ['swapped', 'polarity', 'constant'])
    assert not result.findings and result.judged('swapped') == 0 and result.judged('constant') == COUNT
    assert result.reasons('swapped') == {'made for visible and infrared, these are MRI and PET': COUNT}


def test_reports(data, pictures, tmp_path, capsys):
    """The worst first in all of them; the sheet needs nothing but itself."""
    write(data, '3.png', pictures[3][0], moved(pictures[3][1], 1.0, 0.0, (9.0, -4.0))[0])
    (data / 'ir' / '5.png').write_bytes(b'')
    folders = [str(data / 'vi'), str(data / 'ir')]
    reports = ['--csv', str(tmp_path / 'a.csv'), '--html', str(tmp_path / 'a.html')]
    with pytest.raises(SystemExit) as ended:
        main(['doctor', *folders, *reports, '--workers', '1', '--json'])
    assert ended.value.code == 1
    content = json.loads(capsys.readouterr().out)
    assert content['pairs'] == COUNT and [each['check'] for each in content['findings']] == ['files', 'registration']
    assert {check['name']: check['judged'] for check in content['checks']}['constant'] == COUNT - 1
    rows = list(csv.DictReader((tmp_path / 'a.csv').open()))
    assert [(row['severity'], row['check'], row['name']) for row in rows] == [
        ('serious', 'files', '5'),
        ('harmful', 'registration', '3'),
    ]
    page = (tmp_path / 'a.html').read_text()
    assert page.count('<article') == 2 and 'cannot be shown' in page and 'data:image/jpeg' in page
    assert not re.search(r'https?://|<link|src="(?!data:)', page) and len(page) < 200_000
    with pytest.raises(SystemExit):
        main(['doctor', *folders, '--workers', '1'])
    text = capsys.readouterr().out
    assert text.index('SERIOUS  files') < text.index('HARMFUL  registration') and 'what to do: ' in text


def test_check_of_a_user(data, tmp_path, capsys):
    """A number and a threshold are enough."""
    (tmp_path / 'mine.py').write_text(
        'from mmfusion.experiments.doctor import CHECKS, Check\n'
        "@CHECKS.register_module(name='bright', force=True)\n"
        'class Bright(Check):\n'
        "    name, title, measures, remedy = 'bright', 'bright pictures', 'mean', 'darken them'\n"
        '    threshold = 0.0\n'
        '    def look(self, pair):\n'
        '        return float(pair.first.mean())\n'
    )
    arguments = ['doctor', str(data / 'vi'), str(data / 'ir'), '--add', str(tmp_path / 'mine.py')]
    try:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, '--checks', 'bright', '--workers', '1'])
    finally:
        from mmfusion.experiments.doctor import CHECKS

        CHECKS.module_dict.pop('bright', None)
    assert ended.value.code == 1 and f'bright: bright pictures, {COUNT} of {COUNT} pairs' in capsys.readouterr().out


def test_every_check_says_what_it_does(capsys):
    main(['doctor', '--list'])
    listed = capsys.readouterr().out
    for check in build_checks():
        assert f'{check.name} ({check.severity}): {check.title}' in listed
        assert check.measures in listed and check.remedy in listed


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['{}/vi'], 'is one folder; give that of the first'),
        (['{}/vi', '{}/none'], 'none does not exist'),
        (['{}/vi', '{}/ir', '{}/vi'], 'give the folders in twos'),
        (['{}/vi', '{}/ir', '--checks', 'polarty'], 'unknown checks: polarty; there are annotations, boxes'),
        (['{}/vi', '{}/ir', '--suffixes', '_v', '_i'], 'hold no image'),
        (['{}/vi', '{}/ir', '--boxes', '{}/none'], 'boxes: {}/none does not exist'),
        (['{}/vi', '{}/ir', '--workers', '0'], 'workers must be at least 1'),
        (['{}/vi', '{}/ir', '--add', '{}/none.py'], 'none.py is no Python file'),
        (['moe_fusion_demo', '--boxes', '{}'], '--boxes goes with folders'),
        (['moe_fusion_demo'], 'DemoPairs renders its pairs'),
    ],
)
def test_wrong_options(data, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        main(['doctor', *(argument.format(data) for argument in arguments)])
    assert ended.value.code == 2
    assert message.format(data) in capsys.readouterr().err


def test_config(data, tmp_path, pictures):
    """Data sets of all loaders, one that two of them share once; annotations come along, and what is wrong with
    them.
    """
    from mmengine import Config

    labels = data / 'Annotations'
    labels.mkdir()
    for number in range(COUNT):
        box = '<bndbox><xmin>10</xmin><ymin>10</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>'
        text = f'<annotation><object><name>person</name>{box}</object></annotation>'
        (labels / f'{number}.xml').write_text(text if number else '<annotation>')
    dataset = dict(
        type='VOCPairDataset',
        data_root=str(data),
        data_prefix=dict(first='vi', second='ir', ann='Annotations'),
        metainfo=dict(classes=('person',)),
    )
    cfg = Config(
        dict(
            train_dataloader=dict(dataset=dict(type='RepeatDataset', times=2, dataset=dict(dataset, pipeline=[]))),
            val_dataloader=dict(dataset=dict(dataset, test_mode=True)),
        )
    )
    listed = pairs_of_config(cfg)
    assert len(listed) == COUNT and {entry.set for entry in listed} == {'train+val'}
    assert listed[1].boxes == (('person', (10.0, 10.0, 30.0, 40.0)),) and listed[1].names == ('person',)
    (finding,) = examine(listed, ['annotations']).findings
    assert finding.entry.name == '0' and 'no valid xml' in finding.message


def test_reading_of_labels(data):
    """YOLO text needs names; COCO comes as one file."""
    (data / 'labels').mkdir()
    for number in range(COUNT):
        (data / 'labels' / f'{number}.txt').write_text('0 0.5 0.5 0.25 0.5\n')
    with pytest.raises(UserError, match='name its classes'):
        entries(data, boxes=[data / 'labels'])
    listed = entries(data, boxes=[data / 'labels'], class_names=['person'])
    assert listed[0].boxes == (('person', (60.0, 30.0, 100.0, 90.0)),)
    images = [dict(id=number, file_name=f'{number}.png') for number in range(COUNT - 1)]
    boxes = [dict(image_id=0, category_id=1, bbox=[1, 2, 3, 4])]
    (data / 'a.json').write_text(
        json.dumps(dict(images=images, categories=[dict(id=1, name='car')], annotations=boxes))
    )
    listed = entries(data, boxes=[data / 'a.json'])
    assert listed[0].boxes == (('car', (1.0, 2.0, 4.0, 6.0)),)
    assert listed[-1].boxes is None and 'has no image named' in listed[-1].problems[0].message


def test_a_failing_check_names_the_pair(data):
    class Broken(BoxesCheck):
        name = 'broken'

        def look(self, pair):
            raise IndexError('no such thing')

    with pytest.raises(RuntimeError, match="check 'broken' failed at pairs/0: no such thing"):
        look_at(entries(data)[0], [Broken()])


def test_deep_images_are_seen(tmp_path):
    """Float and 16-bit images get a gray picture between their percentiles."""
    visible, infrared = scene(0, (96, 128))
    (tmp_path / 'vi').mkdir()
    (tmp_path / 'ir').mkdir()
    cv2.imwrite(str(tmp_path / 'vi' / 'a.png'), colored(visible))
    cv2.imwrite(str(tmp_path / 'ir' / 'a.tif'), infrared.astype(np.float32) / 10 + 290)
    pair = LoadedPair(entries(tmp_path)[0])
    assert pair.grays[1].dtype == np.float32 and pair.grays[1].min() == 0 and pair.grays[1].max() == 255
    assert pair.match.rest > 4.7
    with pytest.raises(NotJudged, match='no boxes'):
        BoxesCheck().measure(pair)


@pytest.mark.slow
def test_workers_find_the_same(data, pictures):
    """Two processes, the same findings."""
    write(data, '3.png', pictures[3][0], moved(pictures[3][1], 1.0, 0.0, (9.0, -4.0))[0])
    write(data, '2.png', pictures[2][1], pictures[2][0])
    one, two = (examine(entries(data), workers=count) for count in (1, 2))
    assert one.findings == two.findings and one.unjudged == two.unjudged and len(one.findings) >= 2
