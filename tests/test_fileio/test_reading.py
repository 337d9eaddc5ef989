"""Reading within bounds."""

import json
import os
import struct
import zlib

import cv2
import numpy as np
import pytest

from mmfusion.datasets.annotations import read_class_names, read_coco, read_voc, read_yolo
from mmfusion.fileio import reading
from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_reading import read_class_map, read_image, read_size
from mmfusion.fileio.pairing import read_id_list
from mmfusion.fileio.reading import max_pixels, parse_json, read_bytes, read_json, read_record, read_text
from mmfusion.models.couplings.steps.latency_table import load_latency_table
from mmfusion.models.fusers.tim import load_genotype
from mmfusion.models.fusers.tim.operations import parse_operation
from mmfusion.utils import UserError, load_config


def png(width, height, rows=10**5):
    def chunk(kind, body):
        return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))

    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0))
        + chunk(b'IDAT', zlib.compress(bytes(rows)))
        + chunk(b'IEND', b'')
    )


@pytest.fixture
def file(tmp_path):
    def write(content, name='a.png'):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@pytest.mark.parametrize('read', [read_image, read_size, read_class_map])
def test_a_picture_that_declares_gigapixels_is_refused_before_decoding(file, read):
    with pytest.raises(
        PairDataError, match='has 50000x40000 pixels, more than the 134217728 that are read.*MMFUSION_MAX_PIXELS'
    ):
        read(file(png(50000, 40000)))


def test_the_limit_can_be_moved(file, monkeypatch):
    path = file(png(40, 30, 41 * 30))
    assert read_image(path).shape == (30, 40, 1)
    monkeypatch.setenv('MMFUSION_MAX_PIXELS', '1199')
    with pytest.raises(PairDataError, match='40x30 pixels, more than the 1199'):
        read_image(path)
    monkeypatch.setenv('MMFUSION_MAX_PIXELS', '1200')
    assert read_image(path).shape == (30, 40, 1)


@pytest.mark.parametrize('value', ['0', '-5', '1e9', 'many', '9' * 30, '\u0663'])
def test_a_limit_that_is_no_number(monkeypatch, value):
    monkeypatch.setenv('MMFUSION_MAX_PIXELS', value)
    with pytest.raises(UserError, match='MMFUSION_MAX_PIXELS must be a positive whole number'):
        max_pixels()


