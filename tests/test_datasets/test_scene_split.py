"""Scene-disjoint splits: on synthetic sequences with known scenes, and on the real M3FD pairs."""

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmfusion.datasets import M3FDDataset, hash_ids
from mmfusion.datasets.m3fd import split_m3fd
from mmfusion.datasets.scene_split import SplitOptions, assign_scenes, find_scenes, write_scene_split


@pytest.fixture
def sequences(tmp_path):
    """Twelve scenes of 2 to 9 frames with a moving camera; the last scene is filmed again from the first place."""
    rng, number, scenes = np.random.default_rng(0), 0, []
    places = [
        cv2.resize(rng.integers(0, 256, (8, 14, 2), dtype=np.uint8), (280, 160), interpolation=cv2.INTER_CUBIC)
        for _ in range(11)
    ]
    places.append(places[0])
    for folder in ('Vis', 'Ir', 'Annotation'):
        (tmp_path / folder).mkdir()
    for scene, place in enumerate(places):
        names = []
        for frame in range(2 + scene * 3 % 8):
            window = place[:, 3 * frame : 3 * frame + 240].astype(int) + rng.integers(-12, 13, (160, 240, 1))
            for channel, folder in enumerate(('Vis', 'Ir')):
                cv2.imwrite(
                    str(tmp_path / folder / f'{number:05d}.png'), window[..., channel].clip(0, 255).astype(np.uint8)
                )
            (tmp_path / 'Annotation' / f'{number:05d}.xml').write_text('<annotation/>')
            names.append(f'{number:05d}')
            number += 1
        scenes.append(names)
    scenes[0] += scenes.pop()
    return tmp_path, sorted(scenes)


def test_sequences_are_found_and_kept_whole(sequences):
    root, scenes = sequences
    split = split_m3fd(str(root))
    assert split.scenes == scenes
    total = sum(map(len, scenes))
    assert sorted(name for ids in split.parts.values() for name in ids) == sorted(
        name for scene in scenes for name in scene
    )
    for scene in scenes:
        assert sum(bool(set(scene) & set(ids)) for ids in split.parts.values()) == 1
    for part, share in dict(train=0.7, val=0.1, test=0.2).items():
        assert abs(len(split.parts[part]) / total - share) < 0.07


def test_order_and_threads_do_not_matter(sequences):
    root, _ = sequences
    assert split_m3fd(str(root), workers=1) == split_m3fd(str(root), workers=4)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 5))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    ids, order = [f'{i:03d}' for i in range(30)], rng.permutation(30)
    assert find_scenes(ids, features, SplitOptions()) == find_scenes(
        [ids[i] for i in order], features[order], SplitOptions()
    )


def test_window_counts_numbers_not_places():
    same = np.full((3, 1), np.sqrt(0.8))  # all pairs alike by 0.8: neighbors are one scene, others are not
    assert find_scenes(['00001', '00005', '00900'], same, SplitOptions()) == [['00001', '00005'], ['00900']]
    assert find_scenes(['a', 'b', 'c'], same, SplitOptions()) == [['a', 'b', 'c']]
    assert len(find_scenes(['00001', '00005'], same[:2], SplitOptions(neighbor_threshold=0.81))) == 2
    assert len(find_scenes(['00001', '90000'], same[:2], SplitOptions(duplicate_threshold=0.8))) == 1


def test_shares():
    scenes = [[f'{scene}_{frame}' for frame in range(4)] for scene in range(50)]
    parts = assign_scenes(scenes, SplitOptions(train=0.5, val=0, test=0.5))
    assert [len(ids) for ids in parts.values()] == [100, 0, 100]
    with pytest.raises(ValueError, match='add up to 1'):
        assign_scenes(scenes, SplitOptions(train=0.9))
    with pytest.raises(ValueError, match='2 scenes cannot fill 3 parts'):
        assign_scenes(scenes[:2], SplitOptions())


def test_files_and_hash_in_the_data_set(sequences):
    root, scenes = sequences
    split = split_m3fd(str(root))
    paths = write_scene_split(split, str(root / 'splits'))
    assert sorted(path.rsplit('/', 1)[1] for path in paths) == ['split.json', 'test.txt', 'train.txt', 'val.txt']
    assert len(list((root / 'splits').iterdir())) == 4  # no temporary files are left
    before = {path: Path(path).read_bytes() for path in paths}
    write_scene_split(split_m3fd(str(root)), str(root / 'splits'))
    assert before == {path: Path(path).read_bytes() for path in paths}
    summary = json.loads((root / 'splits' / 'split.json').read_text())
    assert summary['parameters'] == SplitOptions()._asdict() and summary['scenes'] == scenes
    dataset = M3FDDataset(data_root=str(root), ann_file='splits/test.txt')
    assert dataset.metainfo['split_hash'] == summary['split_hash']['test'] == hash_ids(split.parts['test'])
    assert len(dataset) == summary['sizes']['test']


def test_real_m3fd(shared_dir):
    split = split_m3fd(str(shared_dir / 'data' / 'M3FD'))
    assert len(split.scenes) == 10  # ten frames far apart
    assert {part: len(ids) for part, ids in split.parts.items()} == dict(train=7, val=1, test=2)


def test_tool(sequences, tmp_path, repo_dir, capsys):
    spec = importlib.util.spec_from_file_location(
        'm3fd_split_tool', repo_dir / 'tools' / 'dataset_converters' / 'm3fd_split.py'
    )
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    out = tmp_path / 'lists'
    tool.main([str(sequences[0]), str(out), '--ratios', '0.6', '0.2', '0.2'])
    assert hash_ids((out / 'test.txt').read_text().split()) in capsys.readouterr().out
    file = tmp_path / 'file'
    file.write_text('')
    for root, folder, message in (
        (tmp_path / 'gone', out, 'Expected layout'),
        (sequences[0], file, 'cannot write into the folder'),
    ):
        with pytest.raises(SystemExit):
            tool.main([str(root), str(folder)])
        assert message in capsys.readouterr().err
