"""The cases of docs/bad_inputs.py: each function makes files in the current folder and returns a tool and its
arguments.
"""

import errno
import functools
import io
import itertools
import json
import os
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import torch
from bad_inputs import REPO, case, marked

SIZE = (32, 40)
TRAIN, TEST, DEMO = 'tools/train.py', 'tools/test.py', 'demo/image_demo.py'
EVAL, COMPARE, DOWNSTREAM = (
    'tools/analysis_tools/eval_fusion.py',
    'tools/analysis_tools/compare_fusers.py',
    'tools/downstream.py',
)
VIDEO = 'tools/video.py'
COUNT = itertools.count()
FUSION = f"""
_base_ = '{REPO}/configs/_base_/default_runtime.py'
pipeline = [dict(type='LoadPair'), dict(type='mmdet.LoadAnnotations', with_bbox=True), dict(type='PackFusionInputs')]
loader = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
train_dataloader = dict(dataset=dict(type='LLVIPDataset', data_root='LLVIP', pipeline=pipeline), **loader)
model = dict(type='FusionOnly', fuser=dict(type='MoEFusion', base_channels=2, expert_channels=2, decoder_channels=(2, ), local_grid=(2, 2),
    global_grid=(2, 2)), fusion_loss=dict(loss_max=dict(type='MaxIntensityLoss')))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3))
"""
TESTED = """
test_dataloader = train_dataloader
test_evaluator = dict(type='FusionMetric', metrics=['EN'])
test_cfg = dict(type='TestLoop')
"""


