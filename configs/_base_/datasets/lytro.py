# The Lytro pairs for validation and test; training pairs are those of Real-MFF. See docs/en/data_preparation.md.
_base_ = './real_mff.py'

val_dataloader = dict(dataset=dict(type='LytroDataset', data_root='data/Lytro/'))
test_dataloader = val_dataloader
