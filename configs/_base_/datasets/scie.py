# Multi-exposure pairs without labels, for training; see docs/en/data_preparation.md. Validation and test are those of
# MEFB.
_base_ = './real_mff.py'
dataset_type = 'SCIEDataset'
data_root = 'data/SCIE/'

train_pipeline = _base_.train_pipeline
train_pipeline[1].transform.scale = (0.2, 1.0)

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type='MEFBDataset', data_root='data/MEFB/'))
test_dataloader = val_dataloader

val_evaluator = [dict(type='FusionMetric', metrics=['MEF_SSIM', 'QCV', 'Qabf', 'PSNR', 'EN'])]
test_evaluator = val_evaluator
