"""Bring a checkpoint of the official YOLOX code over to mmdet's layout.

Z. Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv 2107.08430; https://github.com/Megvii-BaseDetection/YOLOX
(Apache-2.0). Names change, values never: both programs take BGR in 0..255 and cut the image into the same four phases.
"""

from pathlib import Path
from typing import List, Union

import torch
from mmengine.config import Config

from mmfusion.models.scoped import build_scoped
from mmfusion.utils.conversion import Rule, State, check_converted, converting, read_official, rename, write_weights
from mmfusion.utils.errors import building

from .class_names import COCO_CLASSES

CONV = r'((?:[dp]?conv\.)?(?:conv|bn)\..+)'  # of a convolution with its norm, depthwise or not
NECK = dict(
    lateral_conv0='reduce_layers.0', reduce_conv1='reduce_layers.1', bu_conv2='downsamples.0', bu_conv1='downsamples.1'
)
NECK_CSP = dict(
    C3_p4='top_down_blocks.0', C3_p3='top_down_blocks.1', C3_n3='bottom_up_blocks.0', C3_n4='bottom_up_blocks.1'
)
CSP = dict(conv1='main_conv', conv2='short_conv', conv3='final_conv')


def rules() -> List[Rule]:
    """Patterns of the official keys and mmdet's names."""
    found: List[Rule] = [(r'backbone\.backbone\.stem\.' + CONV, r'backbone.stem.\1')]
    for dark in (2, 3, 4, 5):
        csp = 2 if dark == 5 else 1  # the last stage has its pyramid pooling between
        old, new = rf'backbone\.backbone\.dark{dark}', f'backbone.stage{dark - 1}'
        found += _csp_rules(rf'{old}\.{csp}', f'{new}.{csp}')
        found.append((rf'{old}\.0\.' + CONV, rf'{new}.0.\1'))
    found.append((r'backbone\.backbone\.dark5\.1\.(conv[12])\.' + CONV, r'backbone.stage4.1.\1.\2'))
    found += [(rf'backbone\.{old}\.' + CONV, rf'neck.{new}.\1') for old, new in NECK.items()]
    for old, new in NECK_CSP.items():
        found += _csp_rules(rf'backbone\.{old}', f'neck.{new}')
    found.append((r'head\.stems\.(\d)\.' + CONV, r'neck.out_convs.\1.\2'))
    found.append((r'head\.(cls|reg)_convs\.(\d)\.(\d)\.' + CONV, r'bbox_head.multi_level_\1_convs.\2.\3.\4'))
    found.append((r'head\.(cls|reg|obj)_preds\.(\d)\.(weight|bias)', r'bbox_head.multi_level_conv_\1.\2.\3'))
    return found


def _csp_rules(old: str, new: str) -> List[Rule]:
    return [
        *((rf'{old}\.{name}\.' + CONV, rf'{new}.{other}.\1') for name, other in CSP.items()),
        (rf'{old}\.m\.(\d+)\.(conv[12])\.' + CONV, rf'{new}.blocks.\1.\2.\3'),
    ]


def convert_yolox(state: State) -> State:
    """Weights of an official YOLOX by mmdet's names.

    Raises:
        UserError: Unexpected keys.
    """
    renamed = rename(state, rules(), 'YOLOX')
    return {
        key.replace('.dconv.', '.depthwise_conv.').replace('.pconv.', '.pointwise_conv.'): value
        for key, value in renamed.items()
    }


def convert_checkpoint(source: Union[str, Path], target: Union[str, Path], config: Config) -> State:
    """Convert a file and write it as mmdet would, with the names of COCO's classes where it has 80.

    Args:
        source: Official checkpoint, with the weights under ``model``.
        target: File to write; it appears whole or not at all.
        config: Config with ``detector`` that the result has to fit; its number of classes is taken from the file.

    Raises:
        UserError: The file cannot be loaded with ``weights_only``, or does not fit; keys that are missing, unexpected
            or of another shape are listed.
    """
    state = read_official(source, 'a checkpoint of YOLOX')
    with converting(source):
        weights = convert_yolox(state)
    detector = config.detector.to_dict()
    key = 'bbox_head.multi_level_conv_cls.0.weight'
    if key in weights:
        detector['bbox_head']['num_classes'] = len(weights[key])
    with building(), torch.device('meta'):
        network = build_scoped(detector)
    check_converted({'': (weights, network)}, [source])
    coco = len(weights[key]) == len(COCO_CLASSES)
    write_weights(weights, source, target, dataset_meta=dict(classes=COCO_CLASSES) if coco else None)
    return weights
