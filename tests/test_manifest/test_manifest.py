"""What a manifest says, and what it must not say."""

import hashlib
import json
import os

import pytest
from tiny_runs import write_pairs

from mmfusion.manifest import (
    FileSet,
    Places,
    describe_dataset,
    describe_files,
    facts,
    read_manifest,
    versions,
    write_manifest,
)
from mmfusion.manifest.content import read_places
from mmfusion.manifest.hashing import SHORT, cache_file, hash_files
from mmfusion.registry import DATASETS
from mmfusion.utils import UserError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('MMFUSION_HASHES', str(tmp_path / 'cache' / 'hashes.json'))


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / 'data' / 'vi' / '1.png', tmp_path / 'data' / 'vi' / '2.png', tmp_path / 'data' / 'ir' / '1.png']
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    return paths


def test_hashes_are_those_of_the_files(files, tmp_path):
    facts = describe_files(files, tmp_path / 'data')
    expected = hashlib.sha256(b'2.png').hexdigest()
    assert facts['files']['vi']['2.png'] == expected[:SHORT] and set(facts['files']) == {'vi', 'ir'}
    assert facts['count'] == 3 and facts['bytes'] == 15
    moved = [path.rename(path.with_suffix('.jpg')) for path in files]
    assert describe_files(moved, tmp_path / 'data')['sha256'] != facts['sha256']
    files[0].write_text('other')
    moved[1].unlink()
    assert describe_files([*moved, files[0]])['files']['vi']['2.jpg'] is None


def test_an_unchanged_file_comes_from_the_cache_and_a_check_reads_it(files):
    name = str(files[0])
    before = hash_files([name])[name]
    status = os.stat(name)
    files[0].write_text('1.pnG')  # as long as before
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert hash_files([name])[name] == before
    assert hash_files([name], trust_cache=False)[name] == hashlib.sha256(b'1.pnG').hexdigest()
    files[0].write_text('1.pnG')
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert hash_files([name])[name] != before
    cache_file().write_text('{"')  # a damaged cache is none
    assert hash_files([name])[name] == hashlib.sha256(b'1.pnG').hexdigest()


def test_a_manifest_holds_several_entries_and_no_path_of_the_machine(files, tmp_path, monkeypatch):
    elsewhere = tmp_path / 'home' / 'project'
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(
        'sys.argv', ['/usr/bin/mmfusion train', str(tmp_path / 'data'), '--work-dir', str(elsewhere / 'work')]
    )
    weights = tmp_path / 'weights.pth'
    weights.write_bytes(b'w')
    config = dict(data_root=str(tmp_path / 'data'), work_dir=str(elsewhere / 'work'), lr=0.1)
    path = write_manifest(
        'work',
        'training',
        config=config,
        data=dict(train=FileSet(files), whole=tmp_path / 'data'),
        weights=[weights],
        results=dict(mAP=0.5),
    )
    write_manifest('work', 'score', key='score/default', protocol='default')
    text = path.read_text()
    assert str(tmp_path) not in text
    entries = read_manifest('work')
    assert set(entries) == {'training', 'score/default'}
    entry = entries['training']
    assert entry['config']['resolved'] == dict(data_root='@data', work_dir='work', lr=0.1)
    assert entry['command'][2:] == ['@data', '--work-dir', 'work'] and entry['results'] == dict(mAP=0.5)
    assert entry['weights']['weights.pth']['sha256'] == hashlib.sha256(b'w').hexdigest()
    assert entry['versions'] == versions() and all(
        entry['versions'][name] for name in ('torch', 'numpy', 'mmfusion', 'mmdet', 'opencv')
    )
    places = read_places('work', 'training')
    assert places.find(entry['data']['train']['root']) == str(tmp_path / 'data')
    assert places.find_all(entry['config']['resolved'])['data_root'] == str(tmp_path / 'data')
    write_manifest('work', 'training', config=dict(config, work_dir='elsewhere'))
    assert (
        read_manifest('work')['training']['config']['sha256'] == entry['config']['sha256']
    )  # where results go does not matter
    write_manifest('work', 'training', config=dict(config, lr=0.2))
    assert read_manifest('work')['training']['config']['sha256'] != entry['config']['sha256']


def test_two_folders_of_one_name_are_told_apart(tmp_path):
    places = Places(base=tmp_path)
    folders = [tmp_path.parent / 'a' / 'MSRS', tmp_path.parent / 'b' / 'MSRS']
    assert [places.share(folder) for folder in folders] == ['@MSRS', '@MSRS-2']
    assert places.share(folders[0] / 'test') == '@MSRS/test' and places.find('@MSRS-2/x') == str(folders[1] / 'x')
    assert Places.from_dict(json.loads(json.dumps(places.to_dict()))).find('inside') == str(tmp_path / 'inside')


def test_samples_of_a_data_set_and_of_wrappers(tmp_path):
    root = write_pairs(tmp_path)
    cfg = dict(type='MSRSSegDataset', data_root=f'{root}/', split='train', pipeline=[])
    facts = describe_dataset(DATASETS.build(cfg))
    assert list(facts['samples']) == [f'train{index}' for index in range(6)] and facts['count'] == 18
    assert set(facts['files']) == {'train/vi', 'train/ir', 'train/Segmentation_labels'}
    assert describe_dataset(DATASETS.build(dict(type='RepeatDataset', times=2, dataset=cfg))) == facts
    joined = DATASETS.build(
        dict(type='ConcatDataset', ignore_keys=['split_hash'], datasets=[cfg, dict(cfg, indices=2)])
    )
    both = describe_dataset(joined)
    assert (
        both[0] == facts
        and list(both[1]['samples']) == ['train0', 'train1']
        and both[1]['split_sha256'] != facts['split_sha256']
    )


def test_no_manifest_and_a_damaged_one_are_errors_of_the_user(tmp_path):
    with pytest.raises(UserError, match='has no manifest.json'):
        read_manifest(tmp_path)
    (tmp_path / 'manifest.json').write_text('{')
    with pytest.raises(UserError, match='damaged'):
        read_manifest(tmp_path)
    write_manifest(tmp_path, 'test')  # a new result is not lost for it
    assert set(read_manifest(tmp_path)) == {'test'}
    (tmp_path / 'manifest.json').write_text('{"manifest": 99, "entries": {}}')
    with pytest.raises(UserError, match='format 99'):
        read_manifest(tmp_path)


def test_the_commit_is_the_one_that_the_process_began_with(tmp_path, monkeypatch):
    """A checkout may change while a long run goes on with what it has loaded."""
    before = facts.code()
    monkeypatch.setattr(facts, '_git', lambda *_: 'a later commit')
    write_manifest(tmp_path, 'test')
    assert facts.code() == before == read_manifest(tmp_path)['test']['code']
    assert facts._read_code() in (None, dict(commit='a later commit', dirty=True))
