"""Files, geometry, boxes and panels."""

import doctest
import importlib
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from mmfusion.fileio.image_writing import FileNames, write_image
from mmfusion.registry import VISUALIZERS
from mmfusion.structures import FusionDataSample
from mmfusion.visualization import draw_boxes, make_panel, to_picture, undo_resize, view_sample
from mmfusion.visualization.palette import class_colors


def smooth_picture(h=40, w=60, channels=3):
    rows, columns = np.mgrid[:h, :w]
    planes = [127 + 120 * np.sin(rows / (6 + c) + c) * np.cos(columns / (9 - c)) for c in range(channels)]
    return np.stack(planes, -1).round().astype(np.uint8)


def make_sample(**meta):
    sample = FusionDataSample(
        metainfo=dict(ori_shape=(40, 60), img_shape=(20, 30), scale_factor=(0.5, 0.5), sample_id='a', img_id=0, **meta)
    )
    sample.fused = PixelData(data=torch.rand(3, 20, 30))
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor([[10.0, 8.0, 40.0, 30.0]]), labels=torch.tensor([1]), scores=torch.tensor([0.9])
    )
    return sample


@pytest.mark.parametrize('shape', [(7, 9), (7, 9, 3)])
def test_write_image_keeps_every_value(tmp_path, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = write_image(str(tmp_path / 'new' / 'a.png'), image)
    read = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    assert (read == (image if image.ndim == 2 else image[..., ::-1])).all()
    assert os.listdir(tmp_path / 'new') == ['a.png']


def test_write_image_errors_name_the_file_and_leave_nothing(tmp_path, monkeypatch):
    image = np.zeros((4, 4), np.uint8)
    with pytest.raises(TypeError, match='a.png.*float64'):
        write_image('a.png', image / 2)
    with pytest.raises(ValueError, match=r'a.png.*\(4, 4, 2\)'):
        write_image('a.png', np.zeros((4, 4, 2), np.uint8))
    with pytest.raises(ValueError, match="'.gif2'"):
        write_image(str(tmp_path / 'a.gif2'), image)
    with pytest.raises(ValueError, match='unknown image format'):
        write_image(str(tmp_path / 'a'), image)
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match='cannot write .*file/a.png'):
        write_image(str(tmp_path / 'file' / 'a.png'), image)

    def full(*_):
        raise OSError(28, 'No space left on device')

    write_image(str(tmp_path / 'b.png'), image)
    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(OSError, match='b.png: No space left on device'):
        write_image(str(tmp_path / 'b.png'), image + 9)
    assert (
        sorted(os.listdir(tmp_path)) == ['b.png', 'file'] and cv2.imread(str(tmp_path / 'b.png')).max() == 0
    )  # the old one survives


def test_file_names_are_safe_and_distinct():
    names = FileNames()
    got = [names(*args) for args in (('a', 1), ('a', 2), ('A', 3), ('../a', 4), ('a_2', 5), ('a', 2), ('', 6))]
    assert len({name.lower() for name in got}) == 6 and got[1] == got[5]
    assert not any('/' in name or name.startswith('.') or not name for name in got)


def test_undo_resize_returns_to_the_original_geometry():
    original = smooth_picture()
    small = cv2.resize(original, (30, 20), interpolation=cv2.INTER_AREA)
    meta = dict(ori_shape=(40, 60), scale_factor=(0.5, 0.5))
    padded = np.full((32, 32, 3), 114, np.uint8)
    padded[:20, :30] = small
    for picture, flip in (
        (small, None),
        (padded, None),
        (small[:, ::-1], 'horizontal'),
        (small[::-1], 'vertical'),
        (small[::-1, ::-1], 'diagonal'),
    ):
        restored = undo_resize(picture, dict(meta, flip=flip is not None, flip_direction=flip))
        assert restored.shape == original.shape
        assert (
            np.abs(restored.astype(int) - original)[2:-2, 2:-2].mean() < 4
        )  # a shift or a mirrored image is off by 30 and more
    assert (
        undo_resize(original, dict(ori_shape=(40, 60))) is not None
        and (undo_resize(original, dict(ori_shape=(40, 60))) == original).all()
    )
    big = cv2.resize(original, (120, 80), interpolation=cv2.INTER_LINEAR)
    assert np.abs(undo_resize(big, dict(ori_shape=(40, 60), scale_factor=(2.0, 2.0))).astype(int) - original).mean() < 4
    assert undo_resize(small[:10], meta) is None  # cropped


