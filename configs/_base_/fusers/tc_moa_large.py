"""TC-MoA as published: on the large masked autoencoder, for which `mae` is the path of `mae_visualize_vit_large_ganloss.pth`."""
fuser = dict(
    type='TCMoA',
    arch='large',
    tasks=('visible_infrared', 'multi_exposure', 'multi_focus'),
    prompt_weights=dict(multi_exposure=1.8))  # after the warm-up; 1 for the others
