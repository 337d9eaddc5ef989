"""The checkpoint of a detector alone, given to the main commands in place of a coupling's."""

import itertools

import pytest
import tiny_detectors
import torch
from tiny_config import write_tiny_config
from tiny_detectors import checkpoint_of

from mmfusion.apis import FusionInferencer
from mmfusion.cli.arguments import parse_test_args, parse_train_args
from mmfusion.models.scoped import build_scoped
from mmfusion.running.testing import test as run_test
from mmfusion.running.training import train as run_train
from mmfusion.utils import UserError

CLASSES = ('signal', 'cat', 'Car', 'person', 'dog')
PARTNERS = (3, 2, 0)  # of person, car, lamp
AVERAGE = "model.update(fuser=dict(type='AverageFuser'))\ncustom_hooks = []\n"
SYNONYMS = (
    "detector.init_cfg = dict(type='mmfusion.PretrainedTask', checkpoint='replaced.pth', "
    "synonyms=dict(lamp='signal'))\n"
)
_COUNT = itertools.count()


def options(folder, *more):
    return [
        '--work-dir',
        str(folder / 'work'),
        '--cfg-options',
        f'experiment_name=task_checkpoint{next(_COUNT)}',
        *more,
    ]


def assert_taken(model, theirs):
    """All of the detector is the checkpoint's, its classes by name."""
    ours, theirs = model.tasks.det.network.state_dict(), theirs.state_dict()
    for key, value in ours.items():
        wanted = theirs[key][list(PARTNERS)] if 'rtm_cls' in key else theirs[key]
        assert torch.equal(value, wanted), key


@pytest.fixture
def files(tmp_path):
    theirs = checkpoint_of('rtmdet', tmp_path / 'theirs.pth', CLASSES)
    return write_tiny_config(tmp_path, AVERAGE + SYNONYMS), theirs, tmp_path / 'theirs.pth'


def test_untouched_detector_in_a_test(files, tmp_path):
    config, theirs, path = files
    models = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.runner.Runner.test', lambda runner: models.append(runner.model) or {})
        run_test(parse_test_args([str(config), str(path), *options(tmp_path)]))
    assert_taken(models[0], theirs)


def test_load_from_of_a_training(files, tmp_path, monkeypatch):
    """The runner starts from it, past its own initialization."""
    config, theirs, path = files
    models = []
    loop = 'mmengine.runner.EpochBasedTrainLoop.run'
    monkeypatch.setattr(loop, lambda self: models.append(self.runner.model) or self.runner.model)
    monkeypatch.setattr('mmfusion.running.training.summary', lambda runner: '')
    run_train(parse_train_args([str(config), *options(tmp_path, f'load_from={path}')]))
    assert_taken(models[0], theirs)


def test_a_fuser_that_would_be_random_is_refused(tmp_path):
    checkpoint_of('rtmdet', tmp_path / 'theirs.pth', CLASSES)
    config = write_tiny_config(tmp_path, SYNONYMS)
    with pytest.raises(UserError, match="(?s)holds the task network 'det' alone.*fuser.*AverageFuser"):
        run_test(parse_test_args([str(config), str(tmp_path / 'theirs.pth'), *options(tmp_path)]))


def test_no_place_for_a_segmentor(tmp_path):
    checkpoint_of('segmentor', tmp_path / 'theirs.pth')
    config = write_tiny_config(tmp_path, AVERAGE)
    with pytest.raises(
        UserError, match='checkpoint of a segmentor alone, and the config has 0 tasks of this kind among .det.'
    ):
        run_test(parse_test_args([str(config), str(tmp_path / 'theirs.pth'), *options(tmp_path)]))


def test_classes_of_the_config_are_those_of_the_data_set(tmp_path):
    """In another order every object would get a wrong name."""
    checkpoint_of('rtmdet', tmp_path / 'theirs.pth', CLASSES)
    config = write_tiny_config(
        tmp_path, AVERAGE + SYNONYMS + "detector.init_cfg.update(classes=('car', 'person', 'lamp'))\n"
    )
    with pytest.raises(
        UserError, match=r'names the classes \(car, person, lamp\), the data set has \(person, car, lamp\)'
    ):
        run_test(parse_test_args([str(config), str(tmp_path / 'theirs.pth'), *options(tmp_path)]))


def test_inferencer_with_an_untouched_detector(files):
    config, theirs, path = files
    coupling = FusionInferencer(str(config), path).coupling
    assert_taken(coupling, theirs)
    assert not coupling.training


def test_resuming_does_not_need_the_file_again(files, tmp_path):
    config, _, path = files
    torch.save(build_scoped(tiny_detectors.rtmdet(5)).state_dict(), path)
    first = [
        'train_cfg.max_epochs=1',
        f'load_from={path}',
        'model.tasks.det.init_cfg.checkpoint_classes=' + str(CLASSES).replace(' ', ''),
    ]
    run_train(parse_train_args([str(config), *options(tmp_path, *first)]))
    path.unlink()
    runner = run_train(parse_train_args([str(config), '--resume', *options(tmp_path)]))
    assert runner.epoch == 2
