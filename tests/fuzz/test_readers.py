"""Damaged and hostile files: each ends in an error that its reader documents or in a correct result, in bounded time
and memory.
"""

import re

import pytest
from fuzzing import NAMES, fuzz, table

#: Where mmfusion reads files with a library's own function, and the readers of ``readers.py`` that go through there.
PLACES = {
    'experiments/adaptation.py': 'brings settings into the form that they have in a file',
    'evaluation/folders/journal.py': ('journal',),
    'running/search.py': 'copies the genotype that it has written',
    'evaluation/folders/scoring.py': 'looks at the first two bytes of an image that has been read',
    'datasets/annotations/voc.py': ('VOC xml',),
    'experiments/identity.py': 'brings settings into the form that they have in a file',
    'experiments/verdict/record.py': ('verdict record',),
    'fileio/reading.py': (
        'YOLO text',
        'class names',
        'id list',
        'COCO json',
        'genotype',
        'latency table',
        'result',
        'size of an image',
        'png image',
    ),
    'fileio/plain_yaml.py': ('yaml config', 'rig file'),
    'utils/checkpoint.py': (
        'checkpoint',
        'checkpoint to resume',
        'init_cfg',
        'MAE weights',
        'official TDFusion',
        'official TC-MoA',
    ),
    'utils/config.py': ('json config', 'yaml config', 'Python config'),
    'profiling/timing.py': 'reads /proc',
    'running/compilation.py': 'reads /proc',
    'utils/memory_use.py': 'reads /proc',
    'runtime/metadata.py': 'reads what onnxruntime has found in a file',
    'runtime/folders.py': 'reads arrays without pickles, where mmfusion.fileio need not be there',
    'video/streams.py': 'looks at the first bytes of a file that FFmpeg reads',
}
READING = re.compile(
    '|'.join(
        (
            r'\.read_text\(',
            r'\.read_bytes\(',
            r'json\.loads?\(',
            r'torch\.load\(',
            r'Image\.open\(',
            r'cv2\.imread\(',
            r'ElementTree\.(parse|fromstring)\(',
            r'yaml\.\w*load\(',
            r'Config\.fromfile\(',
            r'np\.load\w*\(',
            r'pickle\.loads?\(',
            r'csv\.\w*reader\(',
            r'loadmat\(',
            r"\bopen\([^)]*'(rb|r|a\+b)'",
            r'\bopen\([^,()]+\)',
        )
    )
)


def check(totals, inputs):
    problems = [f'{row["reader"]}, file {index}: {text}' for row in totals for index, text in row['failures']]
    assert not problems, '\n'.join([table(totals), *problems[:10]])
    assert [row['inputs'] for row in totals] == [inputs] * len(NAMES)
    assert all(row['errors'] + row['results'] == inputs for row in totals)
    assert (
        all(row['errors'] for row in totals if row['reader'] != 'journal')
        and sum(row['results'] for row in totals) > inputs
    )
    # pictures are limited to 2**22 pixels there
    assert max(row['growth'] for row in totals) < 300 * 2**20, table(totals)


def test_fifty_files_for_each_reader(tmp_path):
    check(fuzz(50, tmp_path), 50)


@pytest.mark.slow
def test_two_thousand_files_for_each_reader(tmp_path):
    totals = fuzz(2000, tmp_path, seed=1)
    print(table(totals))
    check(totals, 2000)


def test_every_place_that_reads_files_is_among_the_readers(repo_dir):
    found = {
        str(path.relative_to(repo_dir / 'mmfusion'))
        for path in (repo_dir / 'mmfusion').rglob('*.py')
        if '.mim' not in path.parts and READING.search(path.read_text())
    }
    assert found == set(PLACES), 'read through mmfusion.fileio.reading, or add a reader to tests/fuzz/readers.py'
    for readers in PLACES.values():
        assert isinstance(readers, str) or set(readers) <= set(NAMES)


@pytest.mark.slow
def test_what_ends_the_process_is_found(tmp_path, monkeypatch):
    """The harness itself: a crash, a hang and a wrong result are told apart and do not end the run."""
    import fuzzing

    (tmp_path / 'bad.py').write_text("""
import ctypes, sys, time
sys.argv = sys.argv[:]
import readers
def read(path):
    kind = open(path).read()
    if kind == '2':
        ctypes.string_at(0)
    if kind == '4':
        while True:
            pass
    assert kind != '6'
    if kind == '7':
        raise KeyError('x')
    if kind == '8':
        raise ValueError('documented, but not raised by the package')
readers.readers = lambda marker: {'bad': readers.Reader('.txt', read, (ValueError, ), lambda rng: str(next(count)).encode(), [])}
count = iter(range(10**9))
import worker
feed = worker.feed
def numbered(reader, name, indices, *rest):
    global count
    count = iter(indices)
    feed(reader, name, indices, *rest)
worker.feed, worker.CPU_SECONDS = numbered, 1
worker.main()
""")
    command = fuzzing.subprocess.Popen
    monkeypatch.setattr(
        fuzzing.subprocess,
        'Popen',
        lambda args, **options: command([args[0], str(tmp_path / 'bad.py'), *args[2:]], **options),
    )
    (row,) = fuzz(10, tmp_path, names=['bad'])
    assert (row['inputs'], row['crashes'], row['hangs']) == (10, 1, 1)
    assert [index for index, _ in row['failures']] == [2, 4, 6, 7, 8]
