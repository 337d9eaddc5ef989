"""Readers of annotation formats, independent of any data set."""

from .boxes import BoxProblem, RawAnnotation, RawBox, check_box
from .coco import CocoFile, read_coco
from .voc import read_voc
from .yolo import read_class_names, read_yolo

__all__ = [
    'BoxProblem',
    'CocoFile',
    'RawAnnotation',
    'RawBox',
    'check_box',
    'read_class_names',
    'read_coco',
    'read_voc',
    'read_yolo',
]
