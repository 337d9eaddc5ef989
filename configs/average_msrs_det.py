"""YOLOX-nano, from COCO, on the mean of the sources of MSRS: what a fixed rule gives, untouched and fine-tuned with the
schedule of its neighbor.

    python tools/test.py configs/average_msrs_det.py checkpoints/yolox_nano_coco_mmdet.pth    # untouched
    python tools/train.py configs/average_msrs_det.py                                         # fine-tuned

Another rule: --cfg-options model.fuser.type=MaximumFuser; one source: model.fuser.type=SourceFuser
model.fuser.source=second.
"""
_base_ = './plain_conv_msrs_det.py'
model = dict(fuser=dict(_delete_=True, type='AverageFuser'), fusion_loss=dict(_delete_=True))