def picture(path, size=SIZE, seed=0, kind=np.uint8):
    """Write noise."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    image = (
        generator.random(size, np.float32)
        if kind is np.float32
        else generator.integers(0, 256, size, dtype=np.uint8).astype(kind)
    )
    cv2.imwrite(str(path), image)
    return path


def annotation(name='person', box=(4, 5, 20, 25), size=''):
    """Text of a VOC file with one box."""
    corners = ''.join(f'<{tag}>{value}</{tag}>' for tag, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), box))
    return f'<annotation>{size}<object><name>{name}</name><bndbox>{corners}</bndbox></object></annotation>'


def llvip(config=FUSION, **changed):
    """A data set of three pairs in the layout of LLVIP, and a config beside it.

    Returns:
        Arguments of tools/train.py.
    """
    for index in range(3):
        for folder in ('visible', 'infrared'):
            picture(f'LLVIP/{folder}/train/{index}.png', seed=index)
        Path('LLVIP/Annotations').mkdir(exist_ok=True)
        Path(f'LLVIP/Annotations/{index}.xml').write_text(annotation())
    for name, content in changed.items():
        path = Path(
            'LLVIP',
            *{
                'xml': ('Annotations', '1.xml'),
                'first': ('visible', 'train', '1.png'),
                'second': ('infrared', 'train', '1.png'),
                'ids': ('ids.txt',),
            }[name],
        )
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    Path('config.py').write_text(config)
    return training()


def training(*options):
    """Arguments of a training; runs in one process need names of their own."""
    return TRAIN, 'config.py', '--work-dir', 'work', '--cfg-options', f'experiment_name=bad_{next(COUNT)}', *options


def png(width, height, body):
    """A png of one channel that declares a size."""

    def chunk(kind, content):
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0))
        + chunk(b'IDAT', zlib.compress(body))
        + chunk(b'IEND', b'')
    )


def with_options(text):
    """The config with more arguments of its data set."""
    return FUSION.replace("data_root='LLVIP'", f"data_root='LLVIP', {text}")


def with_detector(change=''):
    """The config with a narrow RTMDet."""
    narrow = (
        '_base_.detector.backbone.widen_factor = 0.125\n_base_.detector.neck.update(in_channels=[32, 64, 128], '
        'out_channels=32)\n'
    )
    narrow += '_base_.detector.bbox_head.update(in_channels=32, feat_channels=32, num_classes=1)\n'
    text = FUSION.replace("_base_ = '", f"_base_ = ['{REPO}/configs/_base_/detectors/rtmdet_tiny.py', '", 1).replace(
        "runtime.py'", "runtime.py']"
    )
    text = text.replace('pipeline =', f'{narrow}{change}pipeline =', 1)
    return text.replace("type='FusionOnly'", "type='JointCoupling', tasks=dict(det=_base_.detector)")


# data sets


@case('data', 'the data root does not exist', fast=True)
def _():
    Path('config.py').write_text(FUSION)
    return training()


@case('data', 'a folder of the data set is missing')
def _():
    arguments = llvip()
    Path('LLVIP/infrared').rename('LLVIP/thermal')
    return arguments


@case('data', 'an image has no partner')
def _():
    arguments = llvip()
    Path('LLVIP/infrared/train/1.png').unlink()
    return arguments


@case('data', 'two files for one sample')
def _():
    arguments = llvip()
    picture('LLVIP/infrared/train/1.bmp')
    return arguments


@case('data', 'the id list does not exist')
def _():
    return llvip(with_options("ann_file='ids.txt'"))


@case('data', 'the id list is empty')
def _():
    return llvip(with_options("ann_file='ids.txt'"), ids='# nothing yet\n')


@case('data', 'the id list names a sample twice')
def _():
    return llvip(with_options("ann_file='ids.txt'"), ids='0\n1\n0\n')


@case('data', 'the id list names a sample without image')
def _():
    return llvip(with_options("ann_file='ids.txt'"), ids='0\n9\n')


@case('data', 'the id list is no text')
def _():
    return llvip(with_options("ann_file='ids.txt'"), ids=b'0\n\xff\xfe\n')


@case('data', 'a filter leaves no pair')
def _():
    return llvip(with_options('filter_cfg=dict(min_size=99)'))


@case('data', 'unknown classes in `metainfo`')
def _():
    return llvip(with_options("metainfo=dict(classes=('person', 'tram'))"))


@case('data', 'fewer pairs than a batch, with `drop_last`')
def _():
    return llvip(FUSION.replace('batch_size=2', 'batch_size=8, drop_last=True'))


# images


@case('images', 'a png file is truncated', fast=True)
def _():
    return llvip(second=picture('a.png').read_bytes()[:200])


@case('images', 'a file of another kind with the name of a picture')
def _():
    return llvip(second='<html>404</html>')


@case('images', 'a GIF file with the name of a png file')
def _():
    return llvip(second=b'GIF89a' + bytes(40))


@case('images', 'an empty file')
def _():
    return llvip(second=b'')


@case('images', 'flipped bits in a png file')
def _():
    data = bytearray(picture('a.png').read_bytes())
    data[300] ^= 16
    return llvip(second=bytes(data))


@case('images', 'a picture of gigapixels')
def _():
    return llvip(second=png(50000, 40000, bytes(1000)))


@case('images', 'sources of different size')
def _():
    return llvip(second=picture('a.png', (20, 24)).read_bytes())


@case('images', 'pictures of 8x8 pixels')
def _():
    small = picture('a.png', (8, 8)).read_bytes()
    return llvip(first=small, second=small, xml='<annotation/>')


@case('images', 'NaN in a float tif file')
def _():
    arguments = llvip()
    Path('LLVIP/infrared/train/1.png').unlink()
    image = np.zeros(SIZE, np.float32)
    image[2, 3] = np.nan
    cv2.imwrite('LLVIP/infrared/train/1.tif', image)
    return arguments


@case('images', 'a tif file with two pages', fast=True)
def _():
    arguments = llvip()
    Path('LLVIP/infrared/train/1.png').unlink()
    cv2.imwritemulti('LLVIP/infrared/train/1.tif', [np.zeros(SIZE, np.uint16)] * 2)
    return arguments


@case('images', 'a window of temperatures that holds no pixel', fast=True)
def _():
    first, second = picture('a.png'), picture('b.png', kind=np.uint16)
    return (
        DEMO,
        first,
        second,
        '--config',
        'AverageFuser',
        '--window',
        '20',
        '40',
        '--radiometry',
        'scale=1',
        'offset=1000',
    )


@case('images', 'degrees asked of a file that brings no constants')
def _():
    first, second = picture('a.png'), picture('b.png', kind=np.uint16)
    return DEMO, first, second, '--config', 'AverageFuser', '--window', '20', '40', '--radiometry', 'file'


@case('images', 'a radiometric JPEG of DJI')
def _():
    first, second = picture('a.png'), picture('b.jpg')
    data = second.read_bytes()
    second.write_bytes(data[:2] + b'\xff\xe3\0\x08DJI\0\0\0' + data[2:])
    return DEMO, first, second, '--config', 'AverageFuser', '--window', '20', '40', '--radiometry', 'file'


@case('images', 'a FLIR radiometric JPEG without its last segments')
def _():
    first, second = picture('a.png'), picture('b.jpg')
    data = second.read_bytes()
    second.write_bytes(data[:2] + b'\xff\xe1\0\x0eFLIR\0\x01\0\x02FFF\0' + data[2:])
    return DEMO, first, second, '--config', 'AverageFuser', '--window', '20', '40', '--radiometry', 'file'


@case('images', '16 bits in a jpg file', fast=True)
def _():
    return (
        DEMO,
        picture('a.png'),
        picture('b.png'),
        '--config',
        'AverageFuser',
        '--bit-depth',
        '16',
        '--out',
        'fused.jpg',
    )


@case('images', 'tiles smaller than the receptive field', fast=True)
def _():
    sources = picture('a.png', (64, 64)), picture('b.png', (64, 64))
    return DEMO, *sources, '--config', 'SeAFusion', '--tile', '16'


@case('images', 'an image smaller than a tile', fast=True)
def _():
    marked('wrote')
    return DEMO, picture('a.png'), picture('b.png'), '--config', 'SeAFusion', '--tile', '512', '--out', 'fused.png'


@case('images', 'a float tif file in 0..255')
def _():
    arguments = llvip()
    Path('LLVIP/infrared/train/1.png').unlink()
    cv2.imwrite('LLVIP/infrared/train/1.tif', np.full(SIZE, 200, np.float32))
    return arguments


@case('images', 'a pipeline that normalizes', fast=True)
def _():
    normalize = "dict(type='Paired', transform=dict(type='mmcv.Normalize', mean=[124, 116, 104], std=[58, 57, 57]))"
    return llvip(FUSION.replace("dict(type='PackFusionInputs')", f"{normalize}, dict(type='PackFusionInputs')"))


@case('images', 'more bits than `bit_depth` says')
def _():
    arguments = llvip(FUSION.replace("dict(type='LoadPair')", "dict(type='LoadPair', bit_depth=12)"))
    for folder in ('visible', 'infrared'):
        cv2.imwrite(f'LLVIP/{folder}/train/1.png', np.full(SIZE, 5000, np.uint16))
    return arguments


@case('images', 'a truncated picture, and `on_error="skip"`')
def _():
    marked('LLVIPDataset: 2 of 3 pairs')
    return llvip(with_options("on_error='skip'"), second='no picture')


@case('images', '`MMFUSION_MAX_PIXELS` is no number')
def _():
    arguments = llvip()
    return with_environment(arguments, MMFUSION_MAX_PIXELS='many')


def with_environment(arguments, **environment):
    """Call a tool under other environment variables."""
    import runpy

    tool, *rest = arguments

    def main(argv):
        with mock.patch.dict(os.environ, environment):
            runpy.run_path(str(REPO / tool))['main'](argv)

    return (main, *rest)


# labels


@case('labels', 'an empty VOC file', fast=True)
def _():
    return llvip(xml='')


@case('labels', 'a VOC file that is cut off')
def _():
    return llvip(xml=annotation()[:60])


@case('labels', 'a VOC file with an entity bomb')
def _():
    entities = ''.join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9))
    return llvip(xml=f'<!DOCTYPE x [<!ENTITY a "lol">{entities}]><annotation>&j;</annotation>')


@case('labels', 'an unknown class')
def _():
    return llvip(xml=annotation('tram'))


@case('labels', 'a box outside the image')
def _():
    return llvip(xml=annotation(box=(4, 5, 400, 25)))


@case('labels', 'a box without area')
def _():
    return llvip(xml=annotation(box=(20, 5, 4, 25)))


@case('labels', 'a corner that is no number')
def _():
    return llvip(xml=annotation(box=('nan', 5, 20, 25)))


@case('labels', 'labels for another size')
def _():
    return llvip(xml=annotation(size='<size><width>640</width><height>480</height></size>'))


def msrs(labels='0 0.5 0.5 0.2 0.2\n', names='0 person\n1 bicycle\n2 car\n', numbers=None):
    """A data set of two pairs in the layout of MSRS with YOLO text."""
    for index in range(2):
        for folder in ('vi', 'ir'):
            picture(f'MSRS/train/{folder}/{index}.png', seed=index)
        Path('MSRS/train/labels').mkdir(exist_ok=True)
        Path(f'MSRS/train/labels/{index}.txt').write_text(labels)
        if numbers is not None:
            Path('MSRS/train/Segmentation_labels').mkdir(exist_ok=True)
            cv2.imwrite(f'MSRS/train/Segmentation_labels/{index}.png', numbers)
    if names:
        Path('MSRS/classes.txt').write_text(names)
    config = FUSION.replace("type='LLVIPDataset', data_root='LLVIP'", "type='MSRSDetDataset', data_root='MSRS'")
    Path('config.py').write_text(
        config.replace(
            "dict(type='PackFusionInputs')",
            "dict(type='LoadClassMap'), dict(type='PackFusionInputs')"
            if numbers is not None
            else "dict(type='PackFusionInputs')",
        )
    )
    return training()


@case('labels', 'a line of YOLO text with four numbers')
def _():
    return msrs('0 0.5 0.5 0.2\n')


@case('labels', 'a YOLO class number without a name')
def _():
    return msrs('7 0.5 0.5 0.2 0.2\n')


@case('labels', 'YOLO text without the list of names')
def _():
    return msrs(names='')


@case('labels', 'a list of names with a gap')
def _():
    return msrs(names='0 person\n2 car\n')


@case('labels', 'a class map with an unknown number')
def _():
    return msrs(numbers=np.full(SIZE, 77, np.uint8))


@case('labels', 'a class map of colors')
def _():
    return msrs(numbers=np.random.default_rng(0).integers(0, 9, (*SIZE, 3), dtype=np.uint8))


# configs


def broken(text, name='config.py', folder=True):
    """A training with another config."""
    Path(name).write_text(text)
    tool, _, *rest = training()
    return (tool, name, *rest)


@case('configs', 'no such file', fast=True)
def _():
    Path('config.py').write_text(FUSION)
    return TRAIN, 'confg.py'


@case('configs', 'an error in Python', fast=True)
def _():
    return broken('model = dict(\n')


@case('configs', 'a name that is not defined')
def _():
    return broken('model = dict(fuser=fuser)\n')


@case('configs', 'a `_base_` that is not there', fast=True)
def _():
    return broken("_base_ = './nothing.py'\n")


@case('configs', 'a part that is no whole config', fast=True)
def _():
    return broken('fuser = dict(type="ReFusion")\n')


@case('configs', 'a misspelled key', fast=True)
def _():
    return broken('model = dict(type="FusionOnly")\ntrain_dataloder = dict()\n')


@case('configs', 'an unknown type')
def _():
    return llvip(FUSION.replace("type='MoEFusion'", "type='MoeFusion'"))


@case('configs', 'an unknown argument')
def _():
    return llvip(FUSION.replace('base_channels=2', 'base_chanels=2'))


@case('configs', 'an unknown argument of a data loader')
def _():
    return llvip(FUSION.replace('batch_size=2', 'batchsize=2'))


@case('configs', 'yaml that would run code', fast=True)
def _():
    return broken('model: !!python/object/apply:os.mkdir [it_ran]\n', 'config.yaml')


@case('configs', 'yaml whose aliases grow without bounds')
def _():
    text = 'a: &a [x,x,x,x,x,x,x,x,x,x]\n' + ''.join(
        f'{chr(98 + i)}: &{chr(98 + i)} [{",".join([f"*{chr(97 + i)}"] * 10)}]\n' for i in range(9)
    )
    return broken(text + 'model: *j\n', 'config.yaml')


@case('configs', 'nothing to train in it')
def _():
    llvip()
    return broken(
        f"_base_ = '{REPO}/configs/_base_/default_runtime.py'\nmodel = dict(type='FusionOnly', "
        f"fuser=dict(type='AverageFuser'))\n"
    )


@case('configs', 'a detector and a data set without boxes')
def _():
    return llvip(
        with_detector().replace(
            "type='LLVIPDataset', data_root='LLVIP'",
            "type='PairFolderDataset', data_root='LLVIP', "
            "data_prefix=dict(first='visible/train', second='infrared/train')",
        )
    )


# options


@case('options', 'an option that the config does not have')
def _():
    return (*llvip(), 'train_cfg.max_epoch=3')


@case('options', 'an option without a value', fast=True)
def _():
    return (*llvip(), 'train_cfg.max_epochs')


@case('options', 'an index beyond a list')
def _():
    return (*llvip(), 'pipeline.7.type=LoadPair')


@case('options', 'an unknown device')
def _():
    tool, *rest = llvip()
    return (tool, '--device', 'gpu', *rest)


@case('options', 'a work dir that is a file')
def _():
    arguments = llvip()
    Path('work').write_text('notes')
    return arguments


@case('options', '`--out` of a test without `.pkl`')
def _():
    weights(llvip(FUSION + TESTED))
    return TEST, 'config.py', 'fuser.pth', '--out', 'predictions.json'


@case('options', '`--per-image` without a FusionMetric')
def _():
    weights(llvip(FUSION + TESTED.replace("dict(type='FusionMetric', metrics=['EN'])", "dict(type='mmdet.VOCMetric')")))
    return TEST, 'config.py', 'fuser.pth', '--work-dir', 'work', '--per-image', 'a.csv'


@case('options', 'an argument that the tool does not know', fast=True)
def _():
    return TRAIN, 'config.py', '-x'


# checkpoints


def weights(_=None, name='fuser.pth', change=None, **content):
    """A checkpoint that fits the config."""
    from mmengine.config import Config

    from mmfusion.registry import MODELS
    from mmfusion.utils import register_all_modules

    register_all_modules()
    state = MODELS.build(Config.fromfile('config.py').model).state_dict()
    torch.save(dict(state_dict=change(state) if change else state, **content), name)
    return Path(name)


def tested(path='fuser.pth'):
    """Arguments of a test."""
    return TEST, 'config.py', path, '--work-dir', 'work', '--cfg-options', f'experiment_name=bad_{next(COUNT)}'


@case('checkpoints', 'no such file', fast=True)
def _():
    llvip(FUSION + TESTED)
    return tested('epoch_9.pth')


@case('checkpoints', 'the checkpoint of another model')
def _():
    weights(llvip(FUSION + TESTED), change=lambda state: {'head.weight': torch.zeros(3)})
    return tested()


@case('checkpoints', 'the checkpoint of a wider model')
def _():
    weights(llvip(FUSION + TESTED))
    Path('config.py').write_text((FUSION + TESTED).replace('base_channels=2', 'base_channels=4'))
    return tested()


@case('checkpoints', 'half a file')
def _():
    path = weights(llvip(FUSION + TESTED))
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])
    return tested()


@case('checkpoints', 'a file of another kind')
def _():
    llvip(FUSION + TESTED)
    Path('fuser.pth').write_text('not a checkpoint')
    return tested()


class Evil:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ('it_ran',)


@case('checkpoints', 'pickled code in it')
def _():
    weights(llvip(FUSION + TESTED), meta=Evil())
    return tested()


@case('checkpoints', 'a zip bomb')
def _():
    llvip(FUSION + TESTED)
    with zipfile.ZipFile('fuser.pth', 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('archive/data.pkl', bytes(10**7))
    return tested()


@case('checkpoints', 'no weights in it')
def _():
    llvip(FUSION + TESTED)
    torch.save(dict(meta=dict(epoch=3)), 'fuser.pth')
    return tested()


@case('checkpoints', '`load_from` a file that has nothing in common with the model')
def _():
    weights(llvip(), change=lambda state: {'head.weight': torch.zeros(3)})
    return training('load_from=fuser.pth')


@case('checkpoints', '`init_cfg` of a task network names no file')
def _():
    return llvip(with_detector("_base_.detector.init_cfg = dict(type='Pretrained', checkpoint='rtmdet.pth')\n"))


@case('checkpoints', 'weights that are NaN')
def _():
    weights(
        llvip(),
        change=lambda state: {
            key: value * torch.nan if value.is_floating_point() else value for key, value in state.items()
        },
    )
    return (
        DEMO,
        'LLVIP/visible/train/0.png',
        'LLVIP/infrared/train/0.png',
        '--config',
        'config.py',
        '--weights',
        'fuser.pth',
    )


# resuming


@case('resume', '`--resume` a file that is not there')
def _():
    llvip()
    return (*training()[:4], '--resume', 'epoch_9.pth')


@case('resume', '`--resume` a checkpoint of weights alone')
def _():
    weights(llvip())
    return (*training()[:4], '--resume', 'fuser.pth')


@case('resume', '`--resume` without any checkpoint')
def _():
    marked('no checkpoint in')
    return (*llvip(), '--resume')


# scoring folders


def folders(*methods):
    """Folders of sources and of fused images, two scenes each."""
    for seed, name in enumerate((*methods, 'vi', 'ir')):
        for index in range(2):
            picture(f'{name}/{index}.png', seed=seed)
    return (*methods, 'vi', 'ir')


def scoring(*arguments):
    """Arguments of a scoring in one process."""
    return (EVAL, *arguments, '--out', 'out', '--workers', '1')


@case('scoring', 'a folder that is not there')
def _():
    folders()
    return scoring('fused', 'vi', 'ir', '--metrics', 'EN')


@case('scoring', 'no names in common')
def _():
    names = folders('fused')
    for index in range(2):
        Path(f'fused/{index}.png').rename(f'fused/fused_{index}.png')
    return scoring(*names, '--metrics', 'EN')


@case('scoring', 'an unknown metric')
def _():
    return scoring(*folders('fused'), '--metrics', 'ENTROPY')


@case('scoring', 'an unknown protocol')
def _():
    return scoring(*folders('fused'), '--metrics', 'EN', '--protocol', 'mine')


@case('scoring', 'two folders of one name for several metrics')
def _():
    folders('a/fused', 'b/fused')
    return scoring('a/fused', 'b/fused', 'vi', 'ir', '--metrics', 'EN', 'SD')


@case('scoring', 'one of two fused images is damaged')
def _():
    names = folders('fused')
    Path('fused/0.png').write_bytes(b'no picture')
    marked('fused/0.png')
    return scoring(*names, '--metrics', 'EN')


@case('scoring', 'all fused images are damaged')
def _():
    names = folders('fused')
    for index in range(2):
        Path(f'fused/{index}.png').write_bytes(b'no picture')
    return scoring(*names, '--metrics', 'EN')


@case('scoring', 'a folder given where three are needed', fast=True)
def _():
    return scoring('fused')


@case('scoring', 'a journal with damaged lines')
def _():
    names = folders('fused')
    Path('out').mkdir()
    Path('out/journal.jsonl').write_bytes(b'{"version": 3}\n[[[\n\xff\n')
    return scoring(*names, '--metrics', 'EN')


# registering


REGISTER = 'tools/analysis_tools/register.py'
RIG = """format: 1
matrix: {matrix}
model: similarity
first_size: [80, 72]
second_size: [80, 72]
"""


def rig(matrix='[[1, 0, 4], [0, 1, 2], [0, 0, 1]]'):
    """A rig file, and a pair of files."""
    Path('rig.yaml').write_text(RIG.format(matrix=matrix))
    return picture('a.png', (72, 80)), picture('b.png', (72, 80), seed=1)


@case('registering', 'a picture and a folder', fast=True)
def _():
    picture('ir/0.png')
    return REGISTER, picture('a.png'), 'ir'


@case('registering', 'two images that have nothing in common', fast=True)
def _():
    marked('confidence 0.')
    return REGISTER, *rig(), '--out', 'moved.png'


@case('registering', 'an image smaller than 64 pixels', fast=True)
def _():
    return REGISTER, picture('a.png', (72, 80)), picture('b.png', (40, 48))


@case('registering', 'one folder without the two that it should hold', fast=True)
def _():
    picture('all/0.png')
    return REGISTER, 'all', '--check'


@case('registering', 'folders of which no pair can be registered, for a rig')
def _():
    for index in range(3):
        picture(f'vi/{index}.png', (72, 80), seed=index)
        picture(f'ir/{index}.png', (72, 80), seed=9 + index)
    return REGISTER, 'vi', 'ir', '--rig', 'rig.yaml'


@case('registering', 'a rig whose transform is singular')
def _():
    return DEMO, *rig('[[1, 2, 0], [2, 4, 0], [0, 0, 1]]'), '--config', 'AverageFuser', '--registration', 'rig.yaml'


@case('registering', 'a rig made for another size')
def _():
    rig()
    return (
        *(DEMO, picture('c.png', (48, 64)), picture('d.png', (48, 64), seed=1)),
        *('--config', 'AverageFuser', '--registration', 'rig.yaml'),
    )


# genotypes, tables, converters


def drawn(content=None, name='mine.json'):
    """Arguments of drawing a genotype."""
    if content is not None:
        Path(name).write_text(content)
    return 'tools/analysis_tools/draw_genotype.py', name, 'a.png'


@case('genotypes', 'an unknown name')
def _():
    return drawn(name='fusion_lite')


@case('genotypes', 'no such file', fast=True)
def _():
    return drawn()


@case('genotypes', 'a file that is no JSON', fast=True)
def _():
    return drawn('{"cells": [')


@case('genotypes', 'JSON nested without end', fast=True)
def _():
    return drawn('[' * 100000)


@case('genotypes', 'an unknown operation', fast=True)
def _():
    return drawn(json.dumps(dict(cells=[dict(kind='chain', operations=['conv_3'])])))


@case('genotypes', 'a kernel of a million pixels', fast=True)
def _():
    return drawn(json.dumps(dict(cells=[dict(kind='chain', operations=['spatial_999999'])])))


@case('genotypes', 'a search with a latency table that is not there')
def _():
    return (
        'tools/search.py',
        REPO / 'configs' / 'tim_demo_search.py',
        '--work-dir',
        'work',
        '--cfg-options',
        'model.latency_table=none.json',
        'model.latency_weight=0.1',
        f'experiment_name=bad_{next(COUNT)}',
    )


def converted(*content, arguments=('light',), tool='tim_official'):
    """Arguments of a converter."""
    names = []
    for index, item in enumerate(content):
        names.append(f'official_{index}.pt')
        if isinstance(item, bytes):
            Path(names[-1]).write_bytes(item)
        else:
            torch.save(item, names[-1])
    return (f'tools/model_converters/{tool}.py', *arguments, *names, 'converted.pth')


@case('converters', 'the checkpoint of another network')
def _():
    return converted({'head.weight': torch.zeros(3)})


@case('converters', 'a file that holds no tensors')
def _():
    return converted(dict(epoch=3))


@case('converters', 'half a file')
def _():
    file = io.BytesIO()
    torch.save({'stem.0.conv2d.weight': torch.zeros(100, 100)}, file)
    return converted(file.getvalue()[:5000])


@case('converters', 'pickled code in it')
def _():
    return converted(dict(model=Evil()), arguments=(), tool='tdfusion_official')


@case('converters', 'two files where one stage is expected')
def _():
    return converted({'a': torch.zeros(1)}, {'a': torch.zeros(1)})


@case('converters', 'an entry of another shape')
def _():
    return converted({'fusion_head.DecoderMoE.w_gate': torch.zeros(3, 2)}, arguments=(), tool='moe_fusion_official')


@case('converters', 'a config that is not there')
def _():
    return (*converted({'a': torch.zeros(1)}), '--config', 'none.py')


# fusing


def demo(*arguments):
    """Arguments of the demo, with a pair of pictures at hand."""
    folders()
    return (DEMO, *arguments)


@case('fusing', 'a source that is not there')
def _():
    return demo('vi/0.png', 'ir/9.png')


@case('fusing', 'a file and a folder')
def _():
    return demo('vi/0.png', 'ir')


@case('fusing', 'an unknown fuser')
def _():
    return demo('vi/0.png', 'ir/0.png', '--config', 'AverageFusr')


@case('fusing', 'boxes without a detector')
def _():
    return demo('vi/0.png', 'ir/0.png', '--boxes')


@case('fusing', 'an option that the fuser does not have')
def _():
    return demo('vi/0.png', 'ir/0.png', '--fuser-options', 'task=1')


@case('fusing', 'folders with an image without partner')
def _():
    arguments = demo('vi', 'ir')
    Path('ir/1.png').unlink()
    return arguments


@case('fusing', 'folders with an image without partner, and `--skip-bad`')
def _():
    arguments = demo('vi', 'ir', '--skip-bad')
    Path('ir/1.png').unlink()
    marked('1 images without partner')
    return arguments


@case('fusing', 'weights of another fuser')
def _():
    folders()
    Path('config.py').write_text(FUSION)
    weights(change=lambda state: {'fuser.head.weight': torch.zeros(3)})
    return DEMO, 'vi/0.png', 'ir/0.png', '--config', 'config.py', '--weights', 'fuser.pth'


# experiments


@case('experiments', 'a task config without task networks')
def _():
    llvip(FUSION + TESTED)
    return DOWNSTREAM, 'config.py', '--fusion', 'AverageFuser', '--work-dir', 'down'


@case('experiments', 'the pictures of another fuser in the work dir')
def _():
    llvip(
        FUSION.replace("type='FusionOnly'", "type='JointCoupling', tasks=dict(det=dict(type='mmdet.RTMDet'))") + TESTED
    )
    Path('down/fused').mkdir(parents=True)
    Path('down/fused/fused.json').write_text('{"fusion": "MaximumFuser"}')
    return DOWNSTREAM, 'config.py', '--fusion', 'AverageFuser', '--work-dir', 'down'


@case('experiments', 'a damaged note of which fuser made them')
def _():
    llvip(
        FUSION.replace("type='FusionOnly'", "type='JointCoupling', tasks=dict(det=dict(type='mmdet.RTMDet'))") + TESTED
    )
    Path('down/fused').mkdir(parents=True)
    Path('down/fused/fused.json').write_text('{"fusion": ')
    return DOWNSTREAM, 'config.py', '--fusion', 'AverageFuser', '--work-dir', 'down'


@case('experiments', 'a row that needs another coupling')
def _():
    llvip(FUSION + TESTED)
    return COMPARE, 'config.py', '--variants', 'meta', '--seeds', '0', '--work-dir', 'table'


# the machine


class _Full:
    """A file on a disk with room for so many bytes more."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


