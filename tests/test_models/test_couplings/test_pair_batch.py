"""Crops, resizes and exchanges of whole batches, with their labels."""

import tiny_models
import torch

from mmfusion.models.couplings.steps.pair_batch import PairBatch, random_crop, resize_batch, swap_roles


def make(number=2, **options):
    return PairBatch(*tiny_models.make_batch(number, **options))


def numbered(height=20, width=30):
    """Images whose pixels tell where they were: row * 1000 + column."""
    _, samples = tiny_models.make_batch(1, height, width)
    image = (torch.arange(height)[:, None] * 1000.0 + torch.arange(width))[None, None]
    return PairBatch(dict(first=image, second=-image), samples)


def test_a_crop_takes_both_sources_and_the_class_map_at_one_place():
    batch = make(3)
    for index, images in enumerate(batch.inputs['first']):
        batch.samples[index].gt_sem_seg.data = (images[:1] * 100).long()
    crop = random_crop(batch, (40, 48))
    assert crop.inputs['first'].shape == (3, 3, 40, 48) and crop.inputs['second'].shape == (3, 1, 40, 48)
    for image, sample in zip(crop.inputs['first'], crop.samples):
        assert torch.equal((image[:1] * 100).long(), sample.gt_sem_seg.data) and sample.img_shape == (40, 48)
    numbers = random_crop(numbered(), (16, 16))
    assert torch.equal(numbers.inputs['first'], -numbers.inputs['second'])


def test_crops_reach_every_row_and_column_also_the_last():
    """The published program never reaches the last column."""
    batch, corners = numbered(), set()
    for _ in range(600):
        value = int(random_crop(batch, (17, 27)).inputs['first'][0, 0, 0, 0])
        corners.add(divmod(value, 1000))
    assert corners == {(y, x) for y in range(4) for x in range(4)}


def test_a_crop_stays_inside_the_picture_and_shrinks_to_the_smallest():
    batch = make()
    batch.samples[1].set_metainfo(dict(img_shape=(30, 50)))
    batch.inputs['second'][1, :, 30:] = 7
    batch.inputs['second'][1, :, :, 50:] = 7
    crop = random_crop(batch, (256, 256))
    assert crop.inputs['second'].shape == (2, 1, 30, 50) and crop.inputs['second'].max() <= 1
    whole = random_crop(batch, None)
    assert whole is batch


def test_boxes_move_with_the_crop():
    batch = make(1)
    batch.samples[0].gt_instances.bboxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [20.0, 10.0, 60.0, 50.0]])
    generator = torch.Generator().manual_seed(3)
    crop = random_crop(batch, (32, 32), generator)
    y, x = ((crop.inputs['first'][0, 0, 0, 0] == batch.inputs['first'][0, 0]).nonzero()[0]).tolist()
    wanted = []
    for box, label in zip(batch.samples[0].gt_instances.bboxes.tolist(), batch.samples[0].gt_instances.labels.tolist()):
        x1, y1, x2, y2 = max(box[0] - x, 0), max(box[1] - y, 0), min(box[2] - x, 32), min(box[3] - y, 32)
        if x2 - x1 >= 1 and y2 - y1 >= 1:
            wanted.append([x1, y1, x2, y2, label])
    found = crop.samples[0].gt_instances
    assert torch.cat([found.bboxes, found.labels[:, None]], 1).tolist() == wanted
    assert batch.samples[0].gt_instances.bboxes[1].tolist() == [
        20.0,
        10.0,
        60.0,
        50.0,
    ]  # the sample itself is left alone


def test_boxes_are_scaled_by_width_and_height():
    """The published program divides x by the height and y by the width; a picture that is not square tells."""
    batch = make(1)  # 64 x 96
    batch.samples[0].gt_instances.bboxes = torch.tensor([[0.0, 0.0, 96.0, 64.0], [48.0, 16.0, 72.0, 48.0]])
    small = resize_batch(batch, (16, 48))
    assert small.samples[0].gt_instances.bboxes.tolist() == [[0.0, 0.0, 48.0, 16.0], [24.0, 4.0, 36.0, 12.0]]
    assert small.samples[0].scale_factor == (0.5, 0.25) and small.samples[0].img_shape == (16, 48)
    assert small.inputs['first'].shape == (1, 3, 16, 48)


def test_a_marked_object_stays_in_its_box():
    batch = make(1)
    batch.inputs['first'].zero_()
    batch.inputs['first'][..., 16:48, 24:72] = 1
    batch.samples[0].gt_instances.bboxes = torch.tensor([[24.0, 16.0, 72.0, 48.0]] * 2)
    small = resize_batch(batch, (32, 24))
    x1, y1, x2, y2 = small.samples[0].gt_instances.bboxes[0].int().tolist()
    inside = torch.zeros(32, 24)
    inside[y1:y2, x1:x2] = 1
    assert torch.equal(small.inputs['first'][0, 0], inside)


def test_resize_leaves_padding_behind_and_takes_class_maps_as_they_are():
    batch = make()
    batch.samples[1].set_metainfo(dict(img_shape=(32, 48)))
    batch.samples[1].gt_sem_seg.data[:, 32:] = 255
    batch.samples[1].gt_sem_seg.data[:, :, 48:] = 255
    batch.inputs['first'][1, :, 32:] = 9
    batch.inputs['first'][1, :, :, 48:] = 9
    double = resize_batch(batch, (64, 96))
    assert double.inputs['first'].max() <= 1
    assert torch.equal(double.inputs['first'][0], batch.inputs['first'][0])
    wanted = batch.samples[1].gt_sem_seg.data[0, :32, :48].repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.equal(double.samples[1].gt_sem_seg.data[0], wanted)


def test_roles_are_swapped_in_the_second_half():
    batch = make()
    both = swap_roles(batch)
    grey = batch.inputs['second'].expand(-1, 3, -1, -1)
    assert torch.equal(both.inputs['first'], torch.cat([batch.inputs['first'], grey]))
    assert torch.equal(both.inputs['second'], torch.cat([grey, batch.inputs['first']]))
    assert torch.equal(both.samples[3].gt_instances.bboxes, batch.samples[1].gt_instances.bboxes)
    assert both.samples[2] is not batch.samples[0]
