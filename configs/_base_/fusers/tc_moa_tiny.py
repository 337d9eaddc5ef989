"""TC-MoA small enough for a CPU and a demo. There is no masked autoencoder of this size to start from, so all of it is
trained.

Patches of 8x8 pixels, not 16x16: of a small patch a short token can say everything, so sharp images are learned within
minutes.
"""
fuser = dict(
    type='TCMoA',
    arch=dict(
        embed_dim=96, depth=6, num_heads=3, decoder_embed_dim=96, decoder_depth=2, decoder_num_heads=3, mlp_ratio=2, patch_size=8),
    fusion_tasks=('visible_infrared', 'multi_exposure', 'multi_focus'),
    freeze=False,
    prompt_weights=dict(multi_exposure=1.8))  # after the warm-up; 1 for the others
