"""FusionInferencer: files, folders, arrays, boxes, panels, and what happens with bad input."""

import copy
import os
import warnings

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from tiny_models import CLASSES, rtmdet

from mmfusion.apis import FusionInferencer, build_coupling
from mmfusion.apis.result import output_files
from mmfusion.fileio.errors import PairDataError
from mmfusion.models.fusers import AverageFuser, LaplacianPyramidFuser
from mmfusion.registry import INFERENCERS
from mmfusion.utils import UserError

H, W = 46, 70


@pytest.fixture
def arrays():
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (H, W, 3), dtype=np.uint8), generator.integers(0, 256, (H, W), dtype=np.uint8)


@pytest.fixture
def folders(tmp_path):
    generator = np.random.default_rng(1)
    for folder, channels in (('vi', 3), ('ir', 1)):
        (tmp_path / folder).mkdir()
        for i in range(4):
            size = (H, W) if i < 3 else (H + 9, W - 3)
            cv2.imwrite(
                str(tmp_path / folder / f'{i}.png'), generator.integers(0, 256, (*size, channels), dtype=np.uint8)
            )
    return tmp_path / 'vi', tmp_path / 'ir'


@pytest.fixture(scope='module')
def detector_config():
    """A coupling whose test pipeline resizes to half and whose detector is untrained, so that it finds many boxes."""
    detector = rtmdet()
    detector['test_cfg'].update(score_thr=0.0)
    resize = dict(type='Paired', transform=dict(type='mmdet.Resize', scale=(W // 2, H // 2), keep_ratio=False))
    pipeline = [
        dict(type='LoadPair', color_type=dict(first='color', second='grayscale')),
        resize,
        dict(type='mmdet.LoadAnnotations', with_bbox=True),
        dict(type='PackFusionInputs'),
    ]
    metainfo = dict(classes=tuple('abc'), palette=[(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    assert CLASSES == 3
    return Config(
        dict(
            model=dict(type='JointCoupling', fuser=dict(type='AverageFuser'), tasks=dict(det=detector)),
            test_dataloader=dict(
                dataset=dict(
                    type='RepeatDataset',
                    times=1,
                    dataset=dict(type='LLVIPDataset', metainfo=metainfo, pipeline=pipeline),
                )
            ),
        )
    )


@pytest.fixture(scope='module')
def detecting(detector_config):
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match='AverageFuser is used without weights'):
        return FusionInferencer(copy.deepcopy(detector_config))


def test_array_pair_in_one_call(arrays):
    (result,) = INFERENCERS.build(dict(type='FusionInferencer', model='AverageFuser'))(*arrays)
    luma = arrays[0] @ np.array([0.299, 0.587, 0.114])
    assert (
        result.fused.shape == (H, W, 3)
        and result.fused.dtype == np.uint8
        and not result.files
        and result.instances is None
    )
    inside = ((result.fused > 0) & (result.fused < 255)).all(-1)  # where no channel was clipped, luma is the average
    error = (result.fused @ np.array([0.299, 0.587, 0.114]) - (luma + arrays[1]) / 2)[inside]
    assert inside.mean() > 0.2 and np.abs(error).max() < 1


def test_grey_sources_give_grey(arrays):
    (result,) = FusionInferencer('SourceFuser')(arrays[1], arrays[1][::-1])
    assert result.fused.shape == (H, W) and (result.fused == arrays[1]).all()


def test_channel_order_of_arrays(arrays):
    fuse = FusionInferencer('LaplacianPyramidFuser')
    rgb = fuse(*arrays, panel=True)[0]
    bgr = fuse(arrays[0][..., ::-1], arrays[1], panel=True, channel_order='bgr')[0]
    assert (rgb.fused == bgr.fused[..., ::-1]).all() and (rgb.panel == bgr.panel[..., ::-1]).all()


def test_files_equal_arrays_and_original_size(folders, tmp_path):
    fuse = FusionInferencer('LaplacianPyramidFuser')
    (result,) = fuse(folders[0] / '3.png', folders[1] / '3.png', out_dir=tmp_path / 'new' / 'x.png', panel=True)
    assert result.name == '3' and set(os.listdir(tmp_path / 'new')) == {'x.png', 'x_panel.png'}
    written = cv2.imread(str(tmp_path / 'new' / 'x.png'))[..., ::-1]
    assert written.shape == (H + 9, W - 3, 3) and (written == result.fused).all()
    sources = cv2.imread(str(folders[0] / '3.png')), cv2.imread(str(folders[1] / '3.png'), cv2.IMREAD_GRAYSCALE)
    assert (fuse(*sources, channel_order='bgr')[0].fused[..., ::-1] == result.fused).all()


def test_sixteen_bit_files(tmp_path):
    deep = np.linspace(0, 65535, 20 * 24).reshape(20, 24).astype(np.uint16)
    for name in 'ab':
        cv2.imwrite(str(tmp_path / f'{name}.tif'), deep)
    (result,) = FusionInferencer('AverageFuser')(tmp_path / 'a.tif', tmp_path / 'b.tif')
    assert np.abs(result.fused.astype(float) - deep / 257).max() <= 0.51
    (result,) = FusionInferencer('AverageFuser', load=dict(stretch=(0, 50)))(tmp_path / 'a.tif', tmp_path / 'b.tif')
    assert (result.fused == 255).mean() > 0.45


@pytest.mark.parametrize('batch_size', [1, 2, 8])
def test_folders(folders, tmp_path, batch_size, capsys):
    fuse = FusionInferencer('MaximumFuser')
    results = fuse(*folders, out_dir=tmp_path / 'out', batch_size=batch_size)
    assert [result.name for result in results] == ['0', '1', '2', '3'] and all(
        result.fused is None for result in results
    )
    assert (
        sorted(os.listdir(tmp_path / 'out')) == ['0.png', '1.png', '2.png', '3.png']
        and '4 of 4' in capsys.readouterr().err
    )
    kept = fuse(*folders, progress=False)
    for result, one in zip(results, kept):
        assert (cv2.imread(result.files['fused'])[..., ::-1] == one.fused).all()


def test_lists_of_files_with_equal_names(folders):
    files = [folder / '0.png' for folder in folders]
    results = FusionInferencer('AverageFuser')(files, files[::-1], progress=False)
    assert [result.name for result in results] == ['0', '0_1'] and (results[0].fused == results[1].fused).all()


def test_skip_existing_goes_on(folders, tmp_path):
    fuse = FusionInferencer('AverageFuser')
    out = tmp_path / 'out'
    fuse(*folders, out_dir=out, progress=False)
    os.remove(out / '2.png')
    (out / '1.png').write_bytes(b'kept')
    results = fuse(*folders, out_dir=out, skip_existing=True, progress=False)
    assert [bool(result.skipped) for result in results] == [True, True, False, True] and (
        out / '1.png'
    ).read_bytes() == b'kept'
    assert not any(
        result.skipped for result in fuse(*folders, out_dir=out, skip_existing=True, panel=True, progress=False)
    )  # the panels are missing


def test_skip_bad_pairs(folders, tmp_path):
    (folders[0] / '1.png').write_bytes((folders[0] / '1.png').read_bytes()[:100])
    cv2.imwrite(str(folders[1] / '2.png'), np.zeros((30, 30), np.uint8))
    cv2.imwrite(str(folders[1] / 'alone.png'), np.zeros((30, 30), np.uint8))
    fuse = FusionInferencer('AverageFuser')
    with pytest.raises(UserError, match='1 images have no partner.*alone.png'):
        fuse(*folders)
    results = fuse(*folders, on_error='skip', progress=False)
    assert [bool(result.skipped) for result in results] == [False, True, True, False]
    assert 'truncated' in results[1].skipped and '30x30' in results[2].skipped
    with pytest.raises(PairDataError, match='1.png is truncated'):
        fuse(folders[0] / '1.png', folders[1] / '1.png')


def test_boxes_in_original_coordinates(detecting, arrays, tmp_path):
    (result,) = detecting(*arrays, draw_boxes=True, panel=True, score_thr=0.0, out_dir=tmp_path)
    boxes = result.instances.bboxes
    assert (
        len(boxes) and boxes[:, 2].max() > W / 2 + 1 and boxes[:, 2].max() <= W + 1e-3 and boxes[:, 3].max() <= H + 1e-3
    )
    assert sorted(os.path.relpath(file, tmp_path) for file in result.files.values()) == [
        'boxes/pair_0.png',
        'pair_0.png',
        'panel/pair_0.png',
    ]
    assert (result.boxes_image != result.fused).any()
    assert (
        result.fused == FusionInferencer('AverageFuser')(*arrays)[0].fused
    ).all()  # boxes do not change the fused picture
    assert result.panel.shape[1] == 3 * W + 8 and (result.panel[-H:, -W:] == result.boxes_image).all()
    clean = detecting(*arrays, panel=True)[0]
    assert clean.instances is None and (clean.panel[-H:, -W:] == clean.fused).all()
    assert len(detecting(*arrays, predict=True)[0].instances) == len(boxes)


def test_boxes_equal_the_test_pipeline_batched(detecting, folders):
    single = detecting(*folders, predict=True, progress=False)
    for one, other in zip(single, detecting(*folders, predict=True, batch_size=3, progress=False)):
        torch.testing.assert_close(one.instances.scores[:5], other.instances.scores[:5], rtol=1e-4, atol=1e-5)
        assert (one.fused == other.fused).all()


def test_results_of_a_folder_hold_no_images(detecting, folders, tmp_path):
    results = detecting(*folders, out_dir=tmp_path / 'out', predict=True, progress=False)
    assert len(results) == 4
    for result in results:
        assert result.fused is None and 'fused' not in result.data_sample and len(result.instances) > 0
    assert 'fused' in detecting(*folders, predict=True, progress=False)[0].data_sample


def test_divergence_is_named(arrays):
    fuse = FusionInferencer('AverageFuser')
    fuse.coupling.fuser.fuse = lambda first, second: (
        type(fuse.coupling.fuser)
        .fuse(fuse.coupling.fuser, first, second)
        ._replace(fused=torch.full_like(first, float('nan')))
    )
    for predict in (False, True):
        with pytest.raises(UserError, match='the fused image of pair_0 holds NaN'):
            fuse(*arrays, predict=predict)


def test_without_resize_the_prediction_is_reused(detector_config, arrays, monkeypatch):
    cfg = copy.deepcopy(detector_config)
    cfg.test_dataloader.dataset.dataset.pipeline.pop(1)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        fuse = FusionInferencer(cfg)
    expected = fuse(*arrays)[0].fused
    calls = []
    original = fuse.coupling.fuse
    monkeypatch.setattr(fuse.coupling, 'fuse', lambda *args, **kwargs: calls.append(1) or original(*args, **kwargs))
    assert (fuse(*arrays, predict=True)[0].fused == expected).all() and len(calls) == 1


def test_weights_round_trip(detector_config, arrays, tmp_path):
    with pytest.warns(UserWarning, match='without weights'):
        built = build_coupling(copy.deepcopy(detector_config))
    torch.save(dict(state_dict=built.coupling.state_dict()), tmp_path / 'w.pth')
    cfg = tmp_path / 'cfg.py'
    copy.deepcopy(detector_config).dump(str(cfg))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        loaded = FusionInferencer(str(cfg), tmp_path / 'w.pth')
    for key, value in built.coupling.state_dict().items():
        assert torch.equal(value, loaded.coupling.state_dict()[key])
    assert loaded.meta['classes'] == ('a', 'b', 'c') and not loaded.coupling.training
    with pytest.raises(UserError, match='does not fit'):
        FusionInferencer('AverageFuser', tmp_path / 'w.pth')


def test_models_of_every_kind(arrays):
    expected = FusionInferencer('LaplacianPyramidFuser')(*arrays)[0].fused
    built = build_coupling('LaplacianPyramidFuser').coupling
    cfg = dict(type='LaplacianPyramidFuser')
    for model in (cfg, dict(type='FusionOnly', fuser=cfg), dict(model=cfg), LaplacianPyramidFuser(), built):
        assert (FusionInferencer(model)(*arrays)[0].fused == expected).all()
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # nothing learned, no warning
        FusionInferencer('AverageFuser')


class BrokenFuser(AverageFuser):
    """Stands for a model whose training diverged."""

    def fuse(self, first, second):
        output = super().fuse(first, second)
        return output._replace(fused=output.fused * float('nan'))


def test_clear_errors(arrays, folders, tmp_path):
    fuse = FusionInferencer('AverageFuser')
    with pytest.raises(UserError, match='nowhere.png does not exist'):
        fuse('nowhere.png', folders[1])
    with pytest.raises(UserError, match='first is a folder.*second a file'):
        fuse(folders[0], folders[1] / '0.png')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='no pair of images'):
        fuse(tmp_path / 'empty', tmp_path / 'empty')
    with pytest.raises(UserError, match='2 first and 1 second'):
        fuse([arrays[0], arrays[0]], [arrays[1]])
    with pytest.raises(UserError, match='entry 0 of first is a folder'):
        fuse([folders[0]], [folders[1]])
    with pytest.raises(TypeError, match='int'):
        fuse(3, 4)
    with pytest.raises(PairDataError, match='registered'):
        fuse(arrays[0], arrays[1][:-1])
    with pytest.raises(PairDataError, match='at least 16x16'):
        fuse(arrays[0][:1, :1], arrays[1][:1, :1])
    with pytest.raises(UserError, match='no detector'):
        fuse(*arrays, draw_boxes=True)
    with pytest.raises(UserError, match='4 pairs cannot be written to the one file'):
        fuse(*folders, out_dir=tmp_path / 'x.png')
    with pytest.raises(ValueError, match='channel_order'):
        fuse(*arrays, channel_order='grb')
    with pytest.raises(UserError, match='pair_0 holds NaN'):
        FusionInferencer(BrokenFuser())(*arrays)
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match='cannot write .*file'):
        fuse(*arrays, out_dir=tmp_path / 'file')


def test_clear_errors_of_models(tmp_path):
    with pytest.raises(UserError, match="'AverageFusr' is neither.*AverageFuser"):
        FusionInferencer('AverageFusr')
    with pytest.raises(UserError, match='config not found'):
        FusionInferencer('configs/none.py')
    with pytest.raises(UserError, match='neither a coupling nor a fuser'):
        FusionInferencer(dict(type='FusionDataPreprocessor'))
    with pytest.raises(TypeError, match='int'):
        FusionInferencer(3)
    with pytest.raises(UserError, match='checkpoint not found'):
        FusionInferencer('AverageFuser', tmp_path / 'none.pth')
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match='no usable GPU'):
            FusionInferencer('AverageFuser', device='cuda')


def test_output_files():
    assert output_files(None, 'a', ('fused',)) == {}
    assert output_files('o.d', 'a', ('fused', 'boxes')) == {'fused': 'o.d/a.png', 'boxes': 'o.d/boxes/a.png'}


@pytest.mark.parametrize('name', ['pairs', 'result', 'inferencer'])
def test_docstring_examples(name):
    import doctest
    import importlib

    result = doctest.testmod(importlib.import_module(f'mmfusion.apis.{name}'))
    assert result.attempted and not result.failed
