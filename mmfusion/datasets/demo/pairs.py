"""A procedural data set of visible and infrared pairs: no files, no download."""

from typing import List, Sequence

import numpy as np
from pycocotools.mask import encode

from mmfusion.registry import DATASETS

from .procedural import ProceduralPairs
from .scenes import CLASSES, RenderedPair, draw_scene, render_pair


@DATASETS.register_module()
class DemoPairs(ProceduralPairs):
    """Street scenes rendered on the fly, the embedded default of the demo and the tests.

    The visible image has texture, shading, day and night; the infrared one warm things before a cooler background; both
    have sensor noise. About 60 % of the objects show in one image only: camouflaged or in the dark but warm, or lit but
    as cold as what is behind them. Distractors stand in each image: dummies that look like an object but are colder
    than anything alive in infrared, and warm spots shaped like one that turn out to be striped crates in the visible
    image. So neither image alone suffices.

    Scene ``index`` of a split depends on ``seed``, the split's name and ``index`` alone, whatever the process, the
    worker or the order; the splits share no scene. Boxes and masks are the same on every machine; single pixels may
    differ by one gray level where OpenCV computes with other instructions. Items are those of the other data sets with
    arrays in the place of paths: ``first`` (H, W, 3) uint8 BGR, ``second`` (H, W, 1) uint8, ``instances`` with masks,
    ``gt_seg_map`` (H, W) uint8 with 0 for background and label + 1 for objects. ``LoadPair`` passes the arrays on.

    Args:
        length: Number of pairs.
        size: (height, width), at least 64x64.
        seed: Seed of the whole set.
        split: ``'train'``, ``'val'`` or ``'test'``.
        night_ratio: Part of night scenes.
        num_objects: Least and most objects per scene.
        num_distractors: Least and most distractors per scene.
        single_modality_ratio: Part of the objects that show in one image only.
        kwargs: ``pipeline``, ``test_mode``, ``indices``, ... of :class:`mmengine.dataset.BaseDataset`.

    Raises:
        ValueError: An argument is out of range.

    Examples:
        >>> item = DemoPairs(length=4, size=(96, 128), seed=1).get_data_info(2)
        >>> item['first'].shape, item['second'].shape, item['sample_id']
        ((96, 128, 3), (96, 128, 1), 'train_00002')
    """

    METAINFO = dict(
        classes=CLASSES,
        palette=[(220, 20, 60), (0, 0, 142), (250, 170, 30)],
        seg_classes=('background',) + CLASSES,
        seg_palette=[(0, 0, 0), (220, 20, 60), (0, 0, 142), (250, 170, 30)],
        modalities=('visible', 'infrared'),
    )

    def __init__(
        self,
        length: int = 200,
        size: Sequence[int] = (128, 160),
        seed: int = 0,
        split: str = 'train',
        night_ratio: float = 0.5,
        num_objects: Sequence[int] = (2, 6),
        num_distractors: Sequence[int] = (1, 3),
        single_modality_ratio: float = 0.6,
        **kwargs,
    ) -> None:
        for name, (low, high) in {'num_objects': num_objects, 'num_distractors': num_distractors}.items():
            if not 0 <= low <= high <= 60:
                raise ValueError(f'{name} must be 0 <= least <= most <= 60, got {(low, high)}')
        for name, ratio in {'night_ratio': night_ratio, 'single_modality_ratio': single_modality_ratio}.items():
            if not 0 <= ratio <= 1:
                raise ValueError(f'{name} must lie in [0, 1], got {ratio}')
        self._options = dict(
            night_ratio=night_ratio,
            num_objects=tuple(num_objects),
            num_distractors=tuple(num_distractors),
            single_modality_ratio=single_modality_ratio,
        )
        super().__init__(length=length, size=size, seed=seed, split=split, **kwargs)

    def render(self, index: int) -> RenderedPair:
        """Render one scene with everything known about it."""
        rng = self.generator(index)
        return render_pair(rng, draw_scene(rng, self.size, **self._options))

    def get_data_info(self, idx: int) -> dict:
        """The item of one scene."""
        info = super().get_data_info(idx)
        pair = self.render(info['img_id'])
        masks = [
            encode(np.asfortranarray(pair.instance_map == number, np.uint8)) for number in range(1, len(pair.boxes) + 1)
        ]
        rows = zip(pair.boxes, pair.labels, pair.ignored, masks)
        info.update(
            first=pair.visible,
            second=pair.infrared,
            instances=[
                dict(
                    bbox=box.tolist(),
                    bbox_label=int(label),
                    ignore_flag=int(ignored),
                    mask=dict(mask, counts=mask['counts'].decode()),
                )
                for box, label, ignored, mask in rows
            ],
            gt_seg_map=pair.seg_map,
            seg_fields=['gt_seg_map'],
            height=self.size[0],
            width=self.size[1],
        )
        return info

    def get_cat_ids(self, idx: int) -> List[int]:
        """Labels of the boxes of one scene, for class-balanced sampling."""
        return [instance['bbox_label'] for instance in self.get_data_info(idx)['instances']]
