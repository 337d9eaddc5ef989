# M3FD in its official layout. There is no official split: make the id lists with `mmfusion split-m3fd`. Pipelines as
# for LLVIP.
_base_ = './llvip_det.py'
dataset_type = 'M3FDDataset'
data_root = 'data/M3FD/'

_pairs = dict(_delete_=True, type=dataset_type, data_root=data_root)
train_dataloader = dict(dataset=dict(**_pairs, ann_file='splits/train.txt', pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(**_pairs, ann_file='splits/val.txt', test_mode=True, pipeline=_base_.test_pipeline))
test_dataloader = dict(dataset=dict(**_pairs, ann_file='splits/test.txt', test_mode=True, pipeline=_base_.test_pipeline))
