"""Starting task networks from the checkpoints of others, whole and with their classes matched by name."""

from .class_names import COCO_CLASSES, SYNONYMS, match_classes
from .class_rows import ClassAxis, class_axes, take_rows
from .keep import pretrained_last
from .loading import load_task_weights
from .read import TaskWeights, can_be_read, read_task_weights

__all__ = [
    'COCO_CLASSES',
    'SYNONYMS',
    'ClassAxis',
    'TaskWeights',
    'can_be_read',
    'class_axes',
    'load_task_weights',
    'match_classes',
    'pretrained_last',
    'read_task_weights',
    'take_rows',
]
