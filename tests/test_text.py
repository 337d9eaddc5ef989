"""The text of the project: modules begin with what they are, and one spelling, the American one."""

import ast
import io
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
FOLDERS = ('mmfusion', 'configs', 'tools', 'demo', 'docs', 'tests', 'benchmarks', 'requirements')
#: A module docstring that begins so is a riddle: it tells about the module before it says what it is.
RIDDLES = ('What', 'Which', 'How', 'Where', 'When', 'Whether', 'Why', 'From', 'Is', 'Are', 'Does', 'If')
#: Beginnings of words as they are not spelled here, and the American form.
BRITISH = {
    'colour': 'color',
    'grey': 'gray',
    'neighbour': 'neighbor',
    'behaviour': 'behavior',
    'favour': 'favor',
    'labour': 'labor',
    'centre': 'center',
    'centring': 'centering',
    'labell': 'label',
    'modell': 'model',
    'travell': 'travel',
    'cancell(?!ation)': 'cancel',
    'artefact': 'artifact',
    'licence': 'license',
    'defence': 'defense',
    'judgement': 'judgment',
    'catalogue': 'catalog',
    'fulfil(?!l)': 'fulfill',
    'initialis': 'initializ',
    'normalis': 'normaliz',
    'regularis': 'regulariz',
    'minimis': 'minimiz',
    'maximis': 'maximiz',
    'optimis': 'optimiz',
    'quantis': 'quantiz',
    'visualis': 'visualiz',
    'summaris': 'summariz',
    'serialis': 'serializ',
    'recognis': 'recogniz',
    'organis': 'organiz',
    'generalis': 'generaliz',
    'localis': 'localiz',
    'standardis': 'standardiz',
    'synchronis': 'synchroniz',
    'penalis': 'penaliz',
    'specialis': 'specializ',
    'randomis': 'randomiz',
    'vectoris': 'vectoriz',
    'stabilis': 'stabiliz',
    'factoris': 'factoriz',
    'linearis': 'lineariz',
    'parametris': 'parametriz',
    'parallelis': 'paralleliz',
    'prioritis': 'prioritiz',
    'emphasise': 'emphasize',
    'discretis': 'discretiz',
    'whilst': 'while',
    'honour': 'honor',
    'misspelt': 'misspelled',
    'spelt': 'spelled',
    'equalis': 'equaliz',
    'analys(?:e|ing)': 'analyz',
    'utilis': 'utiliz',
}
WORD = re.compile(rf'(?<![\w.])(?:{"|".join(BRITISH)})\w*(?![\w=(])', re.I)
#: What is no prose inside prose: code, links, formulas, quoted values.
CODE = re.compile(
    r'``[^`]*``|`[^`]*`|\]\([^)]*\)|https?://\S+|\$[^$]*\$|\'[\w.-]+\'|"[\w.-]+"|\{[^{}]*\}|\b\w+[._/]\w[\w./]*'
)


def tracked(*suffixes):
    """Text files of the project, as git knows them or, without git, as they lie there."""
    try:
        names = subprocess.run(['git', 'ls-files'], cwd=REPO, capture_output=True, text=True, check=True).stdout.split(
            '\n'
        )
        files = [REPO / name for name in names if name]
    except (OSError, subprocess.CalledProcessError):
        files = [file for folder in FOLDERS for file in (REPO / folder).rglob('*')] + list(REPO.glob('*'))
    skipped = {'.mim', '_build', '__pycache__', 'data'}
    return sorted(
        file
        for file in files
        if file.suffix in suffixes and file.is_file() and not skipped & set(file.relative_to(REPO).parts[:-1])
    )


def prose_of_python(text):
    """Comments, docstrings and messages of a module, with their line numbers; doctest lines left out."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
        elif token.type == tokenize.STRING and (token.string.endswith('"""') or token.string.count(' ') >= 1):
            for offset, line in enumerate(token.string.split('\n')):
                if not re.match(r'\s*(>>>|\.\.\. )', line):
                    yield (
                        token.start[0] + offset,
                        re.sub(r'^\s+\w+(?= \([^)]*\):|:)', '', line),
                    )  # the name of an argument


