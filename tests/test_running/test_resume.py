"""Which checkpoint ``--resume`` goes on from, and what it says."""

import pytest
import torch
from mmengine.config import Config

from mmfusion.running.training import set_resume, where_to_go_on
from mmfusion.utils import UserError


def checkpoint(path, whole=True):
    torch.save(dict(meta={}, optimizer={}, message_hub={}, state_dict={}) if whole else dict(state_dict={}), path)
    return str(path)


def config(folder, **options):
    return Config(dict(work_dir=str(folder), **options))


def test_without_a_checkpoint_the_run_begins_as_it_was_meant_to(tmp_path, capsys):
    """A run that was killed before its first checkpoint starts from the weights that its config names, not from random
    ones.
    """
    start = checkpoint(tmp_path / 'start.weights', whole=False)
    cfg = config(tmp_path / 'work', load_from=start)
    assert set_resume(cfg, 'auto') is None and (cfg.resume, cfg.load_from) == (False, start)
    assert 'training starts from the beginning' in capsys.readouterr().out
    with pytest.raises(UserError, match='checkpoint not found: gone.pth'):
        set_resume(config(tmp_path / 'work', load_from='gone.pth'), 'auto')


def test_the_pointer_comes_first_then_the_newest(tmp_path, capsys):
    first, second = (checkpoint(tmp_path / f'epoch_{n}.pth') for n in (1, 2))
    checkpoint(tmp_path / 'best_x_epoch_2.pth', whole=False)
    cfg = config(tmp_path, load_from='start.pth')
    assert set_resume(cfg, 'auto') == second and (cfg.resume, cfg.load_from) == (True, second)
    (tmp_path / 'last_checkpoint').write_text(first)
    assert set_resume(config(tmp_path), 'auto') == first and capsys.readouterr().out == ''
    (tmp_path / 'epoch_1.pth').write_bytes(b'PK\x03\x04 half')
    assert set_resume(config(tmp_path), 'auto') == second
    shown = capsys.readouterr().out
    assert 'epoch_1.pth' in shown and 'damaged' in shown and f'going on from {second}' in shown
    assert where_to_go_on(str(tmp_path)) == f'the last checkpoint is {second}, --resume goes on from there'
    assert where_to_go_on(str(tmp_path / 'absent')) == 'no checkpoint was saved yet'


@pytest.mark.parametrize('note', [b'\xff\xfe\x00\x80', b'a\x00b', b''])
def test_a_damaged_note_of_the_last_checkpoint_is_passed_over(tmp_path, capsys, note):
    path = checkpoint(tmp_path / 'epoch_1.pth')
    (tmp_path / 'last_checkpoint').write_bytes(note)
    assert set_resume(config(tmp_path), 'auto') == path
    assert ('last_checkpoint' in capsys.readouterr().out) == bool(note)
    assert where_to_go_on(str(tmp_path)) == f'the last checkpoint is {path}, --resume goes on from there'


def test_a_named_checkpoint_must_be_whole(tmp_path):
    with pytest.raises(UserError, match='has no meta, optimizer, message_hub'):
        set_resume(config(tmp_path), checkpoint(tmp_path / 'a.pth', whole=False))
    (tmp_path / 'b.pth').write_bytes(b'')
    with pytest.raises(UserError, match='damaged'):
        set_resume(config(tmp_path), str(tmp_path / 'b.pth'))
