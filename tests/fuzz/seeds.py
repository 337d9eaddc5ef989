"""Files that the readers take, and hostile ones made by hand."""

import io
import struct
import zlib
from typing import Dict, List

import cv2
import numpy as np
from PIL import Image

SIZE = (32, 40)


def pictures(suffix: str, *options) -> List[bytes]:
    """Pictures of several depths and channels in one format."""
    generator = np.random.default_rng(0)
    arrays = [
        generator.integers(0, 256, SIZE, dtype=np.uint8),
        generator.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
        np.repeat(np.arange(40, dtype=np.uint8)[None], 32, 0),
    ]
    if suffix in ('.png', '.tif'):
        arrays += [
            generator.integers(0, 2**16, SIZE, dtype=np.uint16),
            generator.integers(0, 256, (*SIZE, 4), dtype=np.uint8),
        ]
    if suffix == '.tif':
        arrays += [generator.random(SIZE, dtype=np.float32)]
    return [cv2.imencode(suffix, array, *options)[1].tobytes() for array in arrays]


def with_pil(kind: str, **options) -> bytes:
    """A picture that OpenCV does not write: progressive, with a palette, in tiles, by another compression."""
    array = np.random.default_rng(1).integers(0, 8, SIZE, dtype=np.uint8)
    image = Image.fromarray(array)
    if options.pop('palette', False):
        image.putpalette([value for color in range(256) for value in (color, 255 - color, 7)])
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def bombs() -> Dict[str, List[bytes]]:
    """Small files that declare large pictures, by format."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))

    png = [
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', *size, 8, 2, 0, 0, 0))
        + chunk(b'IDAT', zlib.compress(bytes(10**6)))
        + chunk(b'IEND', b'')
        for size in ((2**31 - 1, 2**31 - 1), (50000, 50000), (0, 7), (2**31 - 1, 1))
    ]
    png.append(png[0][:33] + pictures('.png')[0][8:])  # a second header, which decoders take for the true one or not
    jpg = []
    for size in ((65500, 65500), (0, 65500)):
        data = bytearray(pictures('.jpg')[0])
        place = data.index(b'\xff\xc0') + 5
        data[place : place + 4] = struct.pack('>HH', *size)
        jpg.append(bytes(data))
    slow = with_pil('JPEG', progressive=True)  # thousands of scans of one picture
    last = slow.rindex(b'\xff\xda')
    large = io.BytesIO()
    Image.fromarray(np.zeros((2000, 2000), np.uint8)).save(large, 'JPEG', progressive=True)
    scan = large.getvalue()[large.getvalue().rindex(b'\xff\xda') : -2]
    jpg += [slow[:-2] + slow[last:-2] * 5000 + b'\xff\xd9', large.getvalue()[:-2] + scan * 1000 + b'\xff\xd9']
    bmp = [
        pictures('.bmp')[0][:18] + struct.pack('<ii', *size) + pictures('.bmp')[0][26:]
        for size in ((2**31 - 1, 2**31 - 1), (50000, -50000), (-(2**31), -(2**31)), (40, -32), (1, 2**30))
    ]
    tif = [
        _tif(*size)
        for size in ((50000, 50000, 0), (2**32 - 1, 2**32 - 1, 0), (40, 32, 2**20), (40, 32, 2**31), (16, 2**26, 0))
    ]
    return {'.png': png, '.jpg': jpg, '.bmp': bmp, '.tif': tif}


def _tif(width: int, height: int, tile: int) -> bytes:
    """A tif file of 40x32 bytes that declares other sizes."""
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (277, 1)]
    tags += [(322, tile), (323, tile), (324, 8), (325, 1280)] if tile else [(273, 8), (278, height), (279, 1280)]
    entries = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in sorted(tags))
    return b'II*\0' + struct.pack('<I', 8 + 1280) + bytes(1280) + struct.pack('<H', len(tags)) + entries + bytes(4)


VOC = b"""<annotation><folder>a</folder><size><width>40</width><height>32</height><depth>3</depth></size>
<object><name>person</name><difficult>0</difficult><bndbox><xmin>4</xmin><ymin>5</ymin><xmax>20</xmax><ymax>25.5</ymax></bndbox></object>
<object><name>car</name><bndbox><xmin>-1</xmin><ymin>0</ymin><xmax>40</xmax><ymax>32</ymax></bndbox></object></annotation>"""
LOL = (
    b'<!DOCTYPE x [<!ENTITY a "'
    + b'lol' * 30
    + b'">'
    + b''.join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">'.encode() for i in range(9))
    + b']><annotation><object><name>&j;</name></object></annotation>'
)
QUADRATIC = (
    b'<!DOCTYPE x [<!ENTITY a "'
    + b'x' * 50000
    + b'">]><annotation><object><name>'
    + b'&a;' * 50000
    + b'</name></object></annotation>'
)
EXTERNAL = (
    b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation><object><name>&a;</name></object></annotation>'
)
XML_BOMBS = [
    LOL,
    QUADRATIC,
    EXTERNAL,
    b'<a>' * 200000,
    b'<annotation>' + b'<object/>' * 100000 + b'</annotation>',
    b'<annotation ' + b'a="1" ' * 9999 + b'/>',
    b'<?xml version="1.0" encoding="no-such"?><annotation/>',
    '<?xml version="1.0" encoding="utf-16"?><annotation/>'.encode('utf-16'),
]
YOLO = b'0 0.5 0.5 0.25 0.5\n2 0.1 0.2 0.05 0.05\n\n1 1 1 1 1\n'
COCO = dict(
    images=[dict(id=1, file_name='a.png', height=32, width=40), dict(id=2, file_name='b/c.jpg')],
    categories=[dict(id=1, name='person'), dict(id=3, name='car')],
    annotations=[
        dict(
            image_id=1, category_id=3, bbox=[4, 4, 16, 8], segmentation=[[4.0, 4.0, 20.0, 4.0, 20.0, 12.0]], iscrowd=0
        ),
        dict(
            image_id=1, category_id=1, bbox=[0, 0, 9, 9], segmentation=dict(size=[32, 40], counts=[72, 1208]), iscrowd=1
        ),
        dict(
            image_id=2,
            category_id=1,
            bbox=[1, 1, 5, 5],
            segmentation=dict(size=[32, 40], counts='T6`0`0000000FB2>NB2>NB2>NB2>8000000000000000000000000000000l9'),
        ),
    ],
)
CELLS = dict(
    name='mine',
    note='',
    cells=[dict(kind='chain', operations=['eca_3', 'residual_3_1']), dict(kind='multiscale', operations=['spatial_3'])],
)
LATENCY = dict(
    milliseconds={'cells.0': dict(a=1.0, b=2.0), 'cells.1': dict(a=0.1)}, machine=dict(device='cpu'), size=[64, 64]
)
CONFIG = dict(
    model=dict(
        type='FusionOnly',
        fuser=dict(type='MoEFusion', base_channels=4),
        fusion_loss=dict(a=dict(type='MaxIntensityLoss')),
    ),
    train_dataloader=dict(batch_size=2, dataset=dict(type='DemoPairs', length=4, size=[64, 64])),
    train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2),
    work_dir='x',
    custom_hooks=[dict(type='EpochSeedHook')],
)
RIG = dict(
    format=1,
    matrix=[[0.8, 0.01, 4.0], [-0.01, 0.8, 2.0], [0.0, 0.0, 1.0]],
    model='similarity',
    first_size=[64, 48],
    second_size=[80, 60],
    pairs=5,
    spread=0.5,
    lenses=dict(
        second=dict(camera=[[70.0, 0.0, 40.0], [0.0, 70.0, 30.0], [0.0, 0.0, 1.0]], distortion=[-0.3, 0.1, 0.0, 0.0])
    ),
)
YAML_BOMB = (
    b'a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n'
    + b''.join(f'a{i}: &a{i} [{",".join([f"*a{i - 1}"] * 10)}]\n'.encode() for i in range(1, 12))
    + b'model: *a11\n'
)
YAML_EXTRAS = [
    YAML_BOMB,
    b'model: &m\n  a: *m\n',
    b'model: !!python/object/apply:os.mkdir [it_ran]\n',
    b'model: !!python/name:os.system\n',
    b'model: ' + b'[' * 5000,
    b'- a\n- b\n',
    b'model: !!binary x\n',
    b'model: {type: x, type: y}\n',
    b'\t',
    b'model: !!timestamp 9999-99-99\n',
    b'_base_: nothing.yaml\nmodel: {}\n',
    b'model: 2024-02-31\n',
    b'? {a: b}\n: c\n',
]
JOURNAL = [
    dict(version='', protocol='default', files=[['/data/a.png', 10, 20]], options=[], values=dict(EN=7.0), jpeg=False),
    dict(
        version='', protocol='default', files=[['/data/a.png', 10, 20]], options=[None], values=dict(EN=6.0), jpeg=True
    ),
]
RESULT = dict(variant='joint', seed=0, epochs=2, metrics={'coco/bbox_mAP': 0.5})
