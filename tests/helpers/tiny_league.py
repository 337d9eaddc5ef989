"""A league that takes seconds: rules on small pairs, a tiny detector with weights of its own."""

import cv2
import numpy as np
import tiny_detectors
import torch

from mmfusion.models.scoped import build_scoped


def write_pairs(folder, number=4, size=(40, 56), seed=0):
    """Color and gray pictures of equal names below ``vi`` and ``ir``."""
    rng = np.random.default_rng(seed)
    for index in range(number):
        for kind, channels in (('vi', 3), ('ir', 1)):
            image = cv2.resize(
                rng.integers(0, 256, (6, 8, channels), np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC
            )
            noise = rng.integers(-9, 10, image.shape)
            (folder / kind).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(
                str(folder / kind / f'{index:02d}.png'), np.clip(image.astype(int) + noise, 0, 255).astype(np.uint8)
            )
    return folder


def pairs_of(folder):
    return dict(type='PairFolderDataset', data_root=f'{folder}/', data_prefix=dict(first='vi', second='ir'))


def config(folder, **changes):
    """Three rules on four pairs, two metrics, no costs."""
    write_pairs(folder)
    content = dict(
        title='Tiny league',
        methods=dict(average=dict(model='AverageFuser', kind='rule'), maximum=dict(model='MaximumFuser', kind='rule'),
                     visible=dict(model=dict(type='SourceFuser', source='first'), kind='rule', title='visible alone')),
        pairs=dict(small=dict(title='Small', dataset=pairs_of(folder))),
        metrics=('EN', 'SD', 'MI'),
        cost=None,
    )  # fmt: skip
    return {**content, **changes}


def detector(folder, classes=3):
    """Config of a tiny detector whose weights lie in a file."""
    network = tiny_detectors.fcos(classes)
    torch.manual_seed(0)
    path = folder / 'detector.pth'
    torch.save(dict(state_dict=build_scoped(network).state_dict()), path)
    network['init_cfg'] = dict(type='Pretrained', checkpoint=str(path))
    return network
