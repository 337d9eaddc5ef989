"""One run of each coupling on pictures of 32x32, with the shipped runtime: a second per epoch, for tests of what
happens to whole runs.
"""

import json
from pathlib import Path

import cv2
import numpy as np

CONFIGS = Path(__file__).parents[2] / 'configs'
PAIRS = dict(train=6, test=2)

# A task network of a few thousand weights.
SEGMENTOR = dict(
    type='mmseg.EncoderDecoder',
    data_preprocessor=dict(
        type='mmseg.SegDataPreProcessor',
        mean=[127.5] * 3,
        std=[60.0] * 3,
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size_divisor=8,
    ),
    backbone=dict(
        type='mmseg.ResNetV1c',
        depth=18,
        stem_channels=4,
        base_channels=4,
        num_stages=1,
        strides=(1,),
        dilations=(1,),
        out_indices=(0,),
        norm_cfg=dict(type='BN'),
    ),
    decode_head=dict(
        type='mmseg.FCNHead',
        in_channels=4,
        in_index=0,
        channels=4,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=9,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
_SMALL = dict(channels=4, heads=2, blocks=1)
_PIXEL = dict(pixel=dict(type='MaxIntensityLoss'))
_TIM = dict(type='TIM', genotype='fusion_light', width=4)
_ADAM = dict(type='Adam', lr=1e-3)
_PARTS = dict(constructor='PartOptimWrapperConstructor', fuser=dict(optimizer=_ADAM), tasks=dict(optimizer=_ADAM))

#: model, train_cfg and optim_wrapper by coupling.
RUNS = dict(
    fusion=dict(
        model=dict(type='FusionOnly', fuser=_TIM, fusion_loss=_PIXEL),
        train_cfg=dict(type='EpochBasedTrainLoop'),
        optim_wrapper=dict(type='OptimWrapper', optimizer=_ADAM),
    ),
    joint=dict(
        model=dict(type='JointCoupling', fuser=_TIM, fusion_loss=_PIXEL, tasks=dict(seg=SEGMENTOR)),
        train_cfg=dict(type='EpochBasedTrainLoop'),
        optim_wrapper=dict(type='OptimWrapper', optimizer=_ADAM),
    ),
    bilevel=dict(
        model=dict(type='BilevelCoupling', fuser=_TIM, fusion_loss=_PIXEL, tasks=dict(seg=SEGMENTOR)),
        train_cfg=dict(type='CouplingTrainLoop'),
        optim_wrapper=_PARTS,
    ),
    meta=dict(
        model=dict(
            type='MetaCoupling',
            fuser=dict(type='ReFusion', **_SMALL),
            loss_generator=dict(type='LossGenerationModule', **_SMALL),
            fusion_loss=dict(learned=dict(type='LearnedFusionLoss'), **_PIXEL),
            tasks=dict(seg=SEGMENTOR),
            crop_size=None,
            swap=False,
        ),
        train_cfg=dict(type='MetaTrainLoop', meta_steps=1),
        optim_wrapper=_PARTS,
    ),
    search=dict(
        model=dict(
            type='SearchCoupling',
            fuser=dict(
                type='SearchableTIM',
                cells=[dict(kind='chain', length=2)],
                candidates=('residual_3_1', 'eca_3', 'spatial_3'),
                width=4,
            ),
            fusion_loss=_PIXEL,
            tasks=dict(seg=SEGMENTOR),
        ),
        train_cfg=dict(type='SearchTrainLoop'),
        optim_wrapper=dict(_PARTS, architecture=dict(optimizer=dict(type='Adam', lr=1e-2))),
    ),
    meta_init=dict(
        model=dict(type='MetaInitCoupling', fuser=_TIM, fusion_loss=_PIXEL, inner_steps=1),
        train_cfg=dict(type='MetaInitLoop'),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.5)),
    ),
)


def write_pairs(folder: Path) -> Path:
    """Six pairs for training and two for test in the layout of MSRS, with class maps."""
    rng = np.random.default_rng(0)
    root = Path(folder) / 'MSRS'
    for split, count in PAIRS.items():
        for index in range(count):
            numbers = np.repeat(np.repeat(rng.integers(0, 3, (4, 4), dtype=np.uint8), 8, 0), 8, 1)
            noise = rng.integers(0, 256, (32, 32, 3), np.uint8)
            for name, image in (('vi', noise), ('ir', numbers * 100), ('Segmentation_labels', numbers)):
                path = root / split / name / f'{split}{index}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), image)
    return root


def write_run(folder: Path, kind: str, epochs: int = 3, extra: str = '') -> Path:
    """Write the config of a run of :data:`RUNS` beside its pairs.

    Args:
        folder: Where config and pairs lie.
        kind: Key of :data:`RUNS`.
        epochs: Number of epochs, each with a validation.
        extra: More lines of the config, which may change what stands before.
    """
    folder = Path(folder)
    root = write_pairs(folder)
    run = dict(RUNS[kind], train_cfg=dict(RUNS[kind]['train_cfg'], max_epochs=epochs, val_interval=1))
    lines = [f'_base_ = ["{CONFIGS}/_base_/default_runtime.py", "{CONFIGS}/_base_/datasets/msrs_seg.py"]']
    lines += [f'{key} = {json_like(value)}' for key, value in run.items()]
    loaders = dict(train=f'batch_size=2, num_workers=0, dataset=dict(data_root="{root}/", pipeline=train_pipeline)')
    loaders['val'] = f'batch_size=1, num_workers=0, dataset=dict(data_root="{root}/", pipeline=test_pipeline)'
    lines += ['train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline']
    lines += ['train_pipeline[2].transform.scale = test_pipeline[1].transform.scale = (32, 32)']
    lines += [f'{part}_dataloader = dict({options})' for part, options in loaders.items()]
    lines += [
        'test_dataloader = val_dataloader',
        'val_cfg, test_cfg = dict(type="ValLoop"), dict(type="TestLoop")',
        'log_level = "WARNING"',
    ]
    lines += ['test_evaluator = [dict(type="SegIoUMetric"), dict(type="FusionMetric", metrics=["EN", "SD"])]']
    lines += ['param_scheduler = [dict(type="LinearLR", start_factor=0.5, begin=0, end=2, by_epoch=True)]']
    if kind in ('fusion', 'meta_init'):
        lines += ['val_evaluator = test_evaluator = [dict(type="FusionMetric", metrics=["EN", "SD"])]']
    if kind == 'meta_init':
        lines += [f'one = dict(type=_base_.dataset_type, data_root="{root}/", split="train", pipeline=train_pipeline)']
        lines += [
            'train_dataloader = dict(batch_size=1, batch_sampler=dict(type="EpisodeBatchSampler", inner_steps=1, '
            'tasks_per_batch=2, '
            'batches_per_epoch=3), dataset=dict(_delete_=True, type="FusionTasksDataset", tasks=dict(one=one, '
            'two=one)), num_workers=0)'
        ]
    path = folder / f'{kind}.py'
    path.write_text('\n'.join([*lines, extra]) + '\n')
    return path


def json_like(value: object) -> str:
    """Python source of a nested config."""
    assert json.dumps(value)
    return repr(value)
