"""A detector of one set of classes becomes one of another: the scores of a class are those that the class of the same
name had.
"""

import pytest
import tiny_detectors
import torch
from tiny_detectors import THEIRS, checkpoint_of

from mmfusion.models.couplings import TaskNetwork
from mmfusion.models.pretrained import class_axes
from mmfusion.models.scoped import build_scoped
from mmfusion.utils import UserError

OURS = ('Car', 'People', 'cart')  # the last is unknown to the checkpoint
PARTNERS = {0: 4, 1: 1}


def loaded(family, path, classes=OURS, **options):
    cfg = tiny_detectors.FAMILIES[family](len(classes))
    cfg['init_cfg'] = dict(type='mmfusion.PretrainedTask', checkpoint=str(path), classes=classes, **options)
    task = TaskNetwork(cfg)
    task.init_weights()
    return task.network


def class_values(family, network, features):
    """(..., classes) outputs of the classification layers, read as the head of mmdet reads them, without background and
    other places.
    """
    number = 5 if network.name == 'theirs' else 3
    if family in ('faster_rcnn', 'mask_rcnn'):
        return [network.roi_head.bbox_head(features)[0][..., :number]]
    if family == 'cascade_rcnn':
        return [head(features)[0][..., :number] for head in network.roi_head.bbox_head]
    if family == 'segmentor':
        return [network.decode_head.conv_seg(features).movedim(1, -1)]
    if family in ('detr', 'conditional_detr', 'dab_detr'):
        return [network.bbox_head.fc_cls(features)[..., :number]]
    if family in ('deformable_detr', 'dino'):
        return [branch(features) for branch in network.bbox_head.cls_branches]
    maps = network.bbox_head(features)[0]
    offset = 5 if family == 'yolov3' else 0
    return [image.permute(0, 2, 3, 1).reshape(len(image), -1, number + offset)[..., offset:] for image in maps]


FEATURES = dict(
    faster_rcnn=(2, 32, 7, 7),
    mask_rcnn=(2, 32, 7, 7),
    cascade_rcnn=(2, 32, 7, 7),
    segmentor=(2, 16, 4, 4),
    detr=(2, 3, 32),
    conditional_detr=(2, 3, 32),
    dab_detr=(2, 3, 32),
    deformable_detr=(2, 3, 32),
    dino=(2, 3, 32),
    rtmdet=[(2, 32, 4, 4)] * 3,
    yolox=[(2, 16, 4, 4)] * 3,
    yolov3=[(2, 16, 4, 4), (2, 8, 4, 4), (2, 8, 4, 4)],
    fcos=[(2, 16, 4, 4)] * 5,
    retinanet=[(2, 16, 4, 4)] * 5,
    gfl=[(2, 16, 4, 4)] * 5,
)


@pytest.mark.parametrize('family', tiny_detectors.FAMILIES)
def test_scores_are_those_of_the_class_of_the_same_name_and_all_else_stays(family, tmp_path):
    theirs = checkpoint_of(family, tmp_path / 'theirs.pth').eval()
    ours = loaded(family, tmp_path / 'theirs.pth').eval()
    theirs.name, ours.name = 'theirs', 'ours'
    shape = FEATURES[family]
    features = tuple(torch.rand(*size) for size in shape) if isinstance(shape, list) else torch.rand(*shape)
    with torch.no_grad():
        for old, new in zip(class_values(family, theirs, features), class_values(family, ours, features), strict=True):
            assert new.shape[-1] == len(OURS)
            for label, partner in PARTNERS.items():
                torch.testing.assert_close(new[..., label], old[..., partner], rtol=1e-5, atol=1e-5)
                assert not torch.allclose(new[..., label], old[..., partner - 1])
    before, after, axes = theirs.state_dict(), ours.state_dict(), class_axes(ours, len(OURS))
    assert set(after) == set(before)
    assert [key for key in after if not torch.equal(after[key], before[key])] == list(
        axes
    )  # all else is the checkpoint's


@pytest.mark.parametrize('family', ['faster_rcnn', 'mask_rcnn'])
def test_boxes_and_background_of_two_stage_heads(family, tmp_path):
    theirs = checkpoint_of(family, tmp_path / 'theirs.pth').roi_head.eval()
    ours = loaded(family, tmp_path / 'theirs.pth').roi_head.eval()
    features = torch.rand(2, 32, 7, 7)
    with torch.no_grad():
        (old_scores, old_boxes), (new_scores, new_boxes) = theirs.bbox_head(features), ours.bbox_head(features)
        torch.testing.assert_close(new_scores[:, -1], old_scores[:, -1])
        for label, partner in PARTNERS.items():
            torch.testing.assert_close(new_boxes.view(2, 3, 4)[:, label], old_boxes.view(2, 5, 4)[:, partner])
        if family == 'mask_rcnn':
            old, new = (
                head.mask_head(torch.rand(1, 32, 14, 14, generator=torch.Generator().manual_seed(1)))
                for head in (theirs, ours)
            )
            torch.testing.assert_close(new[:, 0], old[:, 4])


