"""DenseFuse that fuses RGB images: densefuse_ivif.py with three channels."""
_base_ = './densefuse_ivif.py'
model = dict(fuser=dict(in_channels=3))
