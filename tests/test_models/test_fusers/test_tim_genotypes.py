"""Genotype files and names of operations: what is read, what is refused, and the picture."""

import importlib.util
import json
from pathlib import Path

import pytest
from mmengine.config import ConfigDict

from mmfusion.models.fusers.tim import (
    OPERATIONS,
    SEARCH_SPACE,
    TIM,
    Cell,
    Genotype,
    build_operation,
    genotype_names,
    load_genotype,
    parse_operation,
    save_genotype,
)
from mmfusion.visualization.genotype import draw_genotype

MINE = dict(name='mine', note='', cells=[dict(kind='chain', operations=['eca_3', 'dil_conv_5_2'])])


@pytest.mark.parametrize('name', genotype_names())
def test_shipped_genotypes(name, tmp_path):
    """Each file is what save_genotype writes, and its operations are in the search space."""
    genotype = load_genotype(name)
    assert genotype.name == name and genotype.note.endswith('.')
    assert {operation for cell in genotype.cells for operation in cell.operations} <= set(SEARCH_SPACE)
    save_genotype(genotype, tmp_path / f'{name}.json')
    from mmfusion.models.fusers.tim import genotype as module

    assert (tmp_path / f'{name}.json').read_text() == (module.FOLDER / f'{name}.json').read_text()


def test_every_way_to_give_one(tmp_path):
    genotype = Genotype('mine', (Cell('chain', ('eca_3', 'dil_conv_5_2')),))
    path = tmp_path / 'new' / 'mine.json'
    save_genotype(genotype, path)
    plain = Genotype('mine', [('chain', ['eca_3', 'dil_conv_5_2'])])
    for source in (path, str(path), MINE, ConfigDict(MINE), genotype, plain, json.loads(path.read_text())):
        assert load_genotype(source) == genotype
    with pytest.raises(TypeError, match='a genotype is given by a name.*got None'):
        TIM(None)
    assert [file.name for file in path.parent.iterdir()] == ['mine.json']
    assert [type(operation).__name__ for operation in TIM(str(path), width=4).cells[0].operations] == [
        'ChannelAttention',
        'DilConv',
    ]


@pytest.mark.parametrize(
    'change, words',
    [
        (dict(cells=[]), 'a list that is not empty'),
        (dict(cells=None), 'a list that is not empty'),
        (dict(concat=[1, 2]), 'it has concat too'),
        (dict(cells=[dict(kind='loop', operations=['eca_3'])]), 'cell 0 must have "kind" .one of chain, multiscale'),
        (dict(cells=[dict(kind='chain')]), 'cell 0 must have'),
        (dict(cells=[dict(kind='chain', operations=[])]), 'operations of cell 0'),
        (
            dict(cells=[*MINE['cells'], dict(kind='chain', operations=['eca_3', 'conv_3'])]),
            "cell 1: 'conv_3' is no operation",
        ),
    ],
)
def test_bad_content(tmp_path, change, words):
    path = tmp_path / 'bad.json'
    path.write_text(json.dumps({**MINE, **change}))
    with pytest.raises(ValueError, match=f'bad.json.*{words}'):
        load_genotype(path)


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.json'):
        load_genotype(tmp_path / 'none.json')
    with pytest.raises(ValueError, match='the package has .*fusion_light.*ends in .json'):
        load_genotype('nothing')
    for text, words in (('{', 'is not JSON'), ('[]', 'is an object')):
        (tmp_path / 'bad.json').write_text(text)
        with pytest.raises(ValueError, match=words):
            load_genotype(tmp_path / 'bad.json')
    with pytest.raises(ValueError, match='must end in .json'):
        save_genotype(MINE, tmp_path / 'mine.txt')


@pytest.mark.parametrize(
    'name', ['conv_3', 'residual_3', 'eca_3_1', 'residual_4_1', 'residual_3_0', 'residual', '', None, 'eca_3 ']
)
def test_bad_operations(name):
    with pytest.raises(ValueError):
        parse_operation(name)


def test_search_space():
    for name in SEARCH_SPACE:
        kind, kernel, dilation = parse_operation(name)
        assert name == '_'.join(str(part) for part in (kind, kernel, dilation) if part is not None)
        assert type(build_operation(name, 4)) is OPERATIONS[kind]
    with pytest.raises(ValueError, match='at least 1 channel'):
        build_operation('eca_3', 0)


@pytest.mark.parametrize('suffix', ['png', 'svg'])
def test_picture(tmp_path, suffix):
    path = draw_genotype(load_genotype('fusion').cells, tmp_path / 'new' / f'fusion.{suffix}', 'the title')
    assert [file.name for file in (tmp_path / 'new').iterdir()] == [f'fusion.{suffix}']
    if suffix == 'svg':
        text = Path(path).read_text()
        # text is drawn as glyphs, with the text itself in comments
        assert (
            text.count('<!-- residual_3_1 -->') == 3
            and text.count('<!-- dense_3_1 -->') == 1
            and '<!-- the title -->' in text
        )


def test_picture_refuses(tmp_path):
    with pytest.raises(ValueError, match='pairs of a kind'):
        draw_genotype([], tmp_path / 'a.png')
    with pytest.raises(ValueError, match='use .png'):
        draw_genotype(load_genotype('fusion').cells, tmp_path / 'a.xyz')


def test_command(repo_dir, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location('draw_genotype', repo_dir / 'tools/analysis_tools/draw_genotype.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.main(['fusion_light', str(tmp_path / 'light.png')])
    assert (tmp_path / 'light.png').stat().st_size > 1000
    with pytest.raises(SystemExit):
        tool.main(['fusion_heavy', str(tmp_path / 'heavy.png')])
    assert "no genotype 'fusion_heavy'" in capsys.readouterr().err
