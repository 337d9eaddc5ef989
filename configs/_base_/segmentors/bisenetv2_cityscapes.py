"""BiSeNetV2 from the Cityscapes weights of mmseg's model zoo, its classes by name.

Classes that Cityscapes does not have begin at random. Where the host cannot be reached, it starts as bisenetv2.py
does, and the log says so; it always starts so with ``segmentor.init_cfg = None``. Cityscapes is licensed for
research, and so are weights from it.
"""
_base_ = './bisenetv2.py'

segmentor = dict(
    init_cfg=dict(
        type='mmfusion.PretrainedTask',
        checkpoint='https://mmassets.onedl.ai/mmsegmentation/v0.5/bisenetv2/'
        'bisenetv2_fcn_4x4_1024x1024_160k_cityscapes/'
        'bisenetv2_fcn_4x4_1024x1024_160k_cityscapes_20210902_015551-bcf10f09.pth',
        checkpoint_classes='cityscapes',
        if_absent='random'))
