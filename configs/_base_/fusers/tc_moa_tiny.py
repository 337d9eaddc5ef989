"""TC-MoA small enough for a CPU and a demo. There is no masked autoencoder of this size to start from, so all of it is trained."""
fuser = dict(
    type='TCMoA',
    arch='tiny',
    tasks=('visible_infrared', 'multi_exposure', 'multi_focus'),
    freeze=False,
    prompt_weights=dict(multi_exposure=1.8))  # after the warm-up; 1 for the others
