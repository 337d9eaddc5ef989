"""The model families of the installed mmdet and mmseg: one published config of each, the smallest that is typical."""

from typing import Any, Dict, NamedTuple, Optional, Tuple


class Family(NamedTuple):
    """One published config.

    Attributes:
        name: Key of the family, unique among all.
        package: ``'mmdet'`` or ``'mmseg'``.
        config: Path below ``.mim/configs`` of the package, or of any other config with a ``model`` of that package.
        note: What a user has to do or know beyond the config and the labels.
        options: Changes of the model, by dotted path, that a user has to make as well (``note`` says why) or that make
            it small enough to be tried.
        size: (height, width) of the pictures, for a network that takes one size only or none as small as the others do.
        proposals: It learns from proposals that come with the picture.
        test_batch_size: Pictures of a batch in tests.
        requires: Package that it needs and mmdet or mmseg do not install.
    """

    name: str
    package: str
    config: str
    note: str = ''
    options: Dict[str, Any] = {}
    size: Optional[Tuple[int, int]] = None
    proposals: bool = False
    test_batch_size: int = 2
    requires: str = ''


def _det(name: str, config: str, **kwargs: Any) -> Family:
    return Family(name, 'mmdet', config, **kwargs)


def _seg(name: str, config: str, **kwargs: Any) -> Family:
    return Family(name, 'mmseg', config, **kwargs)


_TOP_LEFT = (
    'the picture lies at the top left of an input padded to a multiple of {}, where the published pipeline centers it'
)
_HOURGLASS = {
    'backbone.num_stacks': 1,  # these two make it small, not different
    'backbone.stage_blocks': (1,) * 6,
    'bbox_head.num_feat_levels': 1,
}
_COARSE = 'pictures of at least 320x320: deformable convolutions on the coarsest level'
_EQUAL = 'the pictures of a training batch have to be of one size: resize or crop to it'
_FIXED = 'takes pictures of the size of its config only (`img_size`); resize or crop to it'