def prose_of_markdown(text):
    """Lines of a page; of code in it the comments, of its text blocks everything."""
    fence = None
    for number, line in enumerate(text.split('\n'), 1):
        if line.startswith('```'):
            fence = line[3:].strip() or 'text' if fence is None else None
        elif fence in (None, 'text'):
            yield number, line
        elif comment := re.search(r'(?:^|\s)#\s(.*)', line):
            yield number, comment[1]


def prose_of_yaml(text):
    return enumerate(text.split('\n'), 1)


def british(file):
    """Words of a file in the other spelling, as ``path:line: word``."""
    text = file.read_text()
    lines = {'.md': prose_of_markdown, '.py': prose_of_python, '.yml': prose_of_yaml}[file.suffix](text)
    return [
        f'{file.relative_to(REPO)}:{number}: {word}'
        for number, line in lines
        for word in WORD.findall(CODE.sub(' ', line))
    ]


@pytest.mark.parametrize('suffix', ['.md', '.py', '.yml'])
def test_american_spelling(suffix):
    """Names in code stay what they are (``expand_grey``); prose about them is spelled like the rest."""
    files = [file for file in tracked(suffix) if file != Path(__file__)]
    assert len(files) > (5 if suffix == '.yml' else 15)
    assert [word for file in files for word in british(file)] == []


def test_modules_begin_with_what_they_are():
    riddles, seen = [], 0
    for file in tracked('.py'):
        docstring = ast.get_docstring(ast.parse(file.read_text()))
        if docstring and file.relative_to(REPO).parts[0] in ('mmfusion', 'tools', 'demo', 'benchmarks'):
            seen += 1
            first = docstring.split()[0]
            if first in RIDDLES or docstring.split('\n\n')[0].rstrip().endswith('?'):
                riddles.append(f'{file.relative_to(REPO)}: {docstring.splitlines()[0]}')
    assert seen > 200 and riddles == []


def test_the_checks_find_what_is_wrong():
    module = (
        '"""Colour of a neighbour, `colour` and expand_grey."""\n# the centre\nx = "a grey level"\ny = '
        "dict(colour='grey')\n"
    )
    found = [word for _, line in prose_of_python(module) for word in WORD.findall(CODE.sub(' ', line))]
    assert found == ['Colour', 'neighbour', 'centre', 'grey']
    page = (
        'Normalised, `grey`, "grey"\n```python\ncolour()  # a '
        'neighbour\n```\n```text\nfavour\n```\n[x](colour.md) recognised'
    )
    found = [word for _, line in prose_of_markdown(page) for word in WORD.findall(CODE.sub(' ', line))]
    assert found == ['Normalised', 'neighbour', 'favour', 'recognised']


def prose_lines(page):
    """Lines of a page that are neither code, table, heading, picture nor comment, with their numbers."""
    fence = False
    for number, line in enumerate(page.read_text(encoding='utf-8').splitlines(), 1):
        mark = line.strip()[:3] in ('```', ':::', '~~~')
        fence = fence != mark
        if not fence and not mark and not line.strip().startswith(('|', '#', '<', '![')):
            yield number, line


@pytest.mark.parametrize('page', tracked('.md'), ids=str)
def test_pages_end_at_120_columns(page):
    """A line may be longer only where nothing in it can be broken: code, a link, words in bold."""
    unbreakable = re.compile(r'`[^`]*`|\[[^\]]*\]\([^)]*\)|\*\*[^*]*\*\*')
    long = [
        number
        for number, line in prose_lines(REPO / page)
        if len(line) > 120 and ' ' in unbreakable.sub('x', line.strip().removeprefix('- '))[20:]
    ]
    assert not long
