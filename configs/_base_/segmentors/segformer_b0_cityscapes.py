"""SegFormer-B0 from the Cityscapes weights of mmseg's model zoo, its classes by name.

Classes that Cityscapes does not have begin at random. Where the host cannot be reached, it starts as segformer_b0.py
does, and the log says so; it always starts so with ``segmentor.init_cfg = None``. Cityscapes is licensed for
research, and so are weights from it.
"""
_base_ = './segformer_b0.py'

segmentor = dict(
    init_cfg=dict(
        type='mmfusion.PretrainedTask',
        checkpoint='https://mmassets.onedl.ai/mmsegmentation/v0.5/segformer/'
        'segformer_mit-b0_8x1_1024x1024_160k_cityscapes/'
        'segformer_mit-b0_8x1_1024x1024_160k_cityscapes_20211208_101857-e7f88502.pth',
        checkpoint_classes='cityscapes',
        if_absent='random'))
