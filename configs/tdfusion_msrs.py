"""TDFusion on MSRS with SegFormer-B0, from Cityscapes: published schedule; the segmentor teaches the fusion loss."""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/msrs_seg.py', './_base_/fusers/refusion.py',
    './_base_/segmentors/segformer_b0_cityscapes.py', './_base_/schedules/tdfusion_40e.py'
]
seg_classes = 9

segmentor = _base_.segmentor
segmentor.decode_head.num_classes = seg_classes

model = dict(
    type='MetaCoupling',
    fuser=_base_.fuser,
    loss_generator=_base_.loss_generator,
    fusion_loss=_base_.fusion_loss,
    tasks=dict(seg=segmentor),
    crop_size=256,
    task_size=(240, 320))

# As published: the data set at full size, no augmentation but the exchange of the sources, one pair a batch.
train_pipeline = [_base_.load_pair, dict(type='LoadClassMap'), _base_.resize, dict(type='PackFusionInputs')]
train_dataloader = dict(batch_size=1, dataset=dict(pipeline=train_pipeline))

# The segmentor is tested at the size that it learned at; its class map comes back at that of the image.
test_pipeline = _base_.test_pipeline
test_pipeline[1].transform.scale = (320, 240)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
