# MFI-WHU in the place of Real-MFF, for training; see docs/en/data_preparation.md.
_base_ = './real_mff.py'
dataset_type = 'MFIWHUDataset'
data_root = 'data/MFI-WHU/'

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
