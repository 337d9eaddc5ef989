import pytest

from mmfusion.utils import UserError, load_config
from mmfusion.utils.compat import lay_out_configs_once

GOOD = """
model = dict(type='FusionOnly', fuser=dict(type='AverageFuser'))
train_cfg = dict(by_epoch=True, max_epochs=3)
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=[dict(type='LoadPair'), dict(type='Resize')]))
num_classes = 3
my_own_helper = 1
"""


@pytest.fixture
def write(tmp_path):

    def writer(text, name='config.py'):
        path = tmp_path / name
        path.write_text(text)
        return path

    return writer


def test_good_config_and_options(write):
    options = {
        'train_cfg.max_epochs': 1,
        'train_dataloader.dataset.pipeline.1.scale': (4, 4),
        'resume': True,
        'model.detach': True,
    }
    cfg = load_config(write(GOOD), options)
    assert (
        cfg.train_cfg.max_epochs == 1 and cfg.train_dataloader.dataset.pipeline[1].scale == (4, 4) and cfg.model.detach
    )


@pytest.mark.parametrize(
    ('line', 'wrong', 'meant'),
    [
        ('train_dataloder = dict()', 'train_dataloder', 'train_dataloader'),
        ('optim_wraper = dict()', 'optim_wraper', 'optim_wrapper'),
        ('val_evaluators = dict()', None, None),  # begins with the real name: a helper
        ('custom_hook = []', 'custom_hook', 'custom_hooks'),
        ('visualizr = dict()', 'visualizr', 'visualizer'),
        ('_train_dataloder = dict()', None, None),
        ('detector = dict()', None, None),
        ('guide = dict()', None, None),
        ('base_detector = dict()', None, None),
    ],
)
def test_misspelled_top_level_key(write, line, wrong, meant):
    path = write(f'{GOOD}\n{line}\n')
    if wrong is None:
        load_config(path)
        return
    with pytest.raises(UserError, match=f"config.py: unknown top-level key '{wrong}'. Did you mean '{meant}'"):
        load_config(path)


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        ({'train_cfg.max_epoch': 1}, "train_cfg.max_epoch: train_cfg has no 'max_epoch'. Did you mean 'max_epochs'"),
        ({'train_dataloder.batch_size': 1}, "the config has no 'train_dataloder'. Did you mean 'train_dataloader'"),
        ({'train_dataloader.batchsize': 1}, "Did you mean 'batch_size'"),
        ({'train_dataloader.dataset.pipeline.7.scale': 1}, 'is a list of 2'),
        ({'num_classes.x': 1}, "num_classes is 3, so it has no 'x'"),
    ],
)
def test_misspelled_option(write, options, match):
    with pytest.raises(UserError, match=match):
        load_config(write(GOOD), options)


def test_files_that_cannot_be_read(write, tmp_path):
    write(GOOD, 'moe_fusion_demo.py')
    with pytest.raises(UserError, match=r"config not found: .*moe_fusion_dmo.py. Did you mean 'moe_fusion_demo.py'"):
        load_config(tmp_path / 'moe_fusion_dmo.py')
    with pytest.raises(UserError, match='config not found'):
        load_config(tmp_path / 'no' / 'such.py')
    with pytest.raises(UserError, match='_base_ files is missing'):
        load_config(write("_base_ = './gone.py'\n" + GOOD))
    with pytest.raises(UserError, match='line 2'):
        load_config(write('model = dict()\nx = = 3\n'))
    with pytest.raises(UserError, match="has no 'model'"):
        load_config(write('x = 1'))
    with pytest.raises(UserError, match='cannot be read'):
        load_config(write('model = undefined_name'))
    with pytest.raises(UserError, match='cannot be read: it imports no_such_package, which is not installed'):
        load_config(
            write("custom_imports = dict(imports=['no_such_package.models'], allow_failed_imports=False)\n" + GOOD)
        )


def test_every_config_of_the_repository_passes(repo_dir):
    configs = sorted(path for path in (repo_dir / 'configs').glob('*.py') if not path.stem.startswith('league_'))
    for path in configs:
        load_config(path)


def test_the_text_is_laid_out_once(write, monkeypatch):
    """As mmengine does it, and again when something has changed."""
    done = []

    def format_code(text, style_config):
        done.append(style_config)
        return f'{text}\n# laid out', True

    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', format_code)
    lay_out_configs_once()  # a second call changes nothing
    cfg = load_config(write(GOOD))
    texts = {cfg.pretty_text for _ in range(3)}
    assert len(done) == 1 and len(texts) == 1 and texts.pop().endswith('# laid out')
    cfg.num_classes = 4
    assert 'num_classes=4' in cfg.pretty_text and len(done) == 2