def test_draw_boxes_draws_where_it_should():
    image = np.zeros((100, 120), np.uint8)
    out = draw_boxes(
        image,
        [[20, 30, 80, 90], [5, 5, 10, 10]],
        [0, 1],
        np.array([0.9, 0.1]),
        ('person', 'car'),
        [(255, 0, 0), (0, 255, 0)],
        0.3,
    )
    assert out.shape == (100, 120, 3) and not image.any()
    assert (out[60, 20] == (255, 0, 0)).all() and (out[90, 50] == (255, 0, 0)).all()
    assert not out[60, 50].any()  # inside stays
    assert not (out == (0, 255, 0)).all(-1).any()  # below the threshold
    assert (draw_boxes(image, np.zeros((0, 4)), []) == 0).all()


def test_draw_boxes_survives_odd_boxes():
    image = smooth_picture(30, 30)
    boxes = [[-1e9, -5, 1e9, 1e9], [np.nan, 0, 1, 1], [29, 29, 29, 29], [10, 10, 5, 5]]
    assert draw_boxes(image, boxes, [0, 1, 7, 2], classes=('person',)).shape == (30, 30, 3)


def test_class_colors_are_distinct_and_stable():
    colors = class_colors(12, [(1, 2, 3)])
    assert colors[0] == (1, 2, 3) and len(set(colors)) == 12 and colors == class_colors(12, [(1, 2, 3)])


def test_panel():
    images = [np.full((30, 40), 10, np.uint8), np.full((30, 50, 3), 20, np.uint8), np.full((30, 20), 30, np.uint8)]
    panel = make_panel(images, ['visible', 'infrared', 'a title that is far too long for its picture'])
    assert panel.shape == (52, 118, 3) and [panel[40, x, 0] for x in (5, 60, 110)] == [10, 20, 30]
    assert (panel[:22, :40] < 128).any() and (panel[:22] == 255).mean() > 0.5
    with pytest.raises(ValueError, match='equal height'):
        make_panel([images[0], images[1][:-1]], ['a', 'b'])
    with pytest.raises(ValueError, match='title'):
        make_panel(images, ['a', 'b'])


def test_to_picture_inverts_loading():
    image = smooth_picture()
    assert (to_picture(torch.from_numpy(image).permute(2, 0, 1).float() / 255) == image).all()
    assert to_picture(torch.rand(1, 4, 5)).shape == (4, 5)


def test_view_sample_original_and_network_size():
    sample = make_sample()
    sources = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8), torch.rand(1, 20, 30)
    view = view_sample(sample, *sources)
    assert (
        view.original
        and view.fused.shape == (40, 60, 3)
        and view.first.shape == (40, 60, 3)
        and view.second.shape == (40, 60)
    )
    assert view.boxes.tolist() == [[10, 8, 40, 30]]
    small = view_sample(sample, *sources, size='network')
    assert (
        small.fused.shape == (20, 30, 3)
        and small.boxes.tolist() == [[5, 4, 20, 15]]
        and (small.second == to_picture(sources[1])).all()
    )
    cropped = make_sample()
    cropped.fused = PixelData(data=torch.rand(3, 10, 10))
    assert not view_sample(cropped).original
    meta = dict(classes=('person', 'car'), palette=[(1, 2, 3), (4, 5, 6)], modalities=('visible', 'infrared'))
    assert (view.with_boxes(meta)[20, 10] == (4, 5, 6)).all()
    panel = view.panel(meta)
    assert panel.shape == (62, 188, 3) and (panel[22:, 128:] == view.with_boxes(meta)).all()
    with pytest.raises(ValueError, match='size'):
        view_sample(sample, size='big')


def test_view_without_predictions():
    sample = make_sample()
    del sample.pred_instances
    view = view_sample(sample)
    assert view.boxes.shape == (0, 4) and (view.with_boxes() == view.fused).all()


def test_visualizer_writes_panel(tmp_path):
    backends = [dict(type='LocalVisBackend')]
    visualizer = VISUALIZERS.build(
        dict(type='FusionVisualizer', name='fusion_test', vis_backends=backends, save_dir=str(tmp_path))
    )
    sources = torch.rand(3, 20, 30), torch.rand(1, 20, 30)
    panel = visualizer.add_datasample('x', sources, make_sample(), out_file=str(tmp_path / 'panel.png'))
    assert (cv2.imread(str(tmp_path / 'panel.png'))[..., ::-1] == panel).all()
    visualizer.add_datasample('x', sources, make_sample(), step=3)
    assert list(Path(tmp_path).rglob('x_3.png'))


@pytest.mark.parametrize(
    'name', ['visualization.drawing', 'visualization.geometry', 'fileio.image_writing', 'visualization.palette']
)
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(f'mmfusion.{name}'))
    assert result.attempted and not result.failed
