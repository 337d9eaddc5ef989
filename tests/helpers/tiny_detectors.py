"""A tiny network of each family of heads, with any number of classes, for what depends on the classes."""

import copy
from pathlib import Path

import mmdet
import tiny_models
import torch
from mmengine.config import Config

from mmfusion.models.scoped import build_scoped

THEIRS = ('cat', 'person', 'traffic light', 'bicycle', 'car')


def _published(path):
    """A model config of the installed mmdet."""
    cfg = Config.fromfile(Path(mmdet.__file__).parent / '.mim' / 'configs' / path).model.to_dict()
    cfg['type'] = f'mmdet.{cfg["type"]}'
    return cfg


BACKBONE = dict(
    type='ResNet',
    depth=18,
    base_channels=8,
    num_stages=4,
    out_indices=(1, 2, 3),
    norm_cfg=dict(type='BN'),
    style='pytorch',
)
FPN = dict(
    type='FPN', in_channels=[16, 32, 64], out_channels=16, num_outs=5, add_extra_convs='on_output', start_level=0
)


def _dense(path, classes, **head):
    """A one-stage detector on a small ResNet."""
    cfg = _published(path)
    cfg.update(backbone=dict(BACKBONE), neck=dict(FPN))
    cfg['bbox_head'].update(num_classes=classes, in_channels=16, feat_channels=16, stacked_convs=1, **head)
    return cfg


def fcos(classes):
    return _dense('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', classes, norm_cfg=dict(type='BN'))


def retinanet(classes):
    return _dense('retinanet/retinanet_r50_fpn_1x_coco.py', classes)


def gfl(classes):
    return _dense('gfl/gfl_r50_fpn_1x_coco.py', classes, norm_cfg=dict(type='BN'))


def rtmdet(classes):
    cfg = tiny_models.rtmdet()
    cfg['bbox_head'].update(num_classes=classes)
    return cfg


def yolox(classes):
    cfg = tiny_models._shipped('yolox_nano')
    cfg['backbone'].update(widen_factor=0.125)
    cfg['neck'].update(in_channels=[32, 64, 128], out_channels=16)
    cfg['bbox_head'].update(in_channels=16, feat_channels=16, num_classes=classes)
    cfg['init_cfg'] = None
    return cfg


def yolov3(classes):
    cfg = _published('yolo/yolov3_d53_8xb8-ms-608-273e_coco.py')
    cfg['backbone'] = dict(BACKBONE, init_cfg=None)
    cfg['neck'].update(in_channels=[64, 32, 16], out_channels=[16, 8, 8])
    cfg['bbox_head'].update(in_channels=[16, 8, 8], out_channels=[16, 8, 8], num_classes=classes)
    return cfg


def faster_rcnn(classes):
    cfg = tiny_models.faster_rcnn()
    cfg['roi_head']['bbox_head'].update(num_classes=classes)
    return cfg


def cascade_rcnn(classes):
    """Three heads in a row whose boxes do not depend on the class."""
    cfg = _published('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py')
    small = tiny_models.faster_rcnn()
    cfg.update({key: small[key] for key in ('backbone', 'neck', 'rpn_head')})
    cfg['roi_head']['bbox_roi_extractor'].update(out_channels=32)
    for head in cfg['roi_head']['bbox_head']:
        head.update(in_channels=32, fc_out_channels=32, num_classes=classes)
    return cfg


def detr(classes):
    cfg = tiny_models.detr()
    cfg['bbox_head'].update(num_classes=classes)
    return cfg


def _small_transformer(cfg, classes):
    cfg['backbone'] = dict(BACKBONE)
    cfg['neck'].update(in_channels=[16, 32, 64], out_channels=32, norm_cfg=dict(type='GN', num_groups=4))
    cfg['num_queries'] = 10
    for coder in (cfg['encoder'], cfg['decoder']):
        coder['num_layers'] = 2
        for key in ('self_attn_cfg', 'cross_attn_cfg'):
            if key in coder['layer_cfg']:
                coder['layer_cfg'][key].update(embed_dims=32)
        coder['layer_cfg']['ffn_cfg'].update(embed_dims=32, feedforward_channels=32)
    cfg['positional_encoding'].update(num_feats=16)
    cfg['bbox_head'].update(num_classes=classes, embed_dims=32)
    return cfg


def deformable_detr(classes):
    return _small_transformer(_published('deformable_detr/deformable-detr_r50_16xb2-50e_coco.py'), classes)


def dino(classes):
    cfg = _small_transformer(_published('dino/dino-4scale_r50_8xb2-12e_coco.py'), classes)
    cfg['dn_cfg'].update(group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=10))
    return cfg


def conditional_detr(classes):
    return _detr_like('conditional_detr/conditional-detr_r50_8xb2-50e_coco.py', classes)


