"""Synthetic fusion tasks and a fuser that learns them in seconds, for tests of meta-initialization."""

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from torch import nn

from mmfusion.models.fusers import BaseFuser, FuserOutput
from mmfusion.registry import DATASETS, MODELS


@MODELS.register_module()
class TinyNormFuser(BaseFuser):
    """Two convolutions and a batch norm; enough to have everything that meta-initialization touches."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Conv2d(width, 1, 3, padding=1)
        self.unused = nn.Parameter(torch.ones(2))  # takes part in nothing

    def fuse(self, first, second):
        """Fuse two luminance batches."""
        return FuserOutput(self.head(torch.tanh(self.norm(self.stem(torch.cat([first, second], dim=1))))), {})


@DATASETS.register_module()
class TinyScenes(BaseDataset):
    """Smooth gray pairs, rendered from a seed: a bright patch in one image, texture in the other, at the levels of the
    task.
    """

    METAINFO = dict(classes=(), modalities=('first', 'second'))

    def __init__(self, length: int = 8, level: float = 0.4, contrast: float = 0.3, seed: int = 0, **kwargs) -> None:
        self.number, self.level, self.contrast, self.seed = length, level, contrast, seed
        super().__init__(pipeline=[dict(type='PackFusionInputs')], **kwargs)

    def load_data_list(self):
        """Items with both images."""
        return [self._render(index) for index in range(self.number)]

    def _render(self, index):
        rng = np.random.default_rng([self.seed, index])
        texture = np.kron(rng.random((6, 6)), np.ones((4, 4)))
        first = self.level + self.contrast * (texture - 0.5)
        second = np.full((24, 24), self.level * 0.6)
        top, left = rng.integers(2, 14, 2)
        second[top : top + 7, left : left + 7] += 1.2 * self.contrast
        images = {
            name: (np.clip(image, 0, 1)[..., None] * 255).astype(np.uint8)
            for name, image in (('first', first), ('second', second))
        }
        return dict(images, sample_id=f'{index:02d}', img_shape=(24, 24), ori_shape=(24, 24))


LOSS = dict(saliency=dict(type='SaliencyFusionLoss'))
TASKS = {
    name: dict(type='TinyScenes', level=level, contrast=contrast, seed=seed)
    for seed, (name, level, contrast) in enumerate((('dim', 0.25, 0.25), ('bright', 0.6, 0.4), ('flat', 0.4, 0.15)))
}
HELD_OUT = dict(type='TinyScenes', level=0.45, contrast=0.35, seed=9)
