"""SegFormer-B0, from Cityscapes, on FMB, for tools/downstream.py; as it stands it trains on the visible images
alone.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/fmb_seg.py', './_base_/segmentors/segformer_b0_cityscapes.py',
    './_base_/schedules/downstream_300e.py'
]
seg_classes = 15

segmentor = _base_.segmentor
segmentor.decode_head.num_classes = seg_classes

model = dict(type='JointCoupling', fuser=dict(type='SourceFuser', source='first'), tasks=dict(seg=segmentor))

train_dataloader = dict(batch_size=8)
