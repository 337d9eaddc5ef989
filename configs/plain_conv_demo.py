"""The fuser, the loss and the schedule of plain_conv_ivif.py on rendered scenes alone: weights without conditions of a
data set.
"""
_base_ = ['./plain_conv_ivif.py']
size = (160, 192)  # height, width of a scene

train_pipeline = [
    dict(type='LoadPair', color_type='grayscale'),
    dict(type='Paired', transform=dict(type='RandomResizedCrop', size=(96, 96), scale=(0.3, 1.0)), expand_grey=False),
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
    dict(type='PairPhotometric', gamma=(0.6, 1.7), contrast=(0.7, 1.3)),
    dict(type='PackFusionInputs'),
]
train_dataloader = dict(dataset=dict(_delete_=True, type='DemoPairs', length=196, size=size, split='train', pipeline=train_pipeline))
