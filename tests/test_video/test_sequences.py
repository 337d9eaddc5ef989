"""Scores of fused sequences: the same numbers as while they are fused, frames matched by time, both sources beside
them.
"""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from mmfusion.apis import FusionInferencer
from mmfusion.cli.score import main
from mmfusion.datasets import DemoSequence
from mmfusion.utils import UserError
from mmfusion.video import FusedVideo, RenderedStream, SequenceScores, record, score_sequences, write_stream
from mmfusion.video.sequences import sequence_frames


@pytest.fixture(scope='module')
def sequences(tmp_path_factory):
    """Two videos that lose nothing, of which the second begins later, and what is made of them: a video and a
    folder.
    """
    folder, sequence = tmp_path_factory.mktemp('sequences'), DemoSequence((64, 80), seed=1)
    sources = [str(folder / name) for name in ('vi.mkv', 'ir.mkv')]
    for source, camera, first in zip(sources, ('visible', 'infrared'), (0, 2)):
        write_stream(RenderedStream(sequence, camera, 10 - first, 10, start=first / 10), source)
    summaries = {}
    for out in ('fused.mkv', 'frames'):
        scores = SequenceScores(['EN', 'MI'])
        with FusedVideo(*sources, FusionInferencer('AverageFuser'), offset=0.2) as video:
            summaries[out] = record(video, folder / out, scores=scores, progress=False)
    return folder, sources, summaries


def test_a_video_gets_the_numbers_that_it_had_while_it_was_fused(sequences):
    folder, sources, summaries = sequences
    summary = summaries['fused.mkv']
    assert summary['start'] == pytest.approx(0.2) and summary['frames']['outside_first'] == 2
    result = score_sequences(
        {'mine': str(folder / 'fused.mkv')}, *sources, ['EN', 'MI'], out_dir=str(folder / 'a'), progress=False
    )
    found, expected = result.results['mine'], summary['scores']
    assert found['frames'] == summary['frames']['paired'] == 8 and found['offset'] == 0.2
    for name in ('EN', 'MI'):
        assert found['metrics'][name]['mean'] == pytest.approx(expected['metrics'][name]['mean'], abs=1e-4)
        assert found['metrics'][name]['worst_frame'] == expected['metrics'][name]['worst_frame']
    for key in ('warping_error', 'flicker'):
        assert found[key] == pytest.approx(expected[key], abs=1e-4)
    assert 'offset +0.2000 s' in result.notes[0]
    with open(result.files['frames']) as file:
        rows = list(csv.DictReader(file))
    assert [row['name'] for row in rows] == [f'{number:06d}' for number in range(2, 10)]
    values = [float(row['EN']) for row in rows]
    assert np.mean(values) == pytest.approx(found['metrics']['EN']['mean'], abs=1e-4)
    assert json.loads(Path(result.files['values']).read_text())['mine']['metrics']['EN'] == found['metrics']['EN']


def test_folders_are_matched_by_number_and_methods_side_by_side(sequences, capsys):
    folder, _, summaries = sequences
    sequence, sources = DemoSequence((64, 80), seed=1), [str(folder / name) for name in ('vi', 'ir')]
    for source, camera in zip(sources, ('visible', 'infrared')):
        write_stream(RenderedStream(sequence, camera, 10, 10), source)
    (folder / 'frames.json').unlink()  # no summary: the numbers say it
    methods = [str(folder / 'frames'), f'first={sources[0]}']
    main(['--sequence', *methods, *sources, '--metrics', 'EN', '--fps', '10', '--out', str(folder / 'b')])
    printed = capsys.readouterr().out
    found = json.loads((folder / 'b' / 'default_sequences.json').read_text())
    assert found['frames']['frames'] == 8 and found['first']['frames'] == 10
    assert found['frames']['metrics']['EN']['mean'] == pytest.approx(
        summaries['frames']['scores']['metrics']['EN']['mean'], abs=0.01
    )
    assert found['first']['warping_error']['fused'] == found['first']['warping_error']['first']
    assert '| EN |' in printed and 'flicker by that of the sources' in printed and 'default_frames.csv' in printed


def test_places_that_hold_a_frame_are_not_rated_twice(tmp_path):
    sequence = DemoSequence((64, 80), seed=2)
    first, second = (RenderedStream(sequence, camera, 12, 10) for camera in ('visible', 'infrared'))
    second.numbers.remove(5)
    second.taken, second.stamps = (np.delete(values, 5) for values in (second.taken, second.stamps))
    for stream, name in ((first, 'vi.mkv'), (RenderedStream(sequence, 'infrared', 12, 10), 'ir.mkv')):
        write_stream(stream, tmp_path / name)
    with FusedVideo(first, second, FusionInferencer('AverageFuser')) as video:
        summary = record(video, tmp_path / 'fused.mkv', progress=False)
    assert summary['frames']['dropped_first'] == summary['frames']['filled'] == 1
    sources = [str(tmp_path / name) for name in ('vi.mkv', 'ir.mkv')]
    names = [frame.name for frame in sequence_frames(str(tmp_path / 'fused.mkv'), *sources)]
    assert len(names) == 12 == len(set(names))  # the held frame is one of the video's own


def test_what_cannot_be_scored(sequences, tmp_path):
    folder, sources, _ = sequences
    fused = {'mine': str(folder / 'fused.mkv')}
    with pytest.raises(UserError, match='no frame of .* has a partner .* at an offset of 100.000 s'):
        score_sequences(fused, *sources, offset=100.0, out_dir=str(tmp_path / 'a'), progress=False)
    other = tmp_path / 'small.mkv'
    write_stream(RenderedStream(DemoSequence((64, 96), seed=1), 'visible', 3, 10), other)
    with pytest.raises(
        UserError, match='96x64 pixels, those of .* 80x64; a fused sequence lies on the pixels of the first'
    ):
        score_sequences({'other': str(other)}, *sources, out_dir=str(tmp_path / 'a'), progress=False)
    with pytest.raises(UserError, match="unknown metric|no metric|'NO'"):
        score_sequences(fused, *sources, ['NO'], out_dir=str(tmp_path / 'a'), progress=False)
    assert not list(tmp_path.glob('a/*'))
    for arguments in (['a', 'b', 'c', '--fps', '5'], ['--sequence', 'a', 'b', 'c', '--plot', 'bars', 'a.png']):
        with pytest.raises(SystemExit):
            main(arguments)
