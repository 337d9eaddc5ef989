"""mmfusion video: two files into one, the offset, and what cannot be fused."""

import json

import pytest

from mmfusion.cli.main import main
from mmfusion.datasets import DemoSequence
from mmfusion.video import RenderedStream, open_stream, write_stream


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sequence = DemoSequence((64, 80), seed=1, night_ratio=0)
    write_stream(RenderedStream(sequence, 'visible', 8, 20), 'vi.mp4')
    write_stream(RenderedStream(sequence, 'infrared', 4, 10), 'ir.mp4')
    return sequence


def test_two_files(files, tmp_path, capsys):
    main(['video', 'vi.mp4', 'ir.mp4', '--config', 'AverageFuser', '--out', 'fused.mp4', '--frames', '6', '--panel'])
    out = capsys.readouterr().out
    assert 'wrote fused.mp4, fused_panel.mp4' in out and '6 frames fused, 3 with a second frame shown before' in out
    assert len(list(open_stream('fused.mp4'))) == 6
    assert json.loads((tmp_path / 'fused.json').read_text())['files'] == dict(
        fused='fused.mp4', panel='fused_panel.mp4'
    )


@pytest.mark.parametrize(
    'arguments,message',
    [
        (['vi.mp4', 'absent.mp4'], 'absent.mp4 does not exist'),
        (['vi.mp4', 'ir.mp4', '--out', 'fused.gif'], 'the ending must be one of'),
        (['vi.mp4', 'ir.mp4', '--offset', 'soon'], '--offset: a number of seconds or auto'),
        (['vi.mp4', 'ir.mp4', '--offset', 'auto'], 'the offset cannot be estimated'),
        (['vi.mp4', 'ir.mp4', '--fps', '0'], '--fps must be above 0'),
        (['vi.mp4', 'ir.mp4', '--boxes'], 'has no detector and no segmentor'),
    ],
)
def test_one_message_and_nothing_left(arguments, message, files, tmp_path, capsys):
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(SystemExit) as error:
        main(['video', *arguments, '--config', 'AverageFuser'])
    assert error.value.code == 2 and message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == before