def on_full_disk(arguments, ending):
    """Let the disk be full as soon as a file is written whose name, or that of the file it stands in for, has this
    ending.
    """
    import builtins
    import runpy

    tool, *rest = arguments
    real = builtins.open

    def opened(file, mode='r', *args, **kwargs):
        stream = real(file, mode, *args, **kwargs)
        full = (
            isinstance(file, (str, os.PathLike))
            and ending in os.fspath(file)
            and any(letter in mode for letter in 'wa+x')
        )
        return _Full(stream, 0) if full else stream

    def main(argv):
        main = runpy.run_path(str(REPO / tool))['main']
        with mock.patch('builtins.open', opened):
            main(argv)

    return (main, *rest)


def streams(*arguments, seconds=0.4, size=SIZE, rate=25):
    """Two small videos, and the call that fuses them."""
    for name, shape, fps in (('vi.avi', SIZE, 25), ('ir.avi', size, rate)):
        writer = cv2.VideoWriter(name, cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*'MJPG'), fps, shape[::-1])
        for value in range(10 if name == 'vi.avi' else int(rate * seconds)):
            writer.write(np.full((*shape, 3), value, np.uint8))
        writer.release()
    return VIDEO, *(arguments or ('vi.avi', 'ir.avi')), '--config', 'AverageFuser'


