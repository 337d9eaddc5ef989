"""The fusion losses of TC-MoA by task, as its released code has them; a factor that a term carries in itself there is
written as a second one.

Prompt regularization and load balance are losses of the fuser itself.
"""
fusion_loss = dict(
    task=dict(
        type='TaskFusionLoss',
        clip=True,
        warmup_epochs=2,
        warmup=dict(
            visible_infrared=dict(
                pixel=dict(type='L1FusionLoss', target='mean', loss_weight=3.0),
                ssim=dict(type='SSIMFusionLoss', target='both', border='zero', loss_weight=1.0)),
            multi_exposure=dict(
                pixel=dict(type='L1FusionLoss', target='mean', loss_weight=3.0),
                ssim=dict(type='SSIMFusionLoss', target='both', border='zero', loss_weight=1.0)),
            multi_focus=dict(
                pixel=dict(type='L1FusionLoss', target='focus', loss_weight=1.0),
                ssim=dict(type='SSIMFusionLoss', target='focus', border='zero', loss_weight=1.0))),
        fusion_tasks=dict(
            visible_infrared=dict(
                grad=dict(type='SignedGradientLoss', target='stronger', loss_weight=1.5 * 3),
                pixel=dict(type='L1FusionLoss', target='max', loss_weight=1.5),
                ssim=dict(type='SSIMFusionLoss', target='both', border='zero', loss_weight=2.0)),
            multi_exposure=dict(
                grad=dict(type='SignedGradientLoss', target='stronger', loss_weight=1.8 * 3),
                # the batch as one image, as released
                mef_ssim=dict(type='MEFSSIMLoss', joint_batch=True, loss_weight=1.8 * 2),
                pixel=dict(type='L1FusionLoss', target='mean', loss_weight=1.8 * 3)),
            multi_focus=dict(
                grad=dict(type='SignedGradientLoss', target='focus', loss_weight=20.0 * 3),
                pixel=dict(type='L1FusionLoss', target='focus', loss_weight=20.0),
                ssim=dict(type='SSIMFusionLoss', target='focus', border='zero', loss_weight=3.0)))))
