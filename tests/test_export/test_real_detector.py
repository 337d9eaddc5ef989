"""The gate of half precision and int8 with a detector that was really trained, on labeled pairs."""

import copy
import re

import pytest

from mmfusion.export import export_model, exporting
from mmfusion.runtime import RuntimeModel
from mmfusion.utils import UserError

for package in exporting.NEEDED:
    pytest.importorskip(package, reason=f'{package} is not installed: {exporting.INSTALL}')
PAIRS = 8


@pytest.fixture(scope='module')
def labeled(shared_dir, tmp_path_factory):
    """Some pairs of MSRS with their boxes, and YOLOX-nano with COCO weights."""
    data, weights = shared_dir / 'data' / 'MSRS', shared_dir / 'weights' / 'yolox_nano_coco_mmdet.pth'
    if not data.is_dir() or not weights.is_file():
        pytest.skip('MSRS or the weights of YOLOX-nano are not in ../shared')
    folder = tmp_path_factory.mktemp('msrs')
    for part in ('vi', 'ir', 'labels'):
        (folder / part).mkdir()
    (folder / 'classes.txt').symlink_to(data / 'classes.txt')
    pictures = sorted((data / 'test' / 'vi').iterdir())
    for picture in pictures[:: len(pictures) // PAIRS][:PAIRS]:
        for part, name in (('vi', picture.name), ('ir', picture.name), ('labels', f'{picture.stem}.txt')):
            (folder / part / name).symlink_to(data / 'test' / part / name)
    return folder, weights


def remember(monkeypatch, name):
    """Let a step of every export that takes long be done for the first one alone."""
    step, done = getattr(exporting, name), []

    def once(*args):
        if not done:
            done.append(step(*args))
        return copy.deepcopy(done[0])

    monkeypatch.setattr(exporting, name, once)


@pytest.mark.slow
def test_half_is_accepted_and_int8_in_the_fuser_alone(labeled, tmp_path, monkeypatch):
    """Rounding to float16 costs YOLOX-nano next to nothing, 8 bits many of its boxes, though the picture hardly
    changes.
    """
    folder, weights = labeled
    remember(monkeypatch, 'trace')
    remember(monkeypatch, 'check_graph')

    def export(precision, **options):
        options.update(calibrate=(folder / 'vi', folder / 'ir'), labels=folder / 'labels', precision=precision)
        file = tmp_path / f'{precision}.onnx'
        return export_model('average_msrs_det', file, weights, tasks=['det'], fuser='plain_conv_det', **options).info

    info = export('half')
    assert info == RuntimeModel(tmp_path / 'half.onnx').info and info.name == 'plain_conv_det with average_msrs_det'
    assert info.kept['pairs'] == PAIRS and info.kept['psnr'] > 60 and info.license and info.sha256 != info.fuser_sha256
    assert info.kept['map50_float32'] > 40 and abs(info.kept['map50'] - info.kept['map50_float32']) <= 1
    with pytest.raises(UserError, match='int8 loses too much here.* try --precision half or --float-tasks') as error:
        export('int8')
    figures = re.search(r'at least ([\d.]+) dB.*mAP50 ([\d.]+) against (\d+\.\d)', str(error.value)).groups()
    psnr, less, full = map(float, figures)
    assert psnr >= 40 and full == pytest.approx(info.kept['map50_float32'], abs=0.06) and less < full - 1
    assert [path.name for path in tmp_path.iterdir()] == ['half.onnx']
    fuser_alone = export('int8', float_tasks=True)
    assert (
        fuser_alone.float_tasks
        and fuser_alone.precision == 'int8'
        and fuser_alone == RuntimeModel(tmp_path / 'int8.onnx').info
    )
    assert fuser_alone.kept['psnr'] == pytest.approx(psnr, abs=0.1), 'the fuser is the same'
    assert abs(fuser_alone.kept['map50'] - full) <= 1
