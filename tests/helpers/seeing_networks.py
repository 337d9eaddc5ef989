"""Detectors and segmentors of random weights that tell things apart, behind a rule, for comparisons of what they
find.
"""

import tiny_detectors
import torch
import torch.nn.functional as F
from mmengine.config import Config
from tiny_config import CONFIGS

from mmfusion.export.checking import example_pictures
from mmfusion.models.couplings import JointCoupling

LAST = ('conv_cls', 'conv_reg', 'conv_centerness', 'retina_cls', 'retina_reg', 'gfl_cls', 'gfl_reg')
FOLDER = CONFIGS / '_base_' / 'segmentors'


def detecting(name):
    """A rule and a detector of random weights, which sees many boxes."""
    model = JointCoupling(dict(type='AverageFuser'), tasks=dict(det=getattr(tiny_detectors, name)(3))).eval()
    torch.manual_seed(0)
    network = model.tasks['det'].network
    head = network.bbox_head
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
    last = [getattr(head, part) for part in LAST if hasattr(head, part)]
    last += [layer for part in ('cls', 'reg', 'obj') for layer in getattr(head, f'multi_level_conv_{part}', ())]
    spread = {}
    hooks = [
        module.register_forward_hook(
            lambda module, _, output: spread.update({module: max(output.abs().max().item() / 2, spread.get(module, 0))})
        )
        for module in last
    ]
    with torch.no_grad():
        head(network.extract_feat(torch.rand(1, 3, 96, 128) * 255))
        for module, value in spread.items():  # neither saturated scores, which tie, nor boxes without end
            module.weight.div_(value)
        if hasattr(head, 'gfl_reg'):  # small boxes, or each takes the others away
            head.gfl_reg.bias.view(4, -1)[:, 1] += 5
    for hook in hooks:
        hook.remove()
    head.test_cfg.update(score_thr=0.05)
    if 'nms_pre' in head.test_cfg:
        head.test_cfg.update(nms_pre=200)
    return model


def segmenting(name, **changes):
    """A rule and a segmentor that has seen nothing, but tells pixels apart."""
    torch.manual_seed(0)
    cfg = Config.fromfile(FOLDER / f'{name}.py').segmentor.to_dict()
    cfg['backbone'].pop('init_cfg', None)
    cfg.update(changes)
    model = JointCoupling(dict(type='AverageFuser'), tasks=dict(seg=cfg))
    model.init_weights()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_(std=0.1)
                module.weight.uniform_(0.8, 1.2)
        layer = model.tasks['seg'].network.decode_head.conv_seg
        layer.weight.normal_(std=0.5)
        picture = torch.from_numpy(example_pictures((1, 72, 99), (3, 1), 'float32')[0]).permute(0, 3, 1, 2)
        network = model.eval().tasks['seg'].network
        logits = network.encode_decode(F.pad(picture * 2 - 1, (0, 29, 0, 24)), [dict(img_shape=(96, 128))])
        layer.bias.sub_(logits[..., :72, :99].mean((0, 2, 3)))  # no class is ahead everywhere
    return model.eval()