def test_unknown_classes_keep_the_heads_own_initialization(tmp_path):
    checkpoint_of('retinanet', tmp_path / 'theirs.pth')
    bias = loaded('retinanet', tmp_path / 'theirs.pth').bbox_head.retina_cls.bias.view(9, 3)
    torch.testing.assert_close(
        bias[:, 2], torch.full((9,), -4.59512), atol=1e-4, rtol=0
    )  # a score of 0.01, as RetinaNet begins with
    assert (bias[:, :2] > 0).all()


def test_order_of_equally_many_classes(tmp_path):
    """No shape tells that the classes are in another order; the names do."""
    theirs = checkpoint_of('fcos', tmp_path / 'theirs.pth')
    ours = loaded('fcos', tmp_path / 'theirs.pth', THEIRS[::-1])
    assert torch.equal(ours.bbox_head.conv_cls.weight, theirs.bbox_head.conv_cls.weight.flip(0))


def test_names_of_old_files_and_of_the_config(tmp_path):
    theirs = checkpoint_of('fcos', tmp_path / 'old.pth', CLASSES=THEIRS)
    assert torch.equal(
        loaded('fcos', tmp_path / 'old.pth').bbox_head.conv_cls.bias[0], theirs.bbox_head.conv_cls.bias[4]
    )
    checkpoint_of('fcos', tmp_path / 'unnamed.pth', epoch=3)
    with pytest.raises(UserError, match='5 classes .*does not name them.*checkpoint_classes'):
        loaded('fcos', tmp_path / 'unnamed.pth')
    named = loaded('fcos', tmp_path / 'unnamed.pth', checkpoint_classes=THEIRS)
    assert torch.equal(named.bbox_head.conv_cls.bias[0], theirs.bbox_head.conv_cls.bias[4])
    with pytest.raises(UserError, match='5 classes .*but 2 names'):
        loaded('fcos', tmp_path / 'unnamed.pth', checkpoint_classes=('car', 'person'))


def test_synonyms_of_the_user_go_first(tmp_path):
    theirs = checkpoint_of('fcos', tmp_path / 'theirs.pth').bbox_head.conv_cls.bias
    bias = loaded(
        'fcos', tmp_path / 'theirs.pth', synonyms=dict(cart=['tram', 'Car'], people=None)
    ).bbox_head.conv_cls.bias
    assert bias[2] == theirs[4] and bias[0] == theirs[4] and bias[1] < 0
    with pytest.raises(UserError, match=r"'cart'.*knows none of \['tram'\].*traffic light"):
        loaded('fcos', tmp_path / 'theirs.pth', synonyms=dict(cart='tram'))
    with pytest.raises(UserError, match="'lorry' is none of the classes"):
        loaded('fcos', tmp_path / 'theirs.pth', synonyms=dict(lorry='car'))


def test_nothing_in_common_and_another_network_are_errors_that_say_so(tmp_path):
    checkpoint_of('fcos', tmp_path / 'theirs.pth')
    with pytest.raises(UserError, match='knows none of the classes nose, ear; it knows cat, person.*synonyms'):
        loaded('fcos', tmp_path / 'theirs.pth', ('nose', 'ear'))
    with pytest.raises(UserError, match='none of the weights that depend on the classes .*retina_cls.*another network'):
        loaded('retinanet', tmp_path / 'theirs.pth')
    network = build_scoped(tiny_detectors.fcos(3))
    del network.built_from
    with pytest.raises(UserError, match='config is not known'):
        class_axes(network, 3)


def test_a_shape_that_does_not_fit_is_listed_and_nothing_is_changed(tmp_path):
    checkpoint_of('fcos', tmp_path / 'theirs.pth')
    content = torch.load(tmp_path / 'theirs.pth', weights_only=True)
    content['state_dict']['neck.lateral_convs.0.conv.weight'] = torch.zeros(16, 99, 1, 1)
    del content['state_dict']['bbox_head.conv_reg.bias']
    torch.save(content, tmp_path / 'unfit.pth')
    cfg = tiny_detectors.fcos(3)
    cfg['init_cfg'] = dict(type='mmfusion.PretrainedTask', checkpoint=str(tmp_path / 'unfit.pth'), classes=OURS)
    task = TaskNetwork(cfg)
    with pytest.raises(
        UserError,
        match='(?s)does not fit FCOS.*1 missing.*conv_reg.bias.*1 of another shape.*lateral_convs.0.*99, 1, 1',
    ):
        task.init_weights()
    assert not torch.equal(task.network.backbone.conv1.weight, content['state_dict']['backbone.conv1.weight'])
