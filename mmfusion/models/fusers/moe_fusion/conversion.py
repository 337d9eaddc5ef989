"""Bring a checkpoint of the official MoE-Fusion code over to :class:`MoEFusion` and :class:`TwoStreamGuide`.

Names and orders change, values never. A key that is missing, unexpected or of another shape is an error that lists it.

Class order: the official detector has background as class 0 and regresses boxes for it too; mmdet 3 puts background
last and regresses none for it. The official one also counts a box's width as x2 - x1 + 1, as mmdet did before version
2; its weights carry over, detections may differ by a fraction of a pixel.
"""

from pathlib import Path
from typing import List, Optional, Union

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmfusion.registry import MODELS, build_configured
from mmfusion.utils.config import read_config
from mmfusion.utils.conversion import Rule, State, check_converted, converting, read_official, rename, write_weights

SIDES = {'r': 'first', 'i': 'second'}  # visible and infrared
HEAD_PREFIX = 'fusion_head.'


def fusion_head_rules() -> List[Rule]:
    """Patterns of the fusion head's keys, without their prefix, and the names in :class:`MoEFusion`; an empty name
    drops the entry.
    """
    rules = []
    layers = {'Conv1': 'stem', 'DenseConv1': 'dense1', 'DenseConv2': 'dense2', 'DenseConv3': 'dense3'}
    for side, name in SIDES.items():
        rules += [
            (rf'encoder\.{old}\.conv_{side}\.(weight|bias)', rf'encoder_{name}.{new}.\1') for old, new in layers.items()
        ]
    for old, new in {
        r'encoder\.moe_fg': 'foreground',
        r'encoder\.moe_bg': 'background',
        'DecoderMoE': 'global',
    }.items():
        rules += [
            (rf'{old}\.w_gate', f'{new}_gate.weight'),
            (rf'{old}\.w_noise', f'{new}_gate.noise_weight'),
            (rf'{old}\.(mean|std)', ''),  # constants 0 and 1 of the normal distribution
        ]
        # convolution n of an expert stands at place 2 (n - 1) of ours, with ReLUs between
        rules += [
            (rf'{old}\.experts\.(\d+)\.conv{n + 1}\.(weight|bias)', rf'{new}_experts.\1.{2 * n}.\2') for n in range(2)
        ]
        rules += [
            (rf'{old}\.experts\.(\d+)\.decoder_Conv{n + 2}\.(weight|bias)', rf'{new}_experts.\1.{2 * n}.\2')
            for n in range(4)
        ]
    return rules


def detector_rules() -> List[Rule]:
    """Patterns of the two-stream detector's keys and the names in :class:`TwoStreamGuide`."""
    rules = [(r'fusion_conv\.(weight|bias)', r'attention.fusion_conv.\1')]
    for (side, name), tag in zip(SIDES.items(), ('rgb', 'tir')):
        rules += [
            (rf'(backbone|neck|rpn_head)_{side}\.(.+)', rf'{name}.\1.\2'),
            (rf'bbox_head_{side}\.(.+)', rf'{name}.roi_head.bbox_head.\1'),
            (rf'conv_{tag}att1\.weight', f'attention.{name}.reduce.weight'),
            (rf'conv_{tag}att2\.weight', f'attention.{name}.score.weight'),
            (rf'bn_{tag}att1\.(.+)', rf'attention.{name}.reduce_norms.0.\1'),
            (rf'bn_{tag}att2\.(.+)', rf'attention.{name}.score_norms.0.\1'),
        ]
    return rules


def convert_fusion_head(state: State) -> State:
    """Weights of the fusion head, keys without the prefix ``fusion_head.``, for :class:`MoEFusion`.

    Raises:
        UserError: Unexpected keys.
    """
    return rename(state, fusion_head_rules(), 'the MoE-Fusion head')


def convert_detector(state: State) -> State:
    """Weights of the two-stream detector for a :class:`TwoStreamGuide` of the published Faster R-CNN.

    Raises:
        UserError: Unexpected keys.
    """
    converted = rename(state, detector_rules(), 'the two-stream detector')
    for key, value in list(converted.items()):
        if '.bbox_head.fc_cls.' in key:
            converted[key] = torch.cat([value[1:], value[:1]])  # background from first to last
        elif '.bbox_head.fc_reg.' in key:
            converted[key] = value[4:].clone()  # no box for background
        elif key.endswith('.running_mean'):  # checkpoints of old torch versions may lack the counter
            converted.setdefault(key.replace('running_mean', 'num_batches_tracked'), torch.tensor(0))
    return converted


def convert_checkpoint(source: Union[str, Path], target: Union[str, Path], config: Union[str, Path, Config]) -> State:
    """Convert a file and write it, with the prefixes ``fuser.`` and ``guide.`` that a coupling gives its parts.

    Args:
        source: Official checkpoint: an mmcv dict with ``state_dict``, or a bare state dict; of the whole model, or of
            the fusion head alone (with or without the prefix ``fusion_head.``).
        target: File to write; it appears whole or not at all.
        config: Config with ``fuser`` and ``guide`` that the result has to fit; the number of classes is taken from the
            checkpoint.

    Returns:
        dict: The converted weights.

    Raises:
        UserError: The file cannot be loaded with ``weights_only``, or does not fit; keys that are missing, unexpected
            or of another shape are listed.
    """
    state = read_official(source, 'a checkpoint of MoE-Fusion')
    head = {key[len(HEAD_PREFIX) :]: value for key, value in state.items() if key.startswith(HEAD_PREFIX)}
    detector = {key: value for key, value in state.items() if not key.startswith(HEAD_PREFIX)}
    if not head:  # the fusion head alone
        head, detector = detector, {}
    if not isinstance(config, Config):
        config = read_config(config)
    with converting(source):
        parts = dict(fuser=convert_fusion_head(head), **(dict(guide=convert_detector(detector)) if detector else {}))
        networks = {part: (weights, _build(config[part], weights)) for part, weights in parts.items()}
    check_converted(networks, [source])
    result = {f'{part}.{key}': value for part, weights in parts.items() for key, value in weights.items()}
    write_weights(result, source, target)
    return result


def _build(cfg: Config, weights: State) -> nn.Module:
    """Build a part on the meta device: its keys and shapes are wanted, not its values."""
    cfg = cfg.copy()
    scores: Optional[Tensor] = weights.get('first.roi_head.bbox_head.fc_cls.bias')
    if scores is not None:
        cfg.detector.roi_head.bbox_head.num_classes = len(scores) - 1
    with torch.device('meta'):
        return build_configured(MODELS, cfg)
