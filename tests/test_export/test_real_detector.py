"""The gate of half precision and int8 with a detector that was really trained, on labeled pairs."""

import re

import pytest

from mmfusion.export import export_model, exporting
from mmfusion.runtime import RuntimeModel
from mmfusion.utils import UserError

for package in exporting.NEEDED:
    pytest.importorskip(package, reason=f'{package} is not installed: {exporting.INSTALL}')
PAIRS = 10


@pytest.fixture(scope='module')
def labeled(shared_dir, tmp_path_factory):
    """Some pairs of MSRS with their boxes, and YOLOX-nano with COCO weights."""
    data, weights = shared_dir / 'data' / 'MSRS', shared_dir / 'weights' / 'yolox_nano_coco_mmdet.pth'
    if not data.is_dir() or not weights.is_file():
        pytest.skip('neither MSRS nor the weights of YOLOX-nano are in ../shared')
    folder = tmp_path_factory.mktemp('msrs')
    for part in ('vi', 'ir', 'labels'):
        (folder / part).mkdir()
    (folder / 'classes.txt').symlink_to(data / 'classes.txt')
    pictures = sorted((data / 'test' / 'vi').iterdir())
    for picture in pictures[:: len(pictures) // PAIRS][:PAIRS]:
        for part, name in (('vi', picture.name), ('ir', picture.name), ('labels', f'{picture.stem}.txt')):
            (folder / part / name).symlink_to(data / 'test' / part / name)
    return folder, weights


@pytest.mark.slow
def test_half_is_accepted_and_int8_refused(labeled, tmp_path):
    """Rounding to float16 costs YOLOX-nano next to nothing, 8 bits many of its boxes, though the picture hardly changes."""
    folder, weights = labeled

    def export(precision):
        return export_model(
            'average_msrs_det',
            tmp_path / f'{precision}.onnx',
            weights,
            tasks=['det'],
            fuser='plain_conv_det',
            precision=precision,
            calibrate=(folder / 'vi', folder / 'ir'),
            labels=folder / 'labels',
        )

    info = export('half').info
    assert info == RuntimeModel(tmp_path / 'half.onnx').info and info.name == 'plain_conv_det with average_msrs_det'
    assert info.kept['pairs'] == PAIRS and info.kept['psnr'] > 60 and info.license and info.sha256 != info.fuser_sha256
    assert info.kept['map50_float32'] > 40 and abs(info.kept['map50'] - info.kept['map50_float32']) <= 1
    with pytest.raises(UserError, match='int8 loses too much here') as error:
        export('int8')
    psnr, less, full = map(
        float, re.search(r'at least ([\d.]+) dB.*mAP50 ([\d.]+) against (\d+\.\d)', str(error.value)).groups()
    )
    assert psnr >= 40 and full == pytest.approx(info.kept['map50_float32'], abs=0.06) and less < full - 1
    assert [path.name for path in tmp_path.iterdir()] == ['half.onnx']