def test_what_other_programs_decode_is_refused(file):
    """PIL would hand PostScript over to another program, whatever the name of the file says."""
    with pytest.raises(PairDataError, match='it is a PostScript file; png, jpg, bmp and tif are supported'):
        read_class_map(file(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n'))
    with pytest.raises(PairDataError, match='it is a GIF file'):
        read_image(file(b'GIF89a' + bytes(100)))


def test_a_bmp_of_wrong_declared_size_is_whole(file):
    """As those of TNO are: the size in the first header is too large, and no pixel is missing."""
    image = np.arange(20 * 24, dtype=np.uint8).reshape(20, 24)
    data = bytearray(cv2.imencode('.bmp', image)[1].tobytes())
    data[2:6] = struct.pack('<I', len(data) + 5000)
    assert np.array_equal(read_image(file(bytes(data), 'a.bmp'))[..., 0], image)
    with pytest.raises(PairDataError, match='a.bmp is truncated'):
        read_image(file(bytes(data[:-1]), 'a.bmp'))


def test_many_scans_of_a_large_jpg(file, monkeypatch):
    data = cv2.imencode('.jpg', np.zeros((64, 64), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    scan = data[data.rindex(b'\xff\xda') : -2]
    bomb = data[:-2] + 500 * scan + b'\xff\xd9'
    assert read_image(file(bomb, 'a.jpg')).shape == (64, 64, 1)  # small enough to be decoded fast
    monkeypatch.setenv('MMFUSION_MAX_PIXELS', '5000')
    assert read_image(file(data, 'a.jpg')).shape == (64, 64, 1)
    with pytest.raises(PairDataError, match='scans of 64x64 pixels would take minutes'):
        read_image(file(bomb, 'a.jpg'))


@pytest.mark.parametrize('read', [read_image, read_voc, read_class_names, lambda path: read_yolo(path, ['a'], (9, 9))])
def test_a_pipe_is_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / 'a.png')
    with pytest.raises((PairDataError, FileNotFoundError), match='it is no regular file|does not exist'):
        read(str(tmp_path / 'a.png'))


@pytest.mark.parametrize('read', [read_image, read_size, read_voc])
def test_a_folder_is_no_file(tmp_path, read):
    with pytest.raises(PairDataError, match='it is a folder'):
        read(str(tmp_path))


def test_large_files(file, monkeypatch):
    monkeypatch.setattr(reading, 'MAX_TEXT_BYTES', 10)
    path = file(b'12345678901')
    with pytest.raises(OSError, match='it has 11 bytes, more than the 10'):
        read_bytes(path, 10)
    assert read_bytes(path, 11) == b'12345678901'
    with pytest.raises(OSError, match='more than the 16 bytes'):
        read_bytes('/proc/self/status', 16)  # its size is not known beforehand


def test_text(file):
    assert read_text(file('\ufeffab')) == 'ab'
    with pytest.raises(ValueError, match='no text in UTF-8 .*byte 2'):
        read_text(file(b'ab\xff'))
    with pytest.raises(FileNotFoundError):
        read_text('a\0b')


def test_json(file):
    assert read_json(file('{"a": [1]}')) == {'a': [1]}
    with pytest.raises(ValueError, match='nested too deeply'):
        parse_json('[' * 100000)
    for content, match in (
        ('{', 'is damaged: Expecting'),
        ('[1]', 'it holds list, not an object'),
        (b'\xff', 'no text in UTF-8'),
    ):
        with pytest.raises(UserError, match=f'{match}.*; delete it'):
            read_record(file(content), 'delete it')


def voc(size='<width>40</width><height>32</height>', corner='4'):
    return (
        f'<annotation><size>{size}</size><object><name>a</name><bndbox><xmin>{corner}</xmin><ymin>5</ymin><xmax>20</xmax><ymax>25</ymax></bndbox>'
        '</object></annotation>'
    )


@pytest.mark.parametrize(
    'content',
    [
        voc('<width>inf</width><height>32</height>'),
        voc('<width>nan</width><height>32</height>'),
        voc('<width>1e999</width><height>2</height>'),
        voc(corner='inf'),
        voc(corner='nan'),
    ],
)
def test_voc_numbers_that_are_none(file, content):
    with pytest.raises(PairDataError, match='has no number in <'):
        read_voc(file(content))


def test_xml_entities_do_not_grow(file):
    """expat stops at a hundred times the size; entities that refer to files stay unknown."""
    lol = (
        '<!DOCTYPE x [<!ENTITY a "lol">'
        + ''.join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9))
        + ']><annotation><object><name>&j;</name></object></annotation>'
    )
    with pytest.raises(PairDataError, match='no valid xml .*amplification'):
        read_voc(file(lol))
    with pytest.raises(PairDataError, match='no valid xml .*undefined entity'):
        read_voc(file('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation>&a;</annotation>'))
    with pytest.raises(PairDataError, match='no valid xml .*unknown encoding'):
        read_voc(file('<?xml version="1.0" encoding="no-such"?><annotation/>'))


@pytest.mark.parametrize('content', [b'\xff\xfe0 person\n', '\u00b2 person\n', '9' * 5000 + ' person\n'])
def test_class_names_that_are_no_list_of_numbers(file, content):
    try:
        assert len(read_class_names(file(content))) == 1  # a name that begins with a digit of another kind
    except PairDataError as error:
        assert 'class list' in str(error) and len(str(error)) < 500


def test_a_double_id_in_a_long_list(file):
    """Counting every name anew took hours for a list of this length."""
    with pytest.raises(PairDataError, match="names '7' more than once"):
        read_id_list(file('\n'.join(map(str, range(200000))) + '\n7\n'))
    with pytest.raises(PairDataError, match='id list .* cannot be read: it is no text'):
        read_id_list(file(b'a\xff\n'))


@pytest.mark.parametrize('name', ['spatial_999999', 'residual_3_100', 'eca_\u0663'])
def test_operations_of_absurd_size(name):
    with pytest.raises(ValueError, match='is no operation of TIM'):
        parse_operation(name)


def test_genotype_and_latency_table(file):
    with pytest.raises(ValueError, match='nested too deeply'):
        load_genotype(file('[' * 100000, 'a.json'))
    for size in ('"ab"', '[1]', '[1, null]', '[1, 1e999]', '7'):
        with pytest.raises(ValueError, match='not a latency table'):
            load_latency_table(file(f'{{"milliseconds": {{}}, "machine": {{}}, "size": {size}}}', 'a.json'))
    with pytest.raises(ValueError, match='does not fit the supernet'):
        load_latency_table(dict(milliseconds=dict(a=dict(b=10**400)), machine={}, size=(1, 1))).tensor(['a'], ['b'])


@pytest.mark.parametrize(
    ('content', 'match'),
    [
        ('model: &m\n  a: *m\n', 'an alias refers to itself'),
        (
            'a: &a [x,x,x,x,x,x,x,x,x,x]\n'
            + ''.join(f'{chr(98 + i)}: &{chr(98 + i)} [{",".join([f"*{chr(97 + i)}"] * 10)}]\n' for i in range(8))
            + 'model: {}',
            'its aliases expand to 1.23e.09 entries',
        ),
        ('- a\n', 'cannot be read'),
        ('model: 3\n', "'model' must be a dict"),
        ('model: [\n', 'cannot be read: ValueError: while parsing'),
    ],
)
def test_yaml_configs(file, content, match):
    with pytest.raises(UserError, match=match):
        load_config(file(content, 'a.yaml'))


@pytest.mark.parametrize('name', ['a.py', 'a.json', 'a.yaml'])
def test_a_config_of_absurd_size(file, name):
    with pytest.raises(UserError, match='has 262145 bytes, more than the 262144 that a config may have'):
        load_config(file(b' ' * (2**18 + 1), name))


def test_a_config_that_raises_anything(file):
    with pytest.raises(UserError, match='a.py cannot be read: ZeroDivisionError: division by zero'):
        load_config(file('model = 1 / 0\n', 'a.py'))


@pytest.mark.parametrize(
    'segmentation', [[[0, 0, 9e8, 0, 9e8, 9e8]], [[0, 0, 9e5, 0, 0, 0] * 3], dict(size=[10**6, 10**6], counts=[10**12])]
)
def test_masks_that_would_take_gigabytes(file, segmentation):
    """pycocotools takes memory for every pixel of an outline, and dies where there is none."""
    annotation = dict(image_id=1, category_id=1, bbox=[0, 0, 4, 4], segmentation=segmentation)
    content = dict(images=[dict(id=1, file_name='a.png')], categories=[dict(id=1, name='a')], annotations=[annotation])
    with pytest.raises(PairDataError, match='segmentation must be polygons'):
        read_coco(file(json.dumps(content)))
