"""The valid region of a registered pair: through transforms, packing, batches, losses and metrics, and labels of either
source.
"""

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData, PixelData

import mmfusion.models  # noqa: F401
from mmfusion.apis import FusionInferencer
from mmfusion.datasets.transforms import LoadPair, PackFusionInputs, Paired, RandomResizedCrop, Register
from mmfusion.evaluation import FusionMetric
from mmfusion.fileio.errors import PairDataError
from mmfusion.models.couplings.steps.pair_batch import PairBatch, random_crop, resize_batch
from mmfusion.registration import Rig
from mmfusion.registration.geometry import similarity_matrix
from mmfusion.registry import MODELS, TRANSFORMS
from mmfusion.structures import FusionDataSample, Window, valid_window
from mmfusion.utils import UserError, register_all_modules

SHIFT = np.array([[1, 0, 12], [0, 1, -7], [0, 0, 1.0]])
TURN = similarity_matrix(0.9, 0.1, np.array([40.0, 30.0]), np.array([44.0, 27.0]))


@pytest.fixture(scope='module', autouse=True)
def modules():
    register_all_modules()


def pair(seed=0, shape=(60, 80)):
    rng = np.random.default_rng(seed)
    return dict(
        first=rng.integers(1, 256, (*shape, 3), np.uint8),
        second=rng.integers(1, 256, (*shape, 1), np.uint8),
        sample_id='a',
    )


def rig(folder, matrix=SHIFT, second=(60, 80)):
    Rig(matrix, 'similarity', (60, 80), second).save(folder / 'rig.yaml')
    return str(folder / 'rig.yaml')


@pytest.fixture
def loaded(tmp_path):
    return Register(rig(tmp_path, TURN))(pair())


TRANSFORMED = [
    dict(type='mmdet.Resize', scale=(120, 100), keep_ratio=False),
    dict(type='mmdet.RandomFlip', prob=1.0),
    dict(type='mmdet.RandomCrop', crop_size=(40, 50)),
    dict(type='mmdet.Pad', size_divisor=64),
    dict(type='mmseg.RandomCrop', crop_size=(52, 72), cat_max_ratio=0.3),
    dict(type='mmseg.RandomRotFlip', rotate_prob=1.0, flip_prob=0.0),
    dict(type='RandomResizedCrop', size=(48, 56)),
]


@pytest.mark.parametrize('config', TRANSFORMED, ids=lambda config: config['type'])
def test_moves_like_the_picture(loaded, config):
    """A first source that shows the region itself: transformed, its bright pixels are the region."""
    loaded['first'] = np.repeat(loaded['valid_map'][..., None] * np.uint8(200), 3, 2)
    loaded['gt_seg_map'] = np.random.default_rng(1).integers(0, 4, (60, 80)).astype(np.uint8)
    loaded['seg_fields'] = ['gt_seg_map']
    before = loaded['valid_map'].copy()
    np.random.seed(3)
    results = Paired(config)(loaded)
    valid, shown = results['valid_map'], results['first'][..., 0]
    assert valid.shape == shown.shape == results['gt_seg_map'].shape and set(np.unique(valid)) <= {0, 1}
    clear = (shown == 0) | (shown == 200)  # not the blended border
    assert clear.mean() > 0.9 and 0.1 < valid.mean() < 1
    assert np.array_equal(valid[clear] == 1, shown[clear] == 200)
    assert not np.array_equal(valid, before)
    assert set(np.unique(results['gt_seg_map'])) <= {0, 1, 2, 3, 255}  # the class map stays one


def test_second_random_numbers_are_not_used_up(loaded):
    """With and without the region the pipeline draws the same numbers."""
    plain = dict(pair(), second=loaded['second'].copy())
    results = []
    for item in (dict(loaded), plain):
        np.random.seed(5)
        results.append((Paired(dict(type='mmdet.RandomCrop', crop_size=(40, 50)))(item)['first'], np.random.rand()))
    assert np.array_equal(results[0][0], results[1][0]) and results[0][1] == results[1][1]


def test_transform_that_cannot_move_it_says_so(loaded):
    rng = np.random.default_rng(0)

    def crop(results):  # draws from a generator that cannot be reset, unless there is a class map
        start = 0 if 'gt_seg_map' not in results else int(rng.integers(1, 9))
        return dict(results, img=results['img'][start : start + 40])

    with pytest.raises(UserError, match='does not move the valid region'):
        Paired(crop)(loaded)


def test_packing_refuses_a_region_of_another_size(loaded):
    loaded['first'], loaded['second'] = loaded['first'][:50], loaded['second'][:50]
    with pytest.raises(ValueError, match='belong in Paired'):
        PackFusionInputs()(loaded)


def packed(folder, matrix=SHIFT, seed=0, **labels):
    results = Register(rig(folder, matrix))(pair(seed))
    return PackFusionInputs()(dict(results, **labels))


