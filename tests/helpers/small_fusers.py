"""Arguments that make a fuser small enough for a sweep over all of them, where its defaults are too large."""

SMALL = {
    'GIFNet': dict(width=4),
    'LeSeFuse': dict(width=4),
    'SMoA': dict(width=4),
    'DIDFuse': dict(width=8),
    'LRRNet': dict(width=8),
    'MoEFusion': dict(base_channels=4, expert_channels=4, decoder_channels=(8,), local_grid=(6, 8), global_grid=(3, 4)),
    'TCMoA': dict(
        arch=dict(
            embed_dim=32,
            depth=4,
            num_heads=2,
            decoder_embed_dim=32,
            decoder_depth=4,
            decoder_num_heads=2,
            mlp_ratio=2,
            patch_size=8,
        ),
        window=4,
        tile=32,
        overlap=16,
    ),
}
