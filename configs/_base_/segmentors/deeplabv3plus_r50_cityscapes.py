"""DeepLabV3+ with ResNet-50 from the Cityscapes weights of mmseg's model zoo, its classes by name.

Classes that Cityscapes does not have begin at random. Where the host cannot be reached, it starts as
deeplabv3plus_r50.py does, and the log says so; it always starts so with ``segmentor.init_cfg = None``. Cityscapes is
licensed for research, and so are weights from it.
"""
_base_ = './deeplabv3plus_r50.py'

segmentor = dict(
    init_cfg=dict(
        type='mmfusion.PretrainedTask',
        checkpoint='https://mmassets.onedl.ai/mmsegmentation/v0.5/deeplabv3plus/'
        'deeplabv3plus_r50-d8_512x1024_80k_cityscapes/'
        'deeplabv3plus_r50-d8_512x1024_80k_cityscapes_20200606_114049-f9fb496d.pth',
        checkpoint_classes='cityscapes',
        if_absent='random'))