def test_packed_padded_cropped_and_resized(tmp_path):
    small = PackFusionInputs()(pair(1, (48, 64)))
    data = packed(tmp_path)
    sample = data['data_samples']
    assert sample.registration['matrix'] == SHIFT.tolist() and sample.valid_map.data.shape == (1, 60, 80)
    expected = Window(0, 12, 53, 68)
    assert valid_window(sample.valid_map.data) == expected
    batch = MODELS.build(dict(type='FusionDataPreprocessor', pad_size_divisor=64))(pseudo_collate([data, small]), True)
    assert batch['data_samples'][0].valid_map.data.shape == (1, 64, 128)
    assert (
        valid_window(batch['data_samples'][0].valid_map.data) == expected
        and 'valid_map' not in batch['data_samples'][1]
    )
    both = PairBatch(batch['inputs'], batch['data_samples'])
    assert valid_window(resize_batch(both, (120, 160)).samples[0].valid_map.data) == Window(0, 24, 106, 136)
    crop = random_crop(both, (32, 40), torch.Generator().manual_seed(0)).samples[0]
    assert crop.valid_map.data.shape == (1, 32, 40)


def test_window_is_the_largest_rectangle():
    """Against every rectangle of a small turned region."""
    valid = torch.from_numpy(np.fromfunction(lambda y, x: (abs(x - 14 + 0.3 * y) < 11) & (abs(y - 12) < 11), (24, 30)))
    sums = np.pad(valid.numpy().cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    areas = [
        (bottom - top) * (right - left)
        for top in range(24)
        for bottom in range(top + 1, 25)
        for left in range(30)
        for right in range(left + 1, 31)
        if sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        == (bottom - top) * (right - left)
    ]
    window = valid_window(valid)
    assert window.cut(valid).all() and window.height * window.width == max(areas)
    assert (
        valid_window(torch.zeros(1, 20, 20)) == Window(0, 0, 0, 0) and not valid_window(torch.zeros(1, 20, 20)).usable
    )
    large = torch.from_numpy(np.fromfunction(lambda y, x: abs(x - 300 + 0.05 * y) < 250, (480, 640)))
    window = valid_window(large)
    assert window.cut(large).all() and window.height * window.width > 0.97 * (480 * (499 - 24))


def coupling(**losses):
    return MODELS.build(dict(type='FusionOnly', fuser=dict(type='AverageFuser'), fusion_loss=losses))


LOSSES = dict(
    ssim=dict(type='SSIMFusionLoss'),
    pixel=dict(type='MaxIntensityLoss'),
    grad=dict(type='SobelMaxLoss'),
    boxes=dict(type='BoxGuidedPixelLoss'),
)


def loss_inputs(fill, seed=0, boxes=((20.0, 10.0, 50.0, 40.0),)):
    """A pair whose second source is valid from column 24 and row 8 on, and has ``fill`` elsewhere."""
    rng = torch.Generator().manual_seed(seed)
    first, second = torch.rand(1, 3, 64, 96, generator=rng), torch.rand(1, 1, 64, 96, generator=rng)
    valid = torch.zeros(1, 64, 96, dtype=torch.uint8)
    valid[:, 8:, 24:] = 1
    second = torch.where(valid == 1, second, torch.tensor(fill))
    sample = FusionDataSample(metainfo=dict(img_shape=(64, 96)))
    sample.gt_instances = InstanceData(bboxes=torch.tensor(boxes), labels=torch.zeros(len(boxes), dtype=torch.long))
    sample.valid_map = PixelData(data=valid)
    return dict(first=first, second=second), sample


def test_losses_leave_invalid_pixels_out():
    """Equal to the losses of the valid part alone, whatever stands elsewhere; its boxes moved along."""
    model, found = coupling(**LOSSES), []
    for fill in (0.0, 1.0):
        inputs, sample = loss_inputs(fill)
        inputs['first'].requires_grad_()
        losses = model(inputs, [sample], mode='loss')
        found.append({name: value.item() for name, value in losses.items()})
        (gradient,) = torch.autograd.grad(sum(losses.values()), inputs['first'])
        assert gradient[..., 8:, 24:].abs().sum() > 0
        assert gradient[..., :8, :].abs().sum() == gradient[..., :24].abs().sum() == 0
    assert found[0] == found[1]
    inputs, sample = loss_inputs(0.0)
    part = {name: image[..., 8:, 24:] for name, image in inputs.items()}
    sample.gt_instances.bboxes = sample.gt_instances.bboxes - torch.tensor([24.0, 8, 24, 8])
    del sample.valid_map
    whole = model(part, [sample], mode='loss')
    assert found[0] == pytest.approx({name: value.item() for name, value in whole.items()}, rel=1e-6)


def test_pictures_without_overlap_do_not_count():
    model, (one, first), (other, second) = (
        coupling(ssim=dict(type='SSIMFusionLoss')),
        loss_inputs(0.0),
        loss_inputs(0.5, 1),
    )
    second.valid_map.data.zero_()
    both = {name: torch.cat([one[name], other[name]]) for name in one}
    alone = model(one, [first], mode='loss')['fusion.loss_ssim']
    assert model(both, [first, second], mode='loss')['fusion.loss_ssim'].item() == pytest.approx(alone.item(), rel=1e-6)
    assert model(other, [second], mode='loss')['fusion.loss_ssim'].item() == 0


def test_metrics_leave_invalid_pixels_out():
    values = []
    for fill, cut in ((0.0, False), (1.0, False), (0.0, True)):
        inputs, sample = loss_inputs(fill)
        if cut:
            inputs = {name: image[..., 8:, 24:] for name, image in inputs.items()}
            del sample.valid_map
        fused = coupling().fuse(inputs).image
        sample.fused = PixelData(data=fused[0])
        metric = FusionMetric(metrics=['EN', 'SSIM', 'Qabf'])
        metric.process(dict(inputs=inputs), [sample.to_dict()])
        values.append(metric.evaluate(1))
    assert values[0] == values[1] == values[2]
    sample.valid_map = PixelData(data=torch.zeros(1, *sample.fused.data.shape[1:]))
    metric.process(dict(inputs=inputs), [sample.to_dict()])
    with pytest.warns(UserWarning):
        assert np.isnan(list(metric.evaluate(1).values())).all()


def test_labels_of_the_first_stay_and_of_the_second_move(tmp_path):
    path = rig(tmp_path, SHIFT, (50, 70))
    item = dict(
        first=pair()['first'],
        second=pair()['second'][:50, :70],
        gt_bboxes=np.array([[10.0, 20, 30, 40], [0, 0, 8, 6], [60, 40, 70, 50]], np.float32),
        gt_bboxes_labels=np.array([1, 2, 3]),
        instances=[dict(bbox=[10, 20, 30, 40], bbox_label=1), dict(bbox=[0, 0, 8, 6], bbox_label=2)],
    )
    stay = Register(path)({**item})
    assert np.array_equal(stay['gt_bboxes'], item['gt_bboxes']) and stay['instances'] == item['instances']
    item['gt_seg_map'] = np.full((50, 70), 3, np.uint8)
    move = Register(path, labels='second')(item)
    assert move['gt_bboxes'].tolist() == [
        [22, 13, 42, 33],
        [72, 33, 80, 43],
    ]  # above the border is none, and one is cut
    assert move['gt_bboxes_labels'].tolist() == [1, 3]
    assert move['instances'] == [dict(bbox=[22, 13, 42, 33], bbox_label=1)]
    assert np.array_equal(move['gt_seg_map'] == 3, move['valid_map'] == 1) and (move['gt_seg_map'][-17:] == 255).all()


@pytest.mark.parametrize(
    'change, error, message',
    [
        (dict(labels='third'), ValueError, "labels must be 'first' or 'second'"),
        (dict(registration=None), TypeError, "must be 'auto'"),
        (dict(registration='none.yaml'), UserError, 'does not exist'),
    ],
)
def test_bad_arguments(change, error, message):
    with pytest.raises(error, match=message):
        Register(**change)


def test_bad_samples(tmp_path):
    register = Register(rig(tmp_path), labels='second')
    with pytest.raises(KeyError, match='put LoadPair'):
        register(dict(first=np.zeros((60, 80, 3), np.uint8)))
    with pytest.raises(PairDataError, match=r'the second image has 20x16 pixels, the rig was made for 80x60'):
        register(dict(pair(), second=np.zeros((16, 20, 1), np.uint8)))
    with pytest.raises(ValueError, match='does not move gt_masks'):
        register(dict(pair(), gt_masks=[]))
    with pytest.raises(ValueError, match='after the class map is loaded'):
        register(dict(pair(), seg_map_path='a.png'))


def test_pipeline_with_sizes_that_differ(tmp_path):
    item = dict(pair(), second=pair()['second'][:50, :70])
    with pytest.raises(PairDataError, match='registered and of one size'):
        LoadPair()({**item})
    pipeline = [
        LoadPair(same_size=False),
        TRANSFORMS.build(dict(type='Register', registration=rig(tmp_path, SHIFT, (50, 70)))),
        Paired(RandomResizedCrop((32, 32))),
        PackFusionInputs(),
    ]
    for step in pipeline:
        item = step(item)
    assert item['data_samples'].valid_map.data.shape == (1, 32, 32)


def test_inferencer_takes_the_step_of_the_pipeline(tmp_path):
    path, given = rig(tmp_path, SHIFT, (50, 70)), pair()
    second = given['second'][:50, :70]
    config = tmp_path / 'config.py'
    config.write_text(
        "model = dict(type='FusionOnly', fuser=dict(type='AverageFuser'))\n"
        "test_pipeline = [dict(type='LoadPair', same_size=False), dict(type='Register', registration="
        f"'{path}'), dict(type='PackFusionInputs')]\n"
        "test_dataloader = dict(dataset=dict(type='PairFolderDataset', pipeline=test_pipeline))\n"
    )
    by_step = FusionInferencer(str(config))(given['first'], second)[0]
    by_load = FusionInferencer('AverageFuser', load=dict(registration=path))(given['first'], second)[0]
    assert np.array_equal(by_step.fused, by_load.fused)
    assert by_step.registration['matrix'] == SHIFT.tolist() and 0 < by_step.registration['coverage'] < 1
