"""VOC and YOLO readers, and the rule for boxes."""

import pytest

from mmfusion.datasets.annotations import BoxProblem, RawBox, check_box, read_class_names, read_voc, read_yolo
from mmfusion.fileio.errors import PairDataError

OBJECT = (
    '<object><name>car</name>{}<bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>'
)


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def test_voc(tmp_path):
    difficult = OBJECT.format('<difficult>1</difficult>')
    path = write(
        tmp_path,
        'a.xml',
        f'<annotation><size><width>64</width><height>48</height></size>{OBJECT.format("")}{difficult}</annotation>',
    )
    annotation = read_voc(path)
    assert annotation.size == (48, 64)
    assert annotation.boxes == [RawBox('car', (1, 2.5, 30, 40), False), RawBox('car', (1, 2.5, 30, 40), True)]
    empty = read_voc(write(tmp_path, 'b.xml', '<annotation/>'))
    assert empty.boxes == [] and empty.size is None
    assert (
        read_voc(
            write(tmp_path, 'c.xml', '<annotation><size><width>0</width><height>0</height></size></annotation>')
        ).size
        is None
    )


@pytest.mark.parametrize(
    'text, reason',
    [
        ('', 'empty annotation'),
        ('  \n', 'empty annotation'),
        ('<annotation>', 'malformed annotation'),
        (f'<annotation>{OBJECT.replace("<name>car</name>", "")}</annotation>', 'malformed annotation'),
        (f'<annotation>{OBJECT.replace("2.5", "two")}</annotation>', 'malformed annotation'),
        ('<annotation><object><name>car</name></object></annotation>', 'malformed annotation'),
    ],
)
def test_bad_voc(tmp_path, text, reason):
    with pytest.raises(PairDataError, match=r'bad\.xml') as info:
        read_voc(write(tmp_path, 'bad.xml', text))
    assert info.value.reason == reason


def test_missing_files(tmp_path):
    with pytest.raises(PairDataError, match=r'gone\.xml does not exist'):
        read_voc(str(tmp_path / 'gone.xml'))
    with pytest.raises(PairDataError, match=r'gone\.txt does not exist'):
        read_yolo(str(tmp_path / 'gone.txt'), ['a'], (10, 10))
    with pytest.raises(FileNotFoundError, match='class list'):
        read_class_names(str(tmp_path / 'gone.txt'))


def test_yolo(tmp_path):
    path = write(tmp_path, 'a.txt', '1 0.5 0.25 0.5 0.5\n\n0  0.1 0.1 0.2 0.2 \n')
    assert read_yolo(path, ['person', 'car'], (100, 200)).boxes == [
        RawBox('car', (50, 0, 150, 50)),
        RawBox('person', (0, 0, 40, 20)),
    ]
    assert read_yolo(write(tmp_path, 'b.txt', ''), ['person'], (10, 10)).boxes == []
    assert read_yolo(write(tmp_path, 'c.txt', '7 0.5 0.5 0.1 0.1'), ['person'], (10, 10)).boxes[0].name == 'number 7'


@pytest.mark.parametrize('line', ['0 0.5 0.5 0.1', '0 0.5 0.5 0.1 0.1 0.9', 'car 0.5 0.5 0.1 0.1'])
def test_bad_yolo_names_the_line(tmp_path, line):
    with pytest.raises(PairDataError, match=r'bad\.txt, line 2'):
        read_yolo(write(tmp_path, 'bad.txt', f'0 0.5 0.5 0.1 0.1\n{line}\n'), ['person'], (10, 10))


def test_class_names(tmp_path):
    assert read_class_names(write(tmp_path, 'a.txt', '1 traffic cone\n0 person\n')) == ['person', 'traffic cone']
    assert read_class_names(write(tmp_path, 'b.txt', 'person\ntraffic cone\n')) == ['person', 'traffic cone']
    with pytest.raises(PairDataError, match='0 to 1'):
        read_class_names(write(tmp_path, 'c.txt', '1 a\n2 b\n'))
    with pytest.raises(PairDataError, match='empty'):
        read_class_names(write(tmp_path, 'd.txt', '\n'))


def test_box_rule():
    def check(*bbox, **kwargs):
        return check_box(RawBox('car', bbox), (48, 64), 'a.xml', **kwargs)

    assert check(1, 2, 30, 40) == ([1, 2, 30, 40], False)
    assert check(-2, 0, 66, 50) == ([0, 0, 64, 48], False)  # within the tolerance: cut
    with pytest.raises(BoxProblem, match=r'a\.xml: box \(-2\.1, 0, 10, 10\).*more than 2 pixels'):
        check(-2.1, 0, 10, 10)
    assert check(-20, 0, 10, 70, clip=True) == ([0, 0, 10, 48], True)
    for bbox in ((70, 0, 90, 10), (-20, 0, -5, 10), (64, 0, 66, 10)):
        with pytest.raises(BoxProblem, match='outside'):
            check(*bbox, clip=True)
    for bbox in ((5, 5, 5, 9), (9, 5, 5, 9), (float('nan'), 0, 1, 1)):
        with pytest.raises(BoxProblem) as info:
            check(*bbox)
        assert info.value.reason == 'degenerate box'
