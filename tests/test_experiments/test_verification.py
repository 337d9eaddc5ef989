"""``mmfusion verify``: one changed pixel, label, weight, line of a split or version of a package is found and named."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from tiny_runs import write_run

from mmfusion import apis
from mmfusion.cli.verify import main
from mmfusion.experiments.verification.verify import Finding, Verification, format_verification, verify
from mmfusion.fileio.reading import read_json, sha256
from mmfusion.utils import UserError


@pytest.fixture(scope='module')
def original(tmp_path_factory):
    """A training, its test and the scores of its pictures, with the data beside them."""
    folder = tmp_path_factory.mktemp('original')
    config = write_run(folder, 'joint', epochs=1)
    apis.train(config, folder / 'work', device='cpu')
    apis.test(config, folder / 'work' / 'epoch_1.pth', folder / 'tested', device='cpu')
    rng = np.random.default_rng(0)
    for name in ('a', 'b', 'c', 'd'):
        for part in ('fused', 'vi', 'ir'):
            (folder / 'scored' / part).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / 'scored' / part / f'{name}.png'), rng.integers(0, 256, (32, 32), np.uint8))
    parts = (folder / 'scored' / part for part in ('fused', 'vi', 'ir'))
    apis.evaluate(*parts, ['EN', 'MI', 'SSIM'], out_dir=folder / 'scores', workers=1, progress=False)
    return folder


@pytest.fixture
def place(original, tmp_path):
    """A copy, on another machine as it were: the folders that the manifests name lie elsewhere."""
    shutil.copytree(original, tmp_path / original.name)
    folder = tmp_path / original.name
    for path in folder.rglob('places.json'):
        path.write_text(path.read_text().replace(str(original), str(folder)))
    return folder


def findings(folder, sample=0, **options):
    return [finding.text for finding in verify(folder, sample, **options).findings]


def change_pixel(path):
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    image.reshape(-1)[5] ^= 1
    cv2.imwrite(str(path), image)


def test_what_is_unchanged_passes_and_is_computed_again(place, capsys):
    for name, done in (
        ('work', 'loss of the first batch computed again'),
        ('tested', '2 of 2 test samples computed again'),
        ('scores', '3 of 4 fused images scored again'),
    ):
        result = verify(place / name)
        text = format_verification(result)
        assert not result.findings, text
        assert done in text and 'everything is as the manifest states' in text
    main([str(place / 'scores'), '--all'])  # no exit code
    assert '4 of 4 fused images scored again' in capsys.readouterr().out


@pytest.mark.parametrize(
    'result,file,text',
    [
        ('tested', 'MSRS/test/ir/test1.png', "data 'test': @MSRS/test/ir/test1.png has changed"),
        ('work', 'MSRS/train/vi/train3.png', "data 'train': @MSRS/train/vi/train3.png has changed"),
        ('scores', 'scored/vi/b.png', "data 'first': @vi/b.png has changed"),
    ],
)
def test_one_changed_pixel_is_named(place, result, file, text):
    change_pixel(place / file)
    assert findings(place / result) == [text]


def test_one_changed_weight_is_named_and_shows_in_the_answers(place, capsys):
    path = place / 'work' / 'epoch_1.pth'
    content = torch.load(path, weights_only=False)
    key = next(
        key for key in content['state_dict'] if key.startswith('fuser.') and content['state_dict'][key].ndim == 4
    )
    content['state_dict'][key].view(-1)[0] += 100
    torch.save(content, path)
    assert findings(place / 'work') == ['weights epoch_1.pth: @work/epoch_1.pth has changed']
    texts = findings(place / 'tested', None)
    assert any(': fused was [' in text for text in texts), texts
    with pytest.raises(SystemExit) as ended:
        main([str(place / 'tested'), '--sample', '0'])
    assert ended.value.code == 1 and 'DIFFERS  test: weights epoch_1.pth' in capsys.readouterr().out


def test_one_changed_line_of_a_split_and_one_label_are_named(place):
    path = place / 'MSRS' / 'test'
    for part in ('vi', 'ir', 'Segmentation_labels'):
        shutil.copy(path / part / 'test0.png', path / part / 'test9.png')
    assert findings(place / 'tested') == ["split 'test': test9 is new"]
    for part in ('vi', 'ir', 'Segmentation_labels'):
        (path / part / 'test9.png').unlink()
    change_pixel(path / 'Segmentation_labels' / 'test0.png')
    (text,) = findings(place / 'tested')
    assert 'Segmentation_labels/test0.png has changed' in text
    for part in ('vi', 'ir', 'Segmentation_labels'):
        (path / part / 'test0.png').unlink()
    texts = findings(place / 'tested')
    assert "split 'test': test0 is gone" in texts and sum('gone or cannot be read' in text for text in texts) == 3


def test_another_version_of_a_package_is_named(place):
    path = place / 'scores' / 'manifest.json'
    content = read_json(path)
    content['entries']['score/default']['versions']['numpy'] = '1.0'
    path.write_text(json.dumps(content))
    (text,) = findings(place / 'scores')
    assert text.startswith('package numpy: the result was made with 1.0, here is ')
    allowed = verify(place / 'scores', other_versions=True)
    assert not allowed.findings and any('package numpy' in note for note in allowed.notes)


def test_numbers_outputs_and_config_that_were_changed_are_named(place):
    table = place / 'scores' / 'default_images.csv'
    lines = table.read_text().splitlines()
    fields, values = lines[0].split(','), lines[1].split(',')
    values[fields.index('EN')] = '7.5'
    table.write_text('\n'.join([lines[0], ','.join(values), *lines[2:]]) + '\n')
    texts = findings(place / 'scores', None)
    assert 'output default_images.csv has changed' in texts and any('a: EN was 7.5, is ' in text for text in texts)
    path = place / 'tested' / 'manifest.json'
    path.write_text(path.read_text().replace('"max_epochs": 1', '"max_epochs": 7'))
    assert any('its content in the manifest was changed' in text for text in findings(place / 'tested'))


def test_a_forged_hash_does_not_help(place):
    """Whoever changes a picture and its short hash is found by the hash of all, and by the numbers."""
    change_pixel(place / 'scored' / 'fused' / 'a.png')
    path = place / 'scores' / 'manifest.json'
    content = read_json(path)
    content['entries']['score/default']['data']['fused/fused']['files']['.']['a.png'] = sha256(
        place / 'scored' / 'fused' / 'a.png'
    )[:16]
    path.write_text(json.dumps(content))
    texts = findings(place / 'scores', None)
    assert any('the hash of all files does not fit' in text for text in texts) and any(
        'fused, a: ' in text for text in texts
    ), texts


def test_without_the_data_it_says_what_to_do(place, tmp_path, capsys):
    shutil.move(place / 'MSRS', tmp_path / 'elsewhere')
    (place / 'tested' / 'places.json').unlink()
    with pytest.raises(UserError, match='--root'):
        verify(place / 'tested', 0)
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), '--sample', '0'])
    assert ended.value.code == 2 and 'has no manifest.json' in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([str(place / 'tested'), '--root', 'MSRS=nowhere'])
    assert ended.value.code == 2 and 'NAME=DIR' in capsys.readouterr().err


def test_paths_relative_to_where_it_was_made_and_other_folders(place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    apis.test(
        'joint.py',
        'work/epoch_1.pth',
        'again',
        device='cpu',
        cfg_options={'test_dataloader.dataset.data_root': 'MSRS/'},
    )
    entry = read_json(place / 'again' / 'manifest.json')['entries']['test']
    assert entry['data']['test']['root'] == 'MSRS' and entry['weights']['epoch_1.pth']['file'] == 'work/epoch_1.pth'
    assert str(place) not in json.dumps({key: value for key, value in entry.items() if key != 'config'})
    monkeypatch.chdir(tmp_path)
    assert not verify('/'.join((place.name, 'again'))).findings
    shutil.move(place / 'MSRS', tmp_path / 'elsewhere')
    with pytest.raises(UserError, match='--root MSRS=DIR'):
        verify(place / 'again', 0)
    main([str(place / 'again'), '--root', f'MSRS={tmp_path / "elsewhere"}'])
    change_pixel(tmp_path / 'elsewhere' / 'test' / 'vi' / 'test0.png')
    with pytest.raises(SystemExit) as ended:
        main([str(place / 'again'), '--root', f'MSRS={tmp_path / "elsewhere"}', '--sample', '0'])
    assert ended.value.code == 1


def test_what_many_results_share_is_said_once():
    shared = [Finding(f'cells/{name}', "data 'pairs': a.png has changed") for name in 'abcde']
    text = format_verification(Verification([*shared, Finding('cells/a', 'other')], ['looked'], 5))
    assert text.splitlines() == [
        'looked',
        "DIFFERS  5 results (cells/a, ..., cells/e): data 'pairs': a.png has changed",
        'DIFFERS  cells/a: other',
        '5 results checked: 6 differences',
    ]
    few = format_verification(Verification(shared[:3], [], 3)).splitlines()
    assert [line.split(':')[0] for line in few[:-1]] == [f'DIFFERS  cells/{name}' for name in 'abc']
