"""The command that scores folders, from its arguments to what it leaves."""

import csv
import runpy
import subprocess
import sys

import cv2
import numpy as np
import pytest

TOOL = 'tools/analysis_tools/eval_fusion.py'


@pytest.fixture
def folders(tmp_path):
    for i, name in enumerate('abcd'):
        first, second = (np.random.default_rng(seed).integers(0, 256, (32, 40), dtype=np.uint8) for seed in (i, 10 + i))
        for folder, image in (
            ('vi', first),
            ('ir', second),
            ('average', first // 2 + second // 2),
            ('maximum', np.maximum(first, second)),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f'{name}.png'), image)
    return tmp_path


@pytest.fixture
def command(repo_dir, folders, capsys):
    """Run the tool in this process; returns what it printed."""

    def run(*argv):
        capsys.readouterr()
        runpy.run_path(str(repo_dir / TOOL))['main']([*argv, '--out', str(folders / 'out'), '--workers', '1'])
        return capsys.readouterr().out

    return run


def test_two_methods_side_by_side(folders, command):
    argv = [f'mean={folders}/average', str(folders / 'maximum'), str(folders / 'vi'), str(folders / 'ir')]
    shown = command(*argv, '--metrics', 'EN,MI', 'SSIM', '--per-source', '--plot', 'bars', str(folders / 'bars.png'))
    for part in (
        "protocol 'default'",
        'mean ',
        'maximum',
        'MI_first',
        'mean rank',
        'bars.png',
        '8 of 8 fused images scored',
        'ms per fused image',
    ):
        assert part in shown, shown
    with open(folders / 'out' / 'default_images.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert (
        len(rows) == 8
        and list(rows[0])[:5] == ['method', 'name', 'protocol', 'fused', 'EN']
        and float(rows[0]['SSIM']) > 0
    )
    with open(folders / 'out' / 'default_summary.csv', newline='') as file:
        summary = {(row['method'], row['metric']): row for row in csv.DictReader(file)}
    means = {
        method: np.mean([float(row['MI']) for row in rows if row['method'] == method]) for method in ('mean', 'maximum')
    }
    for method, mean in means.items():
        row = summary[method, 'MI']
        assert (
            float(row['mean']) == pytest.approx(mean, rel=1e-12)
            and row['protocol'] == 'default'
            and row['count'] == '4'
        )
        assert float(row['rank']) == 1 + (mean < max(means.values()))
    for name in ('default_table.md', 'default_table.tex'):
        assert "protocol 'default'" in (folders / 'out' / name).read_text()
    assert (folders / 'bars.png').stat().st_size > 1000
    again = command(*argv, '--metrics', 'EN,MI', 'SSIM')
    assert '8 of 8 fused images scored, 8 of them in an earlier run' in again and 'ms per fused image' not in again


def test_errors_are_one_message(folders, repo_dir, capsys):
    main = runpy.run_path(str(repo_dir / TOOL))['main']
    places = [str(folders / name) for name in ('average', 'vi', 'ir')]
    for argv, part in (
        (places[:2], 'at least three folders'),
        ([*places, '--metrics', 'XYZ'], "no metric 'XYZ'"),
        ([*places, '--protocol', 'mine'], "unknown protocol 'mine'"),
        ([*places[:2], '/no/such'], 'there is no folder /no/such'),
        ([*places, '--plot', 'pie', 'a.png'], 'choose from bars, radar'),
        ([*places, '--bit-depth', '20'], '--bit-depth must lie in'),
        ([*places, '--workers', '0'], '--workers must be at least 1'),
    ):
        with pytest.raises(SystemExit) as caught:
            main([*argv, '--out', str(folders / 'out')])
        shown = capsys.readouterr().err
        assert caught.value.code == 2 and part in shown and 'Traceback' not in shown, shown


def test_exit_code_tells_that_nothing_was_scored(folders, repo_dir, capsys):
    for file in (folders / 'average').iterdir():
        file.write_bytes(b'no image')
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(repo_dir / TOOL))['main'](
            [
                *(str(folders / name) for name in ('average', 'vi', 'ir')),
                '--out',
                str(folders / 'out'),
                '--workers',
                '1',
            ]
        )
    assert caught.value.code == 2 and 'not one fused image could be scored' in capsys.readouterr().err


def test_list(command):
    shown = command('--list')
    assert 'cddfuse: ' in shown and 'EN ' in shown and 'higher is better' in shown


def test_in_a_process_of_its_own_with_workers(folders, repo_dir):
    for file in (folders / 'average').iterdir():
        if file.stem == 'd':
            file.write_bytes(b'no image')
    done = subprocess.run(
        [
            sys.executable,
            str(repo_dir / TOOL),
            *(str(folders / name) for name in ('average', 'vi', 'ir')),
            '--metrics',
            'EN',
            '--out',
            str(folders / 'out'),
            '--workers',
            '2',
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'd (average): ' in done.stdout and done.stdout.strip().endswith('3 of 4 fused images scored')