def dab_detr(classes):
    return _detr_like('dab_detr/dab-detr_r50_8xb2-50e_coco.py', classes)


def _detr_like(path, classes):
    cfg = _published(path)
    small = tiny_models.detr()
    cfg.update(backbone=small['backbone'], neck=small['neck'], num_queries=10)
    for coder in (cfg['encoder'], cfg['decoder']):
        coder['num_layers'] = 1
        for key in ('self_attn_cfg', 'cross_attn_cfg'):
            if key in coder['layer_cfg']:
                coder['layer_cfg'][key].update(embed_dims=32, num_heads=4)
        coder['layer_cfg']['ffn_cfg'].update(embed_dims=32, feedforward_channels=32)
    cfg['positional_encoding'].update(num_feats=16)
    cfg['bbox_head'].update(num_classes=classes, embed_dims=32)
    return cfg


def mask_rcnn(classes):
    cfg = faster_rcnn(classes)
    published = _published('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
    cfg.update(type='mmdet.MaskRCNN')
    head = copy.deepcopy(published['roi_head'])
    cfg['roi_head'].update(
        mask_roi_extractor=dict(head['mask_roi_extractor'], out_channels=32),
        mask_head=dict(head['mask_head'], in_channels=32, conv_out_channels=16, num_convs=1, num_classes=classes),
    )
    cfg['train_cfg']['rcnn'].update(mask_size=28)
    cfg['test_cfg']['rcnn'].update(mask_thr_binary=0.5)
    return cfg


def htc(classes, seg_classes):
    """Hybrid task cascade: boxes and masks in three stages, and a class map of its own."""
    cfg = _published('htc/htc_r50_fpn_1x_coco.py')
    small = tiny_models.faster_rcnn()
    cfg.update({key: small[key] for key in ('backbone', 'neck', 'rpn_head')})
    roi_head = cfg['roi_head']
    for key in ('bbox_roi_extractor', 'mask_roi_extractor', 'semantic_roi_extractor'):
        roi_head[key].update(out_channels=32)
    for head in roi_head['bbox_head']:
        head.update(in_channels=32, fc_out_channels=32, num_classes=classes)
    for head in roi_head['mask_head']:
        head.update(in_channels=32, conv_out_channels=32, num_convs=1, num_classes=classes)
    roi_head['semantic_head'].update(in_channels=32, conv_out_channels=32, num_convs=1, num_classes=seg_classes)
    return cfg


def centernet(classes):
    cfg = _published('centernet/centernet_r18_8xb16-crop512-140e_coco.py')
    cfg['backbone'] = dict(BACKBONE, out_indices=(3,))
    cfg['neck'].update(in_channels=64, num_deconv_filters=(32, 16, 16))
    cfg['bbox_head'].update(num_classes=classes, in_channels=16, feat_channels=16)
    return cfg


def pidnet(classes):
    """Segmentor with an edge map among its labels."""
    import mmseg

    cfg = Config.fromfile(
        Path(mmseg.__file__).parent / '.mim/configs/pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py'
    ).model.to_dict()
    cfg['type'] = 'mmseg.EncoderDecoder'
    cfg['data_preprocessor'].update(size=None, size_divisor=32)
    cfg['backbone'].update(channels=8, ppm_channels=8, init_cfg=None)
    cfg['decode_head'].update(in_channels=32, channels=16, num_classes=classes)
    for loss in cfg['decode_head']['loss_decode']:
        loss.pop('class_weight', None)
        if 'min_kept' in loss:
            loss['min_kept'] = 100
    return cfg


def segmentor(classes):
    cfg = tiny_models.segmentor()
    cfg['decode_head'].update(num_classes=classes)
    return cfg


FAMILIES = dict(
    fcos=fcos,
    retinanet=retinanet,
    gfl=gfl,
    rtmdet=rtmdet,
    yolox=yolox,
    yolov3=yolov3,
    faster_rcnn=faster_rcnn,
    cascade_rcnn=cascade_rcnn,
    mask_rcnn=mask_rcnn,
    detr=detr,
    conditional_detr=conditional_detr,
    dab_detr=dab_detr,
    deformable_detr=deformable_detr,
    dino=dino,
    segmentor=segmentor,
)


def scramble(network, seed=0):
    """Random values everywhere, so that no two rows are alike."""
    generator = torch.Generator().manual_seed(seed)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) * 0.5 + 0.1)
    return network


def checkpoint_of(family, path, classes=THEIRS, **meta):
    """Write a checkpoint as mmdet would, or with ``meta``; return the network."""
    network = scramble(build_scoped(FAMILIES[family](len(classes))))
    torch.save(dict(state_dict=network.state_dict(), meta=dict(meta or dict(dataset_meta=dict(classes=classes)))), path)
    return network
