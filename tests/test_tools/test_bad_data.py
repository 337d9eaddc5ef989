"""Damaged data sets through the command line: one message that names the file, or the skip that the config chose."""

import itertools
import runpy

import cv2
import numpy as np
import pytest
from tiny_config import write_tiny_config

SIZE = (32, 40)
_COUNT = itertools.count()
CONFIG = """
pipeline = [dict(type='LoadPair'), dict(type='mmdet.LoadAnnotations', with_bbox=True), dict(type='PackFusionInputs')]
loader = dict(num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
train_dataloader = dict(_delete_=True, batch_size=2, dataset=dict(type='LLVIPDataset', data_root='{root}', pipeline=pipeline, {options}), **loader)
model = dict(type='FusionOnly', fuser=dict(type='MoEFusion', base_channels=2, expert_channels=2, decoder_channels=(2, ), local_grid=(2, 2),
    global_grid=(2, 2)), fusion_loss=dict(loss_max=dict(type='MaxIntensityLoss')))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
val_cfg = val_dataloader = val_evaluator = None
"""


def annotation(name='person', box=(4, 5, 20, 25)):
    corners = ''.join(f'<{tag}>{value}</{tag}>' for tag, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), box))
    return f'<annotation><object><name>{name}</name><bndbox>{corners}</bndbox></object></annotation>'


@pytest.fixture
def train(tmp_path, repo_dir):
    """A data set of three pairs in the layout of LLVIP, and the function that trains on it."""
    root, generator = tmp_path / 'LLVIP', np.random.default_rng(0)
    for folder in ('visible', 'infrared'):
        (root / folder / 'train').mkdir(parents=True)
        for index in range(3):
            cv2.imwrite(str(root / folder / 'train' / f'{index}.png'), generator.integers(0, 256, SIZE, dtype=np.uint8))
    (root / 'Annotations').mkdir()
    for index in range(3):
        (root / 'Annotations' / f'{index}.xml').write_text(annotation())

    def run(options=''):
        config = write_tiny_config(tmp_path, CONFIG.format(root=root, options=options))
        main = runpy.run_path(str(repo_dir / 'tools' / 'train.py'))['main']
        main([str(config), '--work-dir', str(tmp_path / 'work'), '--cfg-options', f'experiment_name=bad{next(_COUNT)}'])

    run.root, run.work = root, tmp_path / 'work'
    return run


def truncate(path):
    path.write_bytes(path.read_bytes()[:200])


def one_pixel(path):
    for folder in ('visible', 'infrared'):
        cv2.imwrite(str(path.parents[2] / folder / 'train' / path.name), np.zeros((1, 1), np.uint8))
    (path.parents[2] / 'Annotations' / f'{path.stem}.xml').write_text('<annotation/>')


def not_a_number(path):
    path.unlink()
    image = np.zeros(SIZE, np.float32)
    image[2, 3] = np.nan
    cv2.imwrite(str(path.with_suffix('.tif')), image)


def annotate(text):
    return lambda path: (path.parents[2] / 'Annotations' / f'{path.stem}.xml').write_text(text)


DAMAGE = {
    'truncated': (truncate, ['infrared/train/1.png is truncated', 'copy or download it again']),
    'unreadable': (lambda path: path.write_text('no image'), ['infrared/train/1.png has no readable image header']),
    'partner missing': (lambda path: path.unlink(), ['visible/train/1.png has no partner', 'on_error="skip"']),
    'other size': (
        lambda path: cv2.imwrite(str(path), np.zeros((20, 24), np.uint8)),
        ['40x32', 'infrared/train/1.png has 24x20'],
    ),
    'one pixel': (one_pixel, ['visible/train/1.png has 1x1 pixels', 'at least 16x16']),
    'nan': (not_a_number, ['infrared/train/1.tif: 1 of 1280 values are NaN']),
    'empty annotation': (annotate(''), ['Annotations/1.xml is empty']),
    'wrong class': (annotate(annotation('dog')), ['Annotations/1.xml', "class 'dog' is unknown", "['person']"]),
    'box outside': (annotate(annotation(box=(4, 5, 400, 25))), ['Annotations/1.xml', 'exceeds the image of 40x32']),
}


@pytest.mark.parametrize('name', DAMAGE)
def test_damage_is_one_message(train, capsys, name):
    damage, parts = DAMAGE[name]
    damage(train.root / 'infrared' / 'train' / '1.png')
    with pytest.raises(SystemExit) as error:
        train()
    message = capsys.readouterr().err
    assert error.value.code == 2 and 'Traceback' not in message
    assert all(part in message for part in parts), message
    assert not list(train.work.glob('*.pth'))


@pytest.mark.parametrize('name', ['truncated', 'unreadable', 'partner missing', 'nan', 'wrong class'])
def test_damage_can_be_skipped(train, capsys, name):
    DAMAGE[name][0](train.root / 'infrared' / 'train' / '1.png')
    train("on_error='skip'")
    assert 'training done' in capsys.readouterr().out and (train.work / 'epoch_1.pth').exists()


def test_missing_root_and_nothing_left(train, capsys):
    for path in (train.root / 'Annotations').glob('*.xml'):
        path.write_text('<annotation/>')
    with pytest.raises(SystemExit):
        train('filter_cfg=dict(filter_empty_gt=True)')
    assert 'leaves no pair of 3' in capsys.readouterr().err
    train.root.rename(train.root.with_name('elsewhere'))
    with pytest.raises(SystemExit):
        train()
    message = capsys.readouterr().err
    assert 'does not exist' in message and str(train.root) in message and 'Expected layout' in message
