"""Files are whole or absent, also when the disk fills up or the process is killed in the middle."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from full_disk import FullDisk

from mmfusion.fileio import partial_files, save_torch, whole, whole_file, write_bytes, write_csv, write_json, write_text

WRITERS = {
    'text': (lambda path, value: write_text(path, f'{value}' * 9), lambda path: path.read_text()),
    'bytes': (lambda path, value: write_bytes(path, bytes([value] * 9)), lambda path: path.read_bytes()),
    'json': (lambda path, value: write_json(path, {'a': value}), lambda path: json.loads(path.read_text())),
    'csv': (lambda path, value: write_csv(path, [dict(a=value), dict(a=2)]), lambda path: path.read_text()),
    'torch': (
        lambda path, value: save_torch(path, dict(a=torch.full((999,), value))),
        lambda path: torch.load(path)['a'].tolist(),
    ),
}


@pytest.mark.parametrize('kind', WRITERS)
def test_full_disk_keeps_the_former_file(kind, tmp_path, monkeypatch):
    write, read = WRITERS[kind]
    path = tmp_path / 'folder' / 'file.ext'
    write(path, 1)
    before, failures = read(path), 0
    for room in range(1000):
        with monkeypatch.context() as patch:
            FullDisk(patch, room)
            try:
                write(path, 2)
                break
            except OSError as error:
                assert 'No space left' in str(error) and 'file.ext' in str(error) and 'free space' in str(error)
                failures += 1
        assert read(path) == before
        assert os.listdir(path.parent) == ['file.ext']
    assert failures >= 1 and read(path) != before


def test_an_error_while_writing_keeps_the_former_file(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(KeyboardInterrupt), whole_file(path) as file:
        file.write('new')
        raise KeyboardInterrupt
    assert path.read_text() == 'old' and os.listdir(tmp_path) == ['a.txt']


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / 'real').mkdir()
    target = tmp_path / 'real' / 'a.txt'
    target.write_text('old')
    (tmp_path / 'a.txt').symlink_to(target)
    write_text(tmp_path / 'a.txt', 'new')
    assert (tmp_path / 'a.txt').is_symlink() and target.read_text() == 'new'


def test_content_that_json_cannot_hold_writes_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / 'a.json', {'a': object()})
    assert not os.listdir(tmp_path)


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / 'a').write_text('')
    with pytest.raises(OSError, match='cannot write .*b.txt'):
        write_text(tmp_path / 'a' / 'b.txt', 'x')


KILLED = """
import os, signal, sys
from mmfusion.fileio import whole_file
with whole_file(sys.argv[1]) as file:
    file.write('half')
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed(tmp_path, repo_dir):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    done = subprocess.run(
        [sys.executable, '-c', KILLED, str(path)], cwd=repo_dir, env={**os.environ, 'PYTHONPATH': str(repo_dir)}
    )
    assert done.returncode == -signal.SIGKILL and path.read_text() == 'old'
    assert len(partial_files(tmp_path)) == 1
    own = tmp_path / f'b.txt.{whole._HOST}-{os.getpid()}.tmp'  # that of a running process
    own.write_text('in use')
    write_text(tmp_path / 'c.txt', 'new')
    assert sorted(os.listdir(tmp_path)) == sorted(['a.txt', own.name, 'c.txt'])
