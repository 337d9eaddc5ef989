# Multi-focus pairs without labels; see docs/en/data_preparation.md. A benchmark for tests: training on it is for
# trials.
_base_ = './mefb.py'
dataset_type = 'MFIFBDataset'
data_root = 'data/MFIFB/'

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
