"""TC-MoA as published: on the large masked autoencoder, for which `mae` is the path of
`mae_visualize_vit_large_ganloss.pth`.
"""
_base_ = ['./tc_moa.py']
fuser = dict(arch='large')
