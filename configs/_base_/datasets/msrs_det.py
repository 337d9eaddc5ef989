# MSRS with YOLO text boxes; see docs/en/data_preparation.md. Images without objects stay in training. Pipelines are
# those of LLVIP.
_base_ = './llvip_det.py'
dataset_type = 'MSRSDetDataset'
data_root = 'data/MSRS/'

train_dataloader = dict(batch_size=4, dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
