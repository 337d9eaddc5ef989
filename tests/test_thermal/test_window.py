"""Windows of temperature in LoadPair, and what fusing keeps of the temperatures."""

import json

import cv2
import numpy as np
import pytest
import torch
from flir_files import flir_jpeg, observed
from mmengine.structures import InstanceData, PixelData

from mmfusion.apis import FusionInferencer
from mmfusion.cli.fuse import main
from mmfusion.datasets.transforms import LoadPair, PackFusionInputs
from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_reading import read_image
from mmfusion.fileio.image_writing import write_image
from mmfusion.thermal.window import box_facts
from mmfusion.utils import UserError
from mmfusion.visualization.pseudo_color import PALETTES, pseudo_color

VISIBLE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
COUNTS = np.random.default_rng(1).integers(7000, 8000, (40, 56)).astype(np.uint16)


def files(tmp_path, infrared, name='ir.png'):
    assert cv2.imwrite(str(tmp_path / 'vi.png'), VISIBLE) and cv2.imwrite(str(tmp_path / name), infrared)
    return dict(first_path=str(tmp_path / 'vi.png'), second_path=str(tmp_path / name))


def load(paths, **options):
    return LoadPair(**options)(dict(paths))


@pytest.mark.parametrize('name, kind', [('ir.png', np.uint16), ('ir.tif', np.uint16), ('ir.tiff', np.float32)])
def test_gray_of_a_temperature_is_the_same_in_every_frame(tmp_path, name, kind):
    grays = []
    for hottest in (8000, 16000):  # something warm comes into view
        infrared = COUNTS.copy()
        infrared[:5, :5] = hottest
        results = load(files(tmp_path, infrared.astype(kind), name), window=(7200, 7800))
        assert results['second'].dtype == np.float32 and results['first'].dtype == np.uint8
        grays.append(results['second'][5:, 5:])
        assert results['thermal']['second']['maximum'] == hottest and 'first' not in results['thermal']
    np.testing.assert_array_equal(*grays)
    expected = np.clip((COUNTS[5:, 5:, None] - 7200.0) / 600, 0, 1)
    np.testing.assert_allclose(grays[0], expected, atol=1e-6)


def test_degrees(tmp_path):
    paths = files(tmp_path, COUNTS)
    results = load(paths, window=(20, 40), radiometry=dict(scale=0.04, offset=-273.15))
    celsius = COUNTS[..., None] * 0.04 - 273.15
    np.testing.assert_allclose(results['second'], np.clip((celsius - 20) / 20, 0, 1), atol=1e-5)
    facts = results['thermal']['second']
    assert facts['unit'] == 'celsius' and facts['mean'] == pytest.approx(celsius.mean(), abs=1e-3)
    assert facts['outside'] == pytest.approx(((celsius < 20) | (celsius > 40)).mean(), abs=1e-9)
    packed = PackFusionInputs()(results)
    assert packed['data_samples'].thermal['second']['unit'] == 'celsius'


def test_radiometric_jpeg_in_a_pair(tmp_path):
    celsius = np.linspace(10, 60, 40 * 56).reshape(40, 56)
    paths = files(tmp_path, COUNTS)
    paths['second_path'] = str(tmp_path / 'ir.jpg')
    (tmp_path / 'ir.jpg').write_bytes(flir_jpeg(np.rint(observed(celsius)).astype(np.uint16)))
    results = load(paths, window=(20, 40), radiometry='file')
    np.testing.assert_allclose(results['second'][..., 0], np.clip((celsius - 20) / 20, 0, 1), atol=0.05 / 20)
    assert load(paths)['second'].dtype == np.uint8  # without a window it is the picture that the camera shows


def test_tone_mapping_shows_more_and_keeps_the_order_of_flat_images(tmp_path):
    ramp = np.tile(np.linspace(7000, 8000, 56), (40, 1))
    ramp[20:] += 5000  # two places far apart in temperature
    paths = files(tmp_path, ramp.astype(np.uint16))
    plain = load(paths, window=(7000, 14000))['second']
    mapped = load(paths, window=(7000, 14000), tone=dict(clip=0.05, grid=2))['second']
    assert mapped.dtype == np.float32 and mapped.min() >= 0 and mapped.max() <= 1
    assert mapped[5].std() > 2 * plain[5].std() and mapped[35].std() > 2 * plain[35].std()
    assert len(np.unique(mapped)) > 256 // 4  # not a picture of 8 bits with few steps