# fmt: off
DETECTORS: Tuple[Family, ...] = (
    _det('ATSS', 'atss/atss_r50_fpn_1x_coco.py'),
    _det('AutoAssign', 'autoassign/autoassign_r50-caffe_fpn_1x_coco.py'),
    _det('BoxInst', 'boxinst/boxinst_r50_fpn_ms-90k_coco.py'),
    _det('CARAFE', 'carafe/faster-rcnn_r50_fpn-carafe_1x_coco.py'),
    _det('Cascade R-CNN', 'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py'),
    _det('Cascade Mask R-CNN', 'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py'),
    _det('Cascade RPN', 'cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco.py'),
    _det('CenterNet', 'centernet/centernet_r18_8xb16-crop512-140e_coco.py', note=_TOP_LEFT.format(32)),
    _det('CenterNet (update)', 'centernet/centernet-update_r50-caffe_fpn_ms-1x_coco.py'),
    _det('CentripetalNet', 'centripetalnet/centripetalnet_hourglass104_16xb6-crop511-210e-mstest_coco.py',
         note=_TOP_LEFT.format(128),
         size=(250, 250), options=_HOURGLASS),
    _det('CondInst', 'condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py'),
    _det('Conditional DETR', 'conditional_detr/conditional-detr_r50_8xb2-50e_coco.py'),
    _det('ConvNeXt', 'convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py', requires='mmpretrain'),
    _det('CornerNet', 'cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco.py', note=_TOP_LEFT.format(128),
         size=(250, 250), options=_HOURGLASS),
    _det('CrowdDet', 'crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py', requires='torchvision'),
    _det('DAB-DETR', 'dab_detr/dab-detr_r50_8xb2-50e_coco.py'),
    _det('DCN', 'dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py'),
    _det('DCNv2', 'dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py'),
    _det('DDOD', 'ddod/ddod_r50_fpn_1x_coco.py', size=(320, 320), note=_COARSE),
    _det('DDQ', 'ddq/ddq-detr-4scale_r50_8xb2-12e_coco.py', size=(256, 256)),
    _det('Deformable DETR', 'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py'),
    _det('DetectoRS', 'detectors/detectors_cascade-rcnn_r50_1x_coco.py'),
    _det('DETR', 'detr/detr_r18_8xb2-500e_coco.py'),
    _det('DINO', 'dino/dino-4scale_r50_8xb2-12e_coco.py', size=(256, 256)),
    _det('Double-Head R-CNN', 'double_heads/dh-faster-rcnn_r50_fpn_1x_coco.py'),
    _det('DyHead', 'dyhead/atss_r50_fpn_dyhead_1x_coco.py'),
    _det('Dynamic R-CNN', 'dynamic_rcnn/dynamic-rcnn_r50_fpn_1x_coco.py'),
    _det('EfficientNet', 'efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco.py'),
    _det('Empirical attention', 'empirical_attention/faster-rcnn_r50-attn1111_fpn_1x_coco.py'),
    _det('Fast R-CNN', 'fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py', proposals=True,
         note='learns from and predicts with `proposals`, (n, 4) boxes that a transform of the pipeline has to add'),
    _det('Faster R-CNN', 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'),
    _det('FCOS', 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'),
    _det('FoveaBox', 'foveabox/fovea_r50_fpn_4xb4-1x_coco.py'),
    _det('FPG', 'fpg/faster-rcnn_r50_fpg_crop640-50e_coco.py'),
    _det('FreeAnchor', 'free_anchor/freeanchor_r50_fpn_1x_coco.py'),
    _det('FSAF', 'fsaf/fsaf_r50_fpn_1x_coco.py'),
    _det('GCNet', 'gcnet/mask-rcnn_r50-gcb-r16-c3-c5_fpn_1x_coco.py'),
    _det('GFL', 'gfl/gfl_r50_fpn_1x_coco.py'),
    _det('GHM', 'ghm/retinanet_r50_fpn_ghm-1x_coco.py'),
    _det('Group normalization', 'gn/mask-rcnn_r50_fpn_gn-all_2x_coco.py'),
    _det('Weight standardization', 'gn+ws/faster-rcnn_r50_fpn_gn-ws-all_1x_coco.py'),
    _det('Grid R-CNN', 'grid_rcnn/grid-rcnn_r50_fpn_gn-head_1x_coco.py'),
    _det('GRoIE', 'groie/faste-rcnn_r50_fpn_groie_1x_coco.py'),
    _det('Guided Anchoring', 'guided_anchoring/ga-retinanet_r50_fpn_1x_coco.py', test_batch_size=1,
         note='predicts one picture at a time: `batch_size=1` in validation and test'),
    _det('HRNet', 'hrnet/faster-rcnn_hrnetv2p-w18-1x_coco.py'),
    _det('HTC', 'htc/htc_r50_fpn_1x_coco.py'),
    _det('HTC without class map', 'htc/htc-without-semantic_r50_fpn_1x_coco.py'),
    _det('LAD', 'lad/lad_r50-paa-r101_fpn_2xb8_coco_1x.py', requires='sklearn',
         options={'teacher_backbone.depth': 50, 'teacher_ckpt': None},
         note='`teacher_ckpt` is loaded from its address; None leaves the teacher random'),
    _det('LD', 'ld/ld_r18-gflv1-r101_fpn_1x_coco.py',
         options={'teacher_config': 'gfl/gfl_r50_fpn_1x_coco.py', 'teacher_ckpt': None},
         note='`teacher_config` is a path and has to be found from the working directory, `teacher_ckpt` is loaded '
         'from its address; the teacher has as many classes as the student'),
    _det('Libra R-CNN', 'libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco.py'),
    _det('Mask2Former', 'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'),
    _det('Mask2Former (panoptic)', 'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'),
    _det('Mask R-CNN', 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'),
    _det('MaskFormer (panoptic)', 'maskformer/maskformer_r50_ms-16xb1-75e_coco.py'),
    _det('Mask Scoring R-CNN', 'ms_rcnn/ms-rcnn_r50-caffe_fpn_1x_coco.py'),
    _det('NAS-FCOS', 'nas_fcos/nas-fcos_r50-caffe_fpn_nashead-gn-head_4xb4-1x_coco.py'),
    _det('NAS-FPN', 'nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco.py'),
    _det('PAA', 'paa/paa_r50_fpn_1x_coco.py', requires='sklearn'),
    _det('PAFPN', 'pafpn/faster-rcnn_r50_pafpn_1x_coco.py'),
    _det('Panoptic FPN', 'panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py'),
    _det('PISA', 'pisa/faster-rcnn_r50_fpn_pisa_1x_coco.py'),
    _det('PointRend', 'point_rend/point-rend_r50-caffe_fpn_ms-1x_coco.py'),
    _det('PVT', 'pvt/retinanet_pvt-t_fpn_1x_coco.py'),
    _det('PVTv2', 'pvt/retinanet_pvtv2-b0_fpn_1x_coco.py'),
    _det('QueryInst', 'queryinst/queryinst_r50_fpn_1x_coco.py', options={'rpn_head.num_proposals': 20}),
    _det('RegNet', 'regnet/faster-rcnn_regnetx-400MF_fpn_ms-3x_coco.py'),
    _det('RepPoints', 'reppoints/reppoints-moment_r50_fpn_1x_coco.py', size=(320, 320), note=_COARSE),
    _det('Res2Net', 'res2net/faster-rcnn_res2net-101_fpn_2x_coco.py', options={'backbone.depth': 50}),
    _det('ResNeSt', 'resnest/faster-rcnn_s50_fpn_syncbn-backbone+head_ms-range-1x_coco.py'),
    _det('RetinaNet', 'retinanet/retinanet_r50_fpn_1x_coco.py'),
    _det('RPN', 'rpn/rpn_r50_fpn_1x_coco.py', note='predicts proposals without classes'),
    _det('RTMDet', 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py'),
    _det('RTMDet-Ins', 'rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py', size=(96, 128), note=_EQUAL),
    _det('SABL', 'sabl/sabl-faster-rcnn_r50_fpn_1x_coco.py'),
    _det('SCNet', 'scnet/scnet_r50_fpn_1x_coco.py'),
    _det('Seesaw loss', 'seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1.py'),
    _det('SOLO', 'solo/solo_r50_fpn_1x_coco.py'),
    _det('Decoupled SOLO', 'solo/decoupled-solo-light_r50_fpn_3x_coco.py'),
    _det('SOLOv2', 'solov2/solov2-light_r18_fpn_ms-3x_coco.py'),
    _det('Sparse R-CNN', 'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py'),
    _det('SSD', 'ssd/ssd300_coco.py', size=(300, 300), note=_EQUAL),
    _det('SSDLite', 'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py', size=(320, 320), note=_EQUAL),
    _det('Swin', 'swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py'),
    _det('timm', 'timm_example/retinanet_timm-efficientnet-b1_fpn_1x_coco.py', requires='mmpretrain',
         options={'backbone.pretrained': False}),
    _det('TOOD', 'tood/tood_r50_fpn_1x_coco.py'),
    _det('TridentNet', 'tridentnet/tridentnet_r50-caffe_1x_coco.py'),
    _det('VarifocalNet', 'vfnet/vfnet_r50_fpn_1x_coco.py', size=(320, 320), note=_COARSE),
    _det('YOLACT', 'yolact/yolact_r50_1xb8-55e_coco.py', size=(160, 160), note=_EQUAL),
    _det('YOLOv3', 'yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py'),
    _det('YOLOF', 'yolof/yolof_r50-c5_8xb8-1x_coco.py'),
    _det('YOLOX', 'yolox/yolox_nano_8xb8-300e_coco.py'),
)

SEGMENTORS: Tuple[Family, ...] = (
    _seg('ANN', 'ann/ann_r50-d8_4xb2-40k_cityscapes-512x1024.py'),
    _seg('APCNet', 'apcnet/apcnet_r50-d8_4xb2-40k_cityscapes-512x1024.py'),
    _seg('BEiT', 'beit/beit-base_upernet_8xb2-160k_ade20k-640x640.py', size=(96, 128), note=_FIXED),
    _seg('BiSeNetV1', 'bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024.py'),
    _seg('BiSeNetV2', 'bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py'),
    _seg('CCNet', 'ccnet/ccnet_r50-d8_4xb2-40k_cityscapes-512x1024.py'),
    _seg('CGNet', 'cgnet/cgnet_fcn_4xb4-60k_cityscapes-680x680.py'),
    _seg('ConvNeXt (mmseg)', 'convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py', requires='mmpretrain'),
    _seg('DANet', 'danet/danet_r50-d8_4xb2-40k_cityscapes-512x1024.py'),
    _seg('DDRNet', 'ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py'),
    _seg('DeepLabV3', 'deeplabv3/deeplabv3_r18-d8_4xb2-80k_cityscapes-512x1024.py'),
    _seg('DeepLabV3+', 'deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py'),
    _seg('DMNet', 'dmnet/dmnet_r50-d8_4xb2-40k_cityscapes-512x1024.py'),
    _seg('DNLNet', 'dnlnet/dnl_r50-d8_4xb2-40k_cityscapes-512x1024.py'),
    _seg('DPT', 'dpt/dpt_vit-b16_8xb2-160k_ade20k-512x512.py'),
    _seg('EMANet', 'emanet/emanet_r50-d8_4xb2-80k_cityscapes-512x1024.py'),
    _seg('EncNet', 'encnet/encnet_r50-d8_4xb2-40k_cityscapes-512x1024.py'),
    _seg('ERFNet', 'erfnet/erfnet_fcn_4xb4-160k_cityscapes-512x1024.py'),
    _seg('FastFCN', 'fastfcn/fastfcn_r50-d32_jpu_psp_4xb2-80k_cityscapes-512x1024.py'),
    _seg('Fast-SCNN', 'fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py'),
    _seg('FCN', 'fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py'),
    _seg('GCNet (mmseg)', 'gcnet/gcnet_r50-d8_4xb2-40k_cityscapes-512x1024.py'),
    _seg('HRNet (mmseg)', 'hrnet/fcn_hr18s_4xb2-40k_cityscapes-512x1024.py'),
    _seg('ICNet', 'icnet/icnet_r18-d8_4xb2-80k_cityscapes-832x832.py'),
    _seg('ISANet', 'isanet/isanet_r50-d8_4xb2-40k_cityscapes-512x1024.py'),
    _seg('K-Net', 'knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py'),
    _seg('MAE', 'mae/mae-base_upernet_8xb2-amp-160k_ade20k-512x512.py', size=(96, 128), note=_FIXED),
    _seg('Mask2Former (mmseg)', 'mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py'),
    _seg('MaskFormer (mmseg)', 'maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512.py'),
    _seg('MobileNetV2', 'mobilenet_v2/mobilenet-v2-d8_fcn_4xb2-80k_cityscapes-512x1024.py'),
    _seg('MobileNetV3', 'mobilenet_v3/mobilenet-v3-d8-scratch-s_lraspp_4xb4-320k_cityscapes-512x1024.py',
         size=(416, 416), note='pictures of at least 392x392, the area that its head pools over'),
    _seg('Non-local', 'nonlocal_net/nonlocal_r50-d8_4xb2-40k_cityscapes-512x1024.py'),
    _seg('OCRNet', 'ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024.py'),
    _seg('PIDNet', 'pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py'),
    _seg('PointRend (mmseg)', 'point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024.py'),
    _seg('PoolFormer', 'poolformer/fpn_poolformer_s12_8xb4-40k_ade20k-512x512.py', requires='mmpretrain'),
    _seg('PSANet', 'psanet/psanet_r50-d8_4xb2-40k_cityscapes-512x1024.py'),
    _seg('PSPNet', 'pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'),
    _seg('ResNeSt (mmseg)', 'resnest/resnest_s101-d8_fcn_4xb2-80k_cityscapes-512x1024.py',
         options={'backbone.depth': 50, 'backbone.stem_channels': 64}),
    _seg('SAN', 'san/san-vit-b16_coco-stuff164k-640x640.py'),
    _seg('SegFormer', 'segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py'),
    _seg('Segmenter', 'segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py'),
    _seg('SegNeXt', 'segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py'),
    _seg('Semantic FPN', 'sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py'),
    _seg('SETR', 'setr/setr_vit-l_pup_8xb2-160k_ade20k-512x512.py'),
    _seg('STDC', 'stdc/stdc1_4xb12-80k_cityscapes-512x1024.py'),
    _seg('Swin (mmseg)', 'swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py'),
    _seg('Twins', 'twins/twins_svt-s_fpn_fpnhead_8xb4-80k_ade20k-512x512.py'),
    _seg('U-Net', 'unet/unet-s5-d16_fcn_4xb4-160k_cityscapes-512x1024.py', size=(96, 128),
         note='pictures whose sides are multiples of 16, in tests as well'),
    _seg('UPerNet', 'upernet/upernet_r18_4xb2-40k_cityscapes-512x1024.py'),
    _seg('ViT', 'vit/vit_deit-s16_upernet_8xb2-80k_ade20k-512x512.py'),
)

FAMILIES: Dict[str, Family] = {family.name: family for family in DETECTORS + SEGMENTORS}

_DATA = 'the networks of other folders, for other data or with other augmentation'
_VIDEO = 'tracks through videos; a pair of pictures has no frame before it'
_TEXT = 'learns from captions, and needs a language model'
#: Folders of configs without a family here, and why.
OUTSIDE: Dict[str, Dict[str, str]] = dict(
    mmdet={
        **dict.fromkeys(
            ('albu_example', 'cityscapes', 'common', 'deepfashion', 'dsdl', 'instaboost', 'lvis', 'misc', 'objects365',
             'openimages', 'pascal_voc', 'simple_copy_paste', 'v3det', 'wider_face'), _DATA),
        **dict.fromkeys(
            ('resnet_strikes_back', 'scratch', 'selfsup_pretrain', 'strong_baselines', 'legacy_1.x'),
            'the networks of other folders, with other weights to start from or another schedule'),
        **dict.fromkeys(
            ('bytetrack', 'deepsort', 'mask2former_vis', 'masktrack_rcnn', 'ocsort', 'qdtrack', 'sort', 'strongsort'),
            _VIDEO),
        'reid': 'recognizes persons in cut-out pictures; it is no detector',
        'clrnet': 'finds lanes, which are neither boxes nor masks',
        'soft_teacher': 'learns from labeled and unlabeled pictures at once, in batches of its own form',
        **dict.fromkeys(('glip', 'grounding_dino', 'mm_grounding_dino'), _TEXT),
    },
    mmseg=dict(
        dsdl=_DATA,
        vpd='estimates depth with a diffusion model that is downloaded when it is built',
    ),
)
