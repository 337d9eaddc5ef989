"""mmfusion register: two files, two folders, rigs, checks, refusals and wrong options."""

import csv
import json
import re

import cv2
import numpy as np
import pytest
from warped_scenes import moved, scene

from mmfusion.cli.main import main


@pytest.fixture
def files(tmp_path):
    visible, infrared = scene(0)
    second, truth = moved(infrared, 1, 0, (8.0, 4.0))
    cv2.imwrite(str(tmp_path / 'a.png'), visible)
    cv2.imwrite(str(tmp_path / 'b.png'), second)
    cv2.imwrite(str(tmp_path / 'stranger.png'), scene(9)[1])
    return tmp_path, truth


@pytest.fixture
def folders(tmp_path):
    (tmp_path / 'vi').mkdir()
    (tmp_path / 'ir').mkdir()
    for seed in range(3):
        visible, infrared = scene(seed)
        cv2.imwrite(str(tmp_path / 'vi' / f'{seed}.png'), visible)
        cv2.imwrite(str(tmp_path / 'ir' / f'{seed}.png'), moved(infrared, 1, 0, (8.0, 4.0))[0])
    return tmp_path


def test_json_pictures_and_warp(files, capsys):
    folder, truth = files
    main(
        [
            'register',
            str(folder / 'a.png'),
            str(folder / 'b.png'),
            '--json',
            '--out',
            str(folder / 'c.png'),
            '--picture',
            str(folder / 'd.png'),
        ]
    )
    found = json.loads(capsys.readouterr().out)
    assert found['accepted'] and np.allclose(np.array(found['matrix'])[:2, 2], truth[:2, 2], atol=2)
    assert cv2.imread(str(folder / 'c.png')).shape[:2] == (240, 320)
    assert cv2.imread(str(folder / 'd.png')).shape == (240, 648, 3)


def test_refused_pair_is_not_warped(files, capsys):
    folder, _ = files
    with pytest.raises(SystemExit) as end:
        main(['register', str(folder / 'a.png'), str(folder / 'stranger.png'), '--out', str(folder / 'c.png')])
    assert end.value.code == 1
    assert 'refused: confidence' in capsys.readouterr().out
    assert not (folder / 'c.png').exists()


def test_folders_make_a_rig(folders, capsys):
    main(
        [
            'register',
            str(folders / 'vi'),
            str(folders / 'ir'),
            '--model',
            'translation',
            '--rig',
            str(folders / 'rig.yaml'),
        ]
    )
    assert 'rig.yaml: 3 pairs' in capsys.readouterr().out
    from mmfusion.registration import Rig

    assert np.allclose(Rig.load(folders / 'rig.yaml').matrix[:2, 2], (-8, -4), atol=1)


def test_check_lists_the_worst_first(folders, capsys):
    cv2.imwrite(str(folders / 'ir' / '1.png'), moved(scene(1)[1], 1, 0, (16.0, 4.0))[0])
    (folders / 'ir' / '2.png').write_bytes(b'broken')
    main(['register', str(folders / 'vi'), str(folders / 'ir'), '--check', '--csv', str(folders / 'rows.csv')])
    out = capsys.readouterr().out
    assert '2 of 3 pairs could be judged' in out
    rows = list(csv.DictReader((folders / 'rows.csv').read_text().splitlines()))
    assert [row['name'] for row in rows] == ['2', '1', '0']
    assert float(rows[1]['offset']) == pytest.approx(np.hypot(16, 4), abs=1.5) and 'png' in rows[0]['reasons']


def test_page_and_one_folder(folders, capsys):
    (folders / 'ir' / '2.png').write_bytes(b'broken')
    page = folders / 'page.html'
    main(['register', str(folders), '--check', '--model', 'translation', '--page', str(page), '--page-pairs', '1'])
    assert '2 of 3 pairs could be judged' in capsys.readouterr().out
    text = page.read_text()
    assert text.count('src="data:image/jpeg;base64,') == 1 and 'The 1 worst pairs' in text
    assert '2 of 3 pairs could be judged' in text and text.count('<tr>') == 4
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
    assert text.index('<th scope="row">2</th>') < text.index('<th scope="row">0</th>')


def test_one_picture_that_cannot_be_registered_does_not_end_a_folder(folders, capsys):
    cv2.imwrite(str(folders / 'ir' / '1.png'), np.full((40, 48), 9, np.uint8))
    main(['register', str(folders / 'vi'), str(folders / 'ir'), '--json'])
    rows = json.loads(capsys.readouterr().out)
    assert [('accepted' in row) for row in rows] == [True, False, True]
    assert rows[1]['message'] == 'the second image has 48x40 pixels; registration needs at least 64x64'


def test_wrong_option_ends_a_folder_before_its_images_are_read(folders, capsys):
    for name in range(3):
        (folders / 'ir' / f'{name}.png').write_bytes(b'broken')
    with pytest.raises(SystemExit) as end:
        main(['register', str(folders / 'vi'), str(folders / 'ir'), '--scales', '2', '1'])
    assert end.value.code == 2 and 'scales must be' in capsys.readouterr().err


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['a.png', 'vi'], 'give two files or two folders'),
        (['a.png', 'b.png', '--rig', 'r.yaml'], '--rig needs two folders'),
        (['a.png', 'b.png', '--check', '--csv', 'x'], '--check and --csv need two folders'),
        (['vi', 'ir', '--out', 'c.png'], '--out needs two files'),
        (['a.png', 'b.png', '--page', 'p.html'], '--page needs two folders'),
        (['a.png'], 'a.png is no folder'),
        (['vi', '--check'], 'vi holds none of the folders vi, vis'),
        (['a.png', 'missing.png'], 'missing.png does not exist'),
        (['vi', 'vi'], 'hold no pair'),
        (['a.png', 'b.png', '--threshold', '3'], 'threshold must lie'),
    ],
)
def test_wrong_input(files, tmp_path, monkeypatch, capsys, arguments, message):
    (tmp_path / 'vi').mkdir()
    (tmp_path / 'ir').mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(['register', *arguments])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
