"""A tiny TC-MoA for two CPU cores: trained on MSRS and on procedural multi-exposure and multi-focus pairs, rated on
MSRS, MEFB and MFIFB.

There is no masked autoencoder of this size, so all of it is trained, from scratch.
"""
_base_ = ['./tc_moa_demo.py']

crop_size = (112, 112)
_street_pipeline = [
    _base_.load_pair,
    dict(type='Paired', transform=dict(type='RandomResizedCrop', size=crop_size, scale=(0.1, 0.5)), expand_grey=False),
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
    dict(type='PackFusionInputs'),
]
_street = dict(_delete_=True, type='PairFolderDataset', data_prefix=dict(first='vi', second='ir'))
_rated = dict(test_mode=True, pipeline=_base_.test_pipeline)

train_dataloader = dict(
    dataset=dict(fusion_tasks=dict(visible_infrared=dict(_street, data_root='data/MSRS/train/', pipeline=_street_pipeline))))
val_dataloader = dict(
    dataset=dict(
        fusion_tasks=dict(
            visible_infrared=dict(_street, data_root='data/MSRS/test/', **_rated),
            multi_exposure=dict(_delete_=True, type='MEFBDataset', data_root='data/MEFB/', **_rated),
            multi_focus=dict(_delete_=True, type='MFIFBDataset', data_root='data/MFIFB/', **_rated))))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=8, val_interval=8)
default_hooks = dict(visualization=dict(interval=10))