def test_a_source_by_name_is_windowed_whatever_it_is(tmp_path):
    gray = (COUNTS % 256).astype(np.uint8)
    results = LoadPair(window=dict(first=None, second=(50, 150)))(files(tmp_path, gray))
    np.testing.assert_allclose(results['second'][..., 0], np.clip((gray - 50.0) / 100, 0, 1), atol=1e-6)


def test_arrays_are_windowed_too():
    results = LoadPair(window=(7000, 8000))(dict(first=VISIBLE, second=COUNTS))
    assert results['second'].max() <= 1 and results['thermal']['second']['unit'] == 'counts'


def test_bad_input(tmp_path):
    paths = files(tmp_path, COUNTS)
    cases = [
        (dict(window=(20, 40)), 'no pixel lies in window=.20, 40. raw counts; its values reach from 7'),
        (
            dict(window=(900, 901), radiometry=dict(scale=0.04, offset=-273.15)),
            'degrees Celsius; its values reach from',
        ),
        (dict(window=(20, 40), radiometry='file'), 'brings no radiometric constants'),
        (dict(window=dict(first=(1, 2), second=None)), 'has color, and a window is for one channel'),
    ]
    for options, message in cases:
        with pytest.raises(PairDataError, match=message):
            load(paths, **options)
    with pytest.raises(PairDataError, match='both are pictures of 8 bits or in color'):
        LoadPair(window=(20, 40))(files(tmp_path, COUNTS.astype(np.uint8), 'gray.png'))
    broken = COUNTS.astype(np.float32)
    broken[3, 4] = np.nan
    with pytest.raises(PairDataError, match='1 of 2240 values are NaN'):
        LoadPair(window=(7000, 8000))(files(tmp_path, broken, 'nan.tif'))
    (tmp_path / 'a.is2').write_bytes(b'PK')
    with pytest.raises(PairDataError, match='Fluke IS2 file.*16-bit TIFF'):
        LoadPair()(dict(first_path=paths['first_path'], second_path=str(tmp_path / 'a.is2')))


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(window=(40, 20)), 'low < high'),
        (dict(window=3), 'low < high'),
        (dict(window=(1, 2), stretch=(1, 99)), 'exclude each other'),
        (dict(tone='clahe'), 'are for a window'),
        (dict(window=(1, 2), tone='gamma'), 'tone must be'),
        (dict(window=(1, 2), radiometry=dict(gain=3)), 'radiometry must be'),
        (dict(window=(1, 2), radiometry=dict(scale=0)), 'scale must not be 0'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        LoadPair(**options)


def test_tiff_with_pages(tmp_path):
    path = str(tmp_path / 'pages.tif')
    assert cv2.imwritemulti(path, [COUNTS, COUNTS])
    with pytest.raises(PairDataError, match='2 pages, and a source is one image'):
        read_image(path)


def test_sixteen_bits_go_through(tmp_path):
    paths = files(tmp_path, COUNTS)
    fuse = FusionInferencer(dict(type='SourceFuser', source='second'), load=dict(window=(7000, 8000)))
    expected = np.rint(np.clip((COUNTS - 7000.0) / 1000, 0, 1) * 65535)
    gray = str(tmp_path / 'gray.png')
    assert cv2.imwrite(gray, VISIBLE[..., 0])
    for name in ('fused.png', 'fused.tif'):
        result = fuse(gray, paths['second_path'], out_dir=tmp_path / name, bit_depth=16)[0]
        assert result.fused.dtype == np.uint16
        written = read_image(result.files['fused'])
        assert written.dtype == np.uint16 and abs(written[..., 0] - expected).max() <= 1
    assert len(np.unique(written)) > 256
    assert fuse(gray, paths['second_path'])[0].fused.dtype == np.uint8


def test_color_keeps_its_order_with_sixteen_bits(tmp_path):
    path = write_image(str(tmp_path / 'a.tif'), VISIBLE.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_image(path)[..., ::-1], VISIBLE.astype(np.uint16) * 257)


@pytest.mark.parametrize('name', ['fused.jpg', 'fused.bmp'])
def test_sixteen_bits_need_a_file_that_has_them(tmp_path, name):
    with pytest.raises(UserError, match=r'fit into .png and .tif files'):
        FusionInferencer('AverageFuser')(VISIBLE, VISIBLE, out_dir=tmp_path / name, bit_depth=16)
    with pytest.raises(UserError, match='fit into'):
        write_image(str(tmp_path / name), COUNTS)
    assert not (tmp_path / name).exists()


def test_temperatures_of_boxes():
    values = np.arange(48.0).reshape(6, 8)
    values[0, 0] = np.nan
    boxes = np.array([[0, 0, 2, 2], [-5, -5, -1, -1], [6.4, 4.4, 99, 99]])
    found = box_facts(values, boxes)
    assert found[0] == dict(minimum=1, maximum=9, mean=6) and found[1] is None
    assert found[2] == dict(minimum=38, maximum=47, mean=42.5)


def test_command_keeps_the_temperatures(tmp_path, capsys, monkeypatch):
    paths = files(tmp_path, COUNTS)
    monkeypatch.chdir(tmp_path)
    out = tmp_path / 'out.png'
    main(
        [paths['first_path'], paths['second_path'], '--config', 'AverageFuser', '--out', 'out.png', '--bit-depth', '16']
        + [
            '--window',
            '20',
            '40',
            '--radiometry',
            'scale=0.04',
            'offset=-273.15',
            '--palette',
            'turbo',
            '--device',
            'cpu',
        ]
    )
    assert str(tmp_path / 'out.json') in capsys.readouterr().out
    facts = json.loads((tmp_path / 'out.json').read_text())['second']
    assert facts['unit'] == 'celsius' and facts['window'] == [20, 40] and facts['boxes'] == []
    assert facts['minimum'] == pytest.approx(COUNTS.min() * 0.04 - 273.15, abs=1e-3)
    assert read_image(str(out)).dtype == np.uint16
    assert read_image(str(tmp_path / 'out_thermal.png')).shape[1] > 56


def test_boxes_get_their_temperatures(tmp_path, monkeypatch):
    paths = files(tmp_path, COUNTS)
    fuse = FusionInferencer('AverageFuser', load=dict(window=(20, 40), radiometry=dict(scale=0.04, offset=-273.15)))

    def predict(batch):
        sample = PackFusionInputs()(dict(batch[0]))['data_samples']
        sample.fused = PixelData(data=torch.zeros(3, 40, 56))
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor([[4.0, 5.0, 10.0, 9.0], [0.0, 0.0, 5.0, 5.0]]),
            labels=torch.tensor([0, 1]),
            scores=torch.tensor([0.9, 0.1]),
        )
        return [sample]

    monkeypatch.setattr(fuse, '_predict', predict)
    fuse.meta = dict(classes=('person',))
    result = fuse(paths['first_path'], paths['second_path'], predict=True)[0]
    (box,) = result.thermal['second']['boxes']
    inside = COUNTS[5:9, 4:10] * 0.04 - 273.15
    assert box['label'] == 'person'
    assert box['temperature']['maximum'] == pytest.approx(inside.max(), abs=1e-3)
    assert box['temperature']['mean'] == pytest.approx(inside.mean(), abs=1e-3)


@pytest.mark.parametrize('palette', PALETTES)
def test_pictures_in_false_color(palette):
    values = np.tile(np.linspace(10, 50, 100), (30, 1))
    values[0, 0] = np.nan
    picture = pseudo_color(values, (20, 40), palette)
    assert picture.dtype == np.uint8 and picture.shape[0] == 64 and picture.shape[1] > 130
    assert (picture[0, 0] == 128).all() and (picture[5, 0] == picture[5, 20]).all()
    assert not (picture[5, 30] == picture[5, 70]).all()