@case('video', 'no video at all', fast=True)
def _():
    Path('notes.txt').write_text('no video\n' * 100)
    return streams('vi.avi', 'notes.txt')


@case('video', 'an image in the place of a video', fast=True)
def _():
    return streams('vi.avi', picture('one.png'))


@case('video', 'an empty file', fast=True)
def _():
    Path('empty.mp4').write_bytes(b'')
    return streams('vi.avi', 'empty.mp4')


@case('video', 'a file that is cut off', fast=True)
def _():
    arguments = streams('vi.avi', 'cut.mp4')
    writer = cv2.VideoWriter('cut.mp4', cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*'mp4v'), 25, SIZE[::-1])
    for value in range(10):
        writer.write(np.full((*SIZE, 3), value, np.uint8))
    writer.release()
    whole = Path('cut.mp4').read_bytes()
    Path('cut.mp4').write_bytes(whole[: len(whole) // 2])  # its index comes last
    return arguments


@case('video', 'a video without frames', fast=True)
def _():
    arguments = streams('vi.avi', 'bare.avi')
    whole = Path('vi.avi').read_bytes()
    Path('bare.avi').write_bytes(whole[: whole.index(b'movi') + 4])  # its header alone
    return arguments


@case('video', 'a folder without images', fast=True)
def _():
    Path('frames').mkdir()
    return streams('vi.avi', 'frames')


@case('video', 'frames of two sizes without a registration', fast=True)
def _():
    return streams(size=(32, 64))


@case('video', 'one stream is shorter', fast=True)
def _():
    marked('has ended')
    return streams(seconds=0.2)


@case('video', 'another frame rate of one stream', fast=True)
def _():
    marked('frames a second')
    return streams(rate=10)


@case('video', 'another frame rate, and too few frames for an offset', fast=True)
def _():
    return streams('vi.avi', 'ir.avi', '--offset', 'auto', rate=10)


@case('video', 'streams that never meet', fast=True)
def _():
    return streams('vi.avi', 'ir.avi', '--offset', 100)


@case('video', 'nothing moves, and the offset is to be estimated', fast=True)
def _():
    return streams('vi.avi', 'ir.avi', '--offset', 'auto')


@case('video', 'an ending that is no video', fast=True)
def _():
    return streams('vi.avi', 'ir.avi', '--out', 'fused.gif')


@case('video', 'a camera that vanishes', fast=True)
def _():
    arguments = streams('0', '1')

    class Camera:
        """The first gives five frames, the second goes on."""

        def __init__(self, number):
            self.left = 5 if number == 0 else float('inf')

        def read(self):
            self.left -= 1
            return self.left >= 0, np.zeros((*SIZE, 3), np.uint8)

        isOpened = lambda self: True  # noqa: N815, E731
        get = lambda self, key: 25.0 if key == cv2.CAP_PROP_FPS else 0.0  # noqa: E731
        release = lambda self: None  # noqa: E731

    real = cv2.VideoCapture

    def run(argv):
        import runpy

        def open_(*source):
            return Camera(source[0]) if isinstance(source[0], int) else real(*source)

        with mock.patch.object(cv2, 'VideoCapture', open_):
            runpy.run_path(str(REPO / VIDEO))['main']([*argv, '--tolerance', '60'])

    return run, *arguments[1:]


@case('video', 'a fused sequence of another size', fast=True)
def _():
    streams(size=(32, 64))
    return scoring('--sequence', 'ir.avi', 'vi.avi', 'vi.avi')


@case('video', 'a fused sequence that lies at another time', fast=True)
def _():
    streams()
    return scoring('--sequence', 'mine=vi.avi', 'vi.avi', 'ir.avi', '--offset', 100)


@case('machine', 'the disk is full when a fused picture is written')
def _():
    return on_full_disk(demo('vi/0.png', 'ir/0.png'), 'fused.png')


@case('machine', 'the disk is full when a table is written')
def _():
    return on_full_disk(scoring(*folders('fused'), '--metrics', 'EN'), 'default_images.csv')


@case('machine', 'the disk is full when a score is noted')
def _():
    return on_full_disk(scoring(*folders('fused'), '--metrics', 'EN'), 'journal.jsonl')


def interrupted(arguments, where):
    """Ctrl-C at the first call of a function."""
    import runpy

    tool, *rest = arguments

    def main(argv):
        main = runpy.run_path(str(REPO / tool))['main']
        with mock.patch(where, side_effect=KeyboardInterrupt):
            main(argv)

    return (main, *rest)


@case('machine', 'Ctrl-C while scoring')
def _():
    marked('the same command goes on')
    return interrupted(
        scoring(*folders('fused'), '--metrics', 'EN'), 'mmfusion.evaluation.folders.scoring.evaluate_metrics'
    )


@case('machine', 'Ctrl-C while fusing')
def _():
    return interrupted(demo('vi', 'ir'), 'mmfusion.apis.inferencer.write_image')


@case('machine', 'Ctrl-C while training')
def _():
    return interrupted(llvip(), 'mmfusion.models.couplings.fusion_only.FusionOnly.train_step')


# what the writer of checkpoints and the checks of a training answer


@case('resume', '`--resume`, and the newest checkpoint is half a file')
def _():
    import runpy

    marked('going on from')
    tool, *rest = llvip()
    runpy.run_path(str(REPO / tool))['main']([*map(str, rest), 'train_cfg.max_epochs=2'])
    newest = Path('work/epoch_2.pth')
    newest.write_bytes(newest.read_bytes()[:1000])
    return (*training('train_cfg.max_epochs=2'), '--resume')


@case('resume', '`--resume`, and the note of the last checkpoint is damaged')
def _():
    import runpy

    tool, *rest = llvip()
    runpy.run_path(str(REPO / tool))['main'](list(map(str, rest)))
    Path('work/last_checkpoint').write_bytes(b'\xff\0' * 20)
    marked('training done')
    return (*training('train_cfg.max_epochs=2'), '--resume')


@case('machine', 'the disk is full when a checkpoint is written')
def _():
    return on_full_disk(llvip(), 'epoch_1.pth')


@case('machine', 'a loss that becomes infinite')
def _():
    return llvip(FUSION.replace('lr=1e-3', 'lr=1e30').replace('max_epochs=1', 'max_epochs=3'))


@case('experiments', 'a changed config in the work dir of a comparison')
def _():
    import runpy

    llvip(
        with_detector()
        + TESTED.replace("dict(type='FusionMetric', metrics=['EN'])", "dict(type='mmdet.VOCMetric', metric='mAP')")
    )
    arguments = ('config.py', '--variants', 'visible', '--seeds', '0', '--work-dir', 'table')
    runpy.run_path(str(REPO / COMPARE))['main'](list(arguments))
    return (COMPARE, *arguments, '--cfg-options', 'optim_wrapper.optimizer.lr=0.5')


def examined(*arguments):
    """The doctor, called with arguments, and a folder of one picture beside an empty one."""
    from mmfusion.cli.doctor import main as doctor

    Path('vi').mkdir()
    Path('ir').mkdir()
    cv2.imwrite('vi/1.png', np.zeros((64, 64, 3), np.uint8))
    return doctor, *arguments


@case('experiments', 'one folder for the doctor', fast=True)
def _():
    return examined('vi')


@case('experiments', 'folders without a common name for the doctor', fast=True)
def _():
    return examined('vi', 'ir')


@case('experiments', 'a misspelled check of the doctor', fast=True)
def _():
    tool, *arguments = examined('vi', 'ir', '--checks', 'polarty')
    cv2.imwrite('ir/1.png', np.zeros((64, 64), np.uint8))
    return tool, *arguments


def exported(*arguments, out='fuser.onnx'):
    """The export, called with arguments, in a folder with a pair."""
    from mmfusion.cli.export import main as export

    for folder in ('vi', 'ir'):
        picture(f'{folder}/1.png', (64, 64))
    return export, *arguments, '--out', out


@case('export', 'a model that is not there', fast=True)
def _():
    return exported('no_such_config.py')


@case('export', 'a file of another kind', fast=True)
def _():
    return exported('AverageFuser', out='fuser.pb')


@case('export', 'a task that the model does not have', fast=True)
def _():
    return exported('AverageFuser', '--tasks', 'det')


@case('export', 'an option that the fuser does not have', fast=True)
def _():
    return exported('AverageFuser', '--fuser-options', 'shift=1')


@case('export', 'int8 without pairs', fast=True)
def _():
    return exported('AverageFuser', '--precision', 'int8')


@case('export', 'half precision of a fuser without weights')
def _():
    return exported('AverageFuser', '--precision', 'half', '--calibrate', 'vi', 'ir')


@case('export', 'pairs that are not there', fast=True)
def _():
    return exported('DenseFuse', '--precision', 'half', '--calibrate', 'vi', 'thermal')


@case('export', 'a folder in the place of the file', fast=True)
def _():
    Path('fuser.onnx').mkdir()
    return exported('AverageFuser')


@case('export', 'a detector in two stages behind the fuser', fast=True)
def _():
    import mmdet
    from mmengine.config import Config

    base = Path(mmdet.__file__).parent / '.mim/configs/_base_/models/faster-rcnn_r50_fpn.py'
    detector = Config.fromfile(base).model.to_dict()
    detector['type'] = 'mmdet.FasterRCNN'
    detector['backbone']['init_cfg'] = None
    Path('config.py').write_text(
        f"model = dict(type='JointCoupling', fuser=dict(type='AverageFuser'), tasks=dict(det={detector!r}))\n"
    )
    return exported('config.py', '--tasks', 'det')


@case('export', 'the fuser of a trained model before no detector', fast=True)
def _():
    return exported('AverageFuser', '--fuser', 'plain_conv_det')


@case('export', 'a detector in int8 without labels', fast=True)
def _():
    return exported('average_msrs_det', '--tasks', 'det', '--precision', 'int8', '--calibrate', 'vi', 'ir')


@case('export', 'labels of other pictures', fast=True)
def _():
    Path('labels').mkdir()
    pairs = ('--calibrate', 'vi', 'ir', '--labels', 'labels')
    return exported('average_msrs_det', '--tasks', 'det', '--precision', 'int8', *pairs)


@functools.lru_cache(1)
def average_file():
    """Bytes of an exported file."""
    from mmfusion.export import export_model

    with tempfile.TemporaryDirectory() as folder:
        export_model('AverageFuser', f'{folder}/fuser.onnx')
        return Path(f'{folder}/fuser.onnx').read_bytes()


def ran(*arguments, second=(64, 64), kind=np.uint8):
    """The command that needs no torch, called with arguments, in a folder with a pair and an exported file."""
    from mmfusion.cli.run import main as run

    picture('vi/1.png', (64, 64, 3))
    picture('ir/1.png', second, kind=kind)
    Path('fuser.onnx').write_bytes(average_file())
    return run, *(arguments or ('fuser.onnx', 'vi', 'ir'))


@case('running', 'a file that is not there', fast=True)
def _():
    return ran('none.onnx', 'vi', 'ir')


@case('running', 'a file that is no graph', fast=True)
def _():
    return ran('vi/1.png', 'vi', 'ir')


@case('running', 'a picture without partner', fast=True)
def _():
    picture('vi/2.png')
    return ran()


@case('running', 'sizes that differ', fast=True)
def _():
    return ran(second=(48, 80))


@case('running', '16-bit files, and a file for 8 bits', fast=True)
def _():
    return ran(kind=np.uint16)


@case('running', 'color where the file takes gray', fast=True)
def _():
    return ran('fuser.onnx', 'ir', 'vi')


@case('running', 'a rig for other sizes', fast=True)
def _():
    from mmfusion.registration import Rig

    Rig(np.eye(3), 'translation', (48, 80), (48, 80)).save('rig.yaml')
    return ran('fuser.onnx', 'vi', 'ir', '--registration', 'rig.yaml')


@case('running', 'videos, and a registration that is to be estimated', fast=True)
def _():
    streams()
    return ran('fuser.onnx', 'vi.avi', 'ir.avi', '--registration', 'auto')


@case('running', 'a still video whose offset is to be estimated', fast=True)
def _():
    streams()
    return ran('fuser.onnx', 'vi.avi', 'ir.avi', '--offset', 'auto')


@case('running', 'tiles too small for the overlap', fast=True)
def _():
    return ran('fuser.onnx', 'vi', 'ir', '--tile', 32, '--overlap', 64)
