# MFNet with class maps; see docs/en/segmentation.md. The mean is over 9 classes, the background among them. Pipelines
# are those of MSRS.
_base_ = './msrs_seg.py'
dataset_type = 'MFNetDataset'
data_root = 'data/MFNet/'

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, split='val'))
test_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
