"""The page of a league in a browser: it stands by itself, sorts, and marks what is best without color."""

import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest
import tiny_league

from mmfusion.experiments.league import league, read_settings
from mmfusion.experiments.league.scatter import Point, _labels, draw_scatter
from mmfusion.experiments.league.strips import choose_detail

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason='no chromium')


@pytest.fixture(scope='module')
def made(tmp_path_factory, registered_modules):
    folder = tmp_path_factory.mktemp('league')
    config = tiny_league.config(folder / 'pairs')
    config['methods'].update(
        infrared=dict(model=dict(type='SourceFuser', source='second'), kind='source', title='<infrared> & alone')
    )
    return league(config, folder / 'work')


def browse(page, tmp_path, *options):
    """Run chromium on a page without a network; its standard output."""
    command = [CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars',
        f'--user-data-dir={tmp_path / "profile"}',
               '--proxy-server=127.0.0.1:9', *options, page.as_uri()]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout


def order(dom, table):
    body = re.findall(r'<tbody>(.*?)</tbody>', dom, re.S)[table]
    return re.findall(r'<th scope="row" data-value="([^"]*)"', body)


def test_it_stands_by_itself(made):
    page = made.files['page'].read_text()
    assert not re.search(r'(?:src|href)="(?!data:|#)', page) and '@import' not in page and 'url(http' not in page
    assert page.count('<script>') == 1 and '<infrared>' not in page and '&lt;infrared&gt; &amp; alone' in page
    assert page.count('data:image/jpeg') == 2 * 2 * 4  # two pairs, whole and detail, of four methods


def test_best_and_second_best_are_told_without_color(made):
    page = made.files['page'].read_text()
    best = page.count('aria-label="best"'), page.count('aria-label="second best"')
    assert best[0] >= 4 and best[1] >= 3
    row = re.search(
        r'<tr>(<th scope="row" data-value="&lt;infrared.*?)</tr>', page[page.index('Small, 4 pairs') :], re.S
    )[1]
    assert '★' not in row and '☆' not in row  # a source alone is no fusion
    assert 'infrared' not in made.standing.sets['small'].mean_rank and 'infrared' in made.standing.sets['small'].means


@needs_browser
def test_headings_sort(made, tmp_path):
    """By a click, and by a key on the button that has the focus; numbers as numbers, twice the other way."""
    page = made.files['page'].read_text()
    place = [column.title for column in made.tables[1].columns].index('EN') + 2
    click = f"document.querySelectorAll('table')[1].querySelectorAll('thead button')[{place}].click();"
    values = {
        name: made.standing.sets['small'].means[name]['EN'] for name in ('average', 'maximum', 'visible', 'infrared')
    }
    titles = dict(visible='visible alone', infrared='&lt;infrared&gt; &amp; alone')
    falling = [titles.get(name, name) for name in sorted(values, key=lambda name: -values[name])]
    for clicks, expected, said in ((1, falling, 'descending'), (2, falling[::-1], 'ascending')):
        copy = tmp_path / f'{clicks}.html'
        copy.write_text(page.replace('</script>', click * clicks + '</script>'))
        dom = browse(copy, tmp_path, '--dump-dom')
        assert order(dom, 1) == expected
        assert f'aria-sort="{said}"' in dom and f'sorted by EN ↑, {said}' in dom


@needs_browser
@pytest.mark.parametrize('width', [1400, 420])
def test_it_can_be_seen(made, tmp_path, width):
    """A screenshot with dark text on white, and nothing that sticks out to the right of a narrow window."""
    shot = tmp_path / 'shot.png'
    browse(made.files['page'], tmp_path, f'--window-size={width},1600', f'--screenshot={shot}')
    image = cv2.imread(str(shot))
    assert image.shape[:2] == (1600, width)
    assert (image > 250).mean() > 0.5 and (image < 60).mean() > 0.002
    probe = tmp_path / 'probe.html'
    script = 'document.body.dataset.over = document.documentElement.scrollWidth - document.documentElement.clientWidth;'
    probe.write_text(made.files['page'].read_text().replace('</script>', script + '</script>'))
    assert 'data-over="0"' in browse(probe, tmp_path, f'--window-size={width},1600', '--dump-dom')


def test_labels_of_a_scatter_do_not_cover_each_other():
    points = [Point(f'method {index}', 'rule', 1 + index / 3, 1 + index % 2) for index in range(8)]
    svg = draw_scatter(points, 'time', 'rank', False, 'rank against time', dict(visible=1.5))
    places = {
        title: (float(x), float(y))
        for x, y, title in re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="\w+">(method \d)</text>', svg)
    }
    assert len(places) == 8 and 'font-style="italic">visible' in svg
    boxes = [(x, y) for x, y, _ in _labels(points, [(100.0, 100.0 + 40 * index) for index in range(8)])]
    assert len(set(boxes)) == 8
    better = [float(re.search(rf'<title>{point.title}: .*?d="M[\d.]+ ([\d.]+)', svg)[1]) for point in points[:2]]
    assert better[0] < better[1]  # rank 1 is above rank 2


def test_the_detail_is_where_methods_differ():
    calm, other = np.full((120, 160, 3), 90, np.uint8), np.full((120, 160, 3), 90, np.uint8)
    other[80:100, 100:130] = 200
    left, top, across, down = choose_detail([calm, other], np.zeros((0, 4)))
    assert left <= 115 <= left + across and top <= 90 <= top + down and down == across // 2
    truth = np.array([[5, 5, 25, 45], [102, 78, 120, 98]], float)
    left, top, across, down = choose_detail([calm, other], truth)
    assert left <= 102 and left + across >= 120 and top <= 78 and top + down >= 98


def test_the_config_of_the_page_can_be_read(repo_dir, tmp_path):
    text = (repo_dir / 'docs' / 'en' / 'league.md').read_text()
    code = next(block for block in re.findall(r'```python\n(.*?)```', text, re.S) if 'methods = dict(' in block)
    (tmp_path / '_base_').symlink_to(repo_dir / 'configs' / '_base_')
    (tmp_path / 'my_league.py').write_text(code)
    settings = read_settings(tmp_path / 'my_league.py')
    assert list(settings.methods) == ['average', 'plain_conv_rendered', 'ours'] and settings.courses['det'].seeds == (
        0,
        1,
        2,
    )
