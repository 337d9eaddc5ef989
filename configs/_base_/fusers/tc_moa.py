"""TC-MoA on the base masked autoencoder (CVPR 2024, arXiv 2403.12494).

Give `mae`, the path of `mae_visualize_vit_base.pth`: from random weights the frozen part is of no use. The losses are
those of `tc_moa_loss.py`.
"""
fuser = dict(
    type='TCMoA',
    arch='base',
    fusion_tasks=('visible_infrared', 'multi_exposure', 'multi_focus'),
    prompt_weights=dict(multi_exposure=1.8))  # after the warm-up; 1 for the others
