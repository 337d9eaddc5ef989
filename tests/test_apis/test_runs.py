"""Training, testing and scoring from Python."""

import cv2
import numpy as np
import pytest
from tiny_config import write_tiny_config

from mmfusion import apis
from mmfusion.utils import UserError


def test_train_test_and_fuse(tmp_path, capsys):
    config = write_tiny_config(tmp_path)
    options = {'experiment_name': 'python_runs', 'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 2}
    runner = apis.train(config, tmp_path / 'work', cfg_options=options)
    checkpoint = tmp_path / 'work' / 'epoch_1.pth'
    assert runner.epoch == 1 and checkpoint.is_file()
    metrics = apis.test(
        config,
        checkpoint,
        tmp_path / 'test',
        cfg_options={'experiment_name': 'python_test'},
        per_image=tmp_path / 'values.csv',
    )
    assert (
        metrics and all(isinstance(value, float) for value in metrics.values()) and (tmp_path / 'values.csv').is_file()
    )
    image = np.full((64, 64, 3), 90, np.uint8)
    assert apis.FusionInferencer(str(config), str(checkpoint), 'cpu')(image, image[..., 0])[0].fused.shape == (
        64,
        64,
        3,
    )
    with pytest.raises(UserError, match='checkpoint not found'):
        apis.test(config, tmp_path / 'none.pth', tmp_path / 'test')
    with pytest.raises(UserError, match='did you mean|Did you mean'):
        apis.train('moe_fusion_demos')


def test_evaluate(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ('fused', 'vi', 'ir'):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / 'a.png'), rng.integers(0, 256, (32, 32), dtype=np.uint8))
    result = apis.evaluate(
        tmp_path / 'fused',
        tmp_path / 'vi',
        tmp_path / 'ir',
        ['EN', 'MI'],
        out_dir=tmp_path / 'out',
        workers=1,
        progress=False,
    )
    named = apis.evaluate(
        dict(mine=tmp_path / 'fused'),
        tmp_path / 'vi',
        tmp_path / 'ir',
        'EN',
        out_dir=tmp_path / 'out2',
        workers=1,
        progress=False,
    )
    assert (
        result.scored == named.scored == 1 and list(result.summaries) == ['fused'] and list(named.summaries) == ['mine']
    )
