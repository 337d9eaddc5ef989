"""Two processes, each with half of a batch, must give the gradients of one process with the whole batch."""

import tiny_models
import torch
from two_processes import in_two_processes

LIGHT_MOE = dict(
    type='MoEFusion',
    base_channels=4,
    expert_channels=4,
    decoder_channels=(8, 4, 4),
    local_grid=(8, 8),
    global_grid=(4, 4),
)


def gradients(rank, world_size, batch_size=4):
    """Gradients of the joint loss on this rank's share of a fixed batch."""
    from mmengine.model import MMDistributedDataParallel

    from mmfusion.registry import MODELS
    from mmfusion.utils import register_all_modules

    register_all_modules()
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='JointCoupling',
            fuser=LIGHT_MOE,
            fusion_loss=dict(grad=dict(type='SobelMaxLoss'), pixel=dict(type='BoxGuidedPixelLoss')),
            tasks=dict(det=tiny_models.rtmdet()),
        )
    )
    model.init_weights()
    torch.manual_seed(1)
    for name, parameter in model.fuser.named_parameters():
        if 'gate' in name:  # zero gates would send every image to the same experts
            torch.nn.init.normal_(parameter, std=0.05)
    for level in model.tasks['det'].network.bbox_head.rtm_reg:
        # Boxes that overlap the objects from the start: RTMDet divides by max(1, sum of overlaps), and that 1 is not
        # shared out over processes.
        torch.nn.init.constant_(level.bias, 2.0)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):  # batch statistics see only the local images
            module.eval()
    inputs, samples = tiny_models.make_batch(batch_size)
    share = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
    inputs, samples = {key: value[share] for key, value in inputs.items()}, samples[share]
    parallel = MMDistributedDataParallel(model, find_unused_parameters=True) if world_size > 1 else model
    # Noise is drawn per process; without it both set-ups route alike.
    original, torch.randn_like = torch.randn_like, torch.zeros_like
    try:
        losses = parallel(inputs, samples, mode='loss')
    finally:
        torch.randn_like = original
    total, _ = model.parse_losses(losses)
    total.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_two_processes_equal_one(tmp_path):
    single = gradients(0, 1)
    first, second = in_two_processes(gradients, tmp_path)
    compared = 0
    for name, wanted in single.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(
            first[name], wanted, atol=2e-6 + 1e-4 * wanted.abs().max().item(), rtol=0, msg=lambda m, n=name: f'{n}: {m}'
        )
        compared += wanted.abs().max().item() > 0
    assert compared > 50
