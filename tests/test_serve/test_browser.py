"""The page in a real browser: upload, fuse, look, folders; by keyboard, on a narrow screen, without any request
elsewhere.
"""

import shutil

import cv2
import numpy as np
import pytest
from browser_tab import choose, fuse, open_tab

from mmfusion.apis import FusionInferencer
from mmfusion.serve.settings import ServeSettings

pytest.importorskip('uvicorn', reason='the page needs uvicorn (requirements/serve.txt)')
from page_server import running_page  # noqa: E402


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """Two folders of three pairs, one of other sizes, and an image without partner."""
    root, generator = tmp_path_factory.mktemp('folders'), np.random.default_rng(0)
    for kind in ('vi', 'ir'):
        (root / kind).mkdir()
    for name, size in dict(a=(40, 56), b=(40, 56), c=(40, 72)).items():
        cv2.imwrite(str(root / 'vi' / f'{name}.png'), generator.integers(0, 255, (*size, 3)).astype(np.uint8))
        cv2.imwrite(str(root / 'ir' / f'{name}.png'), generator.integers(0, 255, (40, 56)).astype(np.uint8))
    shutil.copy(root / 'vi' / 'a.png', root / 'vi' / 'alone.png')
    return root


@pytest.fixture(scope='module')
def served(registered_modules):
    with running_page(ServeSettings(device='cpu')) as page:
        yield page


@pytest.fixture
def tab(browser, served):
    with open_tab(browser, served.address) as tab:
        yield tab


def test_upload_fuse_and_download(tab, folders, tmp_path):
    choose(tab, folders / 'vi' / 'a.png', folders / 'ir' / 'a.png')
    fuse(tab)
    with tab.expect_download() as caught:
        tab.get_by_text('Download fused').click()
    caught.value.save_as(tmp_path / 'mine.png')
    FusionInferencer()(folders / 'vi' / 'a.png', folders / 'ir' / 'a.png', out_dir=tmp_path / 'fused.png')
    assert (tmp_path / 'mine.png').read_bytes() == (tmp_path / 'fused.png').read_bytes()
    assert caught.value.suggested_filename == 'a_fused.png'
    assert tab.locator('#metrics th').all_inner_texts()[:2] == ['EN', 'SD']
    assert tab.locator('#command').inner_text().startswith('mmfusion fuse a.png a.png --model')


def test_boundary_and_zoom_by_keyboard_alone(tab, folders):
    choose(tab, folders / 'vi' / 'a.png', folders / 'ir' / 'a.png')
    tab.locator('#fuse').focus()
    tab.keyboard.press('Enter')
    tab.locator('#result:not([hidden])').wait_for()
    tab.locator('#boundary').focus()
    cut = tab.locator('#view-compare img').nth(1)
    before = cut.get_attribute('style')
    tab.keyboard.press('End')
    assert cut.get_attribute('style') != before and '100%' in cut.get_attribute('style')
    tab.locator('#view-fused').focus()
    for key in ('+', '+', '+', 'ArrowRight'):
        tab.keyboard.press(key)
    places = {
        tab.locator(f'#view-{kind} .stage').get_attribute('style') for kind in ('fused', 'first', 'second', 'compare')
    }
    assert len(places) == 1 and 'scale(1.95' in places.pop(), 'all views move together'
    tab.keyboard.press('0')
    assert 'scale(1)' in tab.locator('#view-first .stage').get_attribute('style')


def test_sizes_that_differ_offer_registration(tab, folders):
    choose(tab, folders / 'vi' / 'c.png', folders / 'ir' / 'a.png')
    assert 'sizes differ' in tab.locator('#advice').inner_text() and '72 x 40' in tab.locator('#advice').inner_text()
    tab.locator('#fuse').click()
    tab.locator('#message.bad').wait_for()
    assert '72x40' in tab.locator('#message').inner_text()
    tab.locator('#registration').check()
    assert tab.locator('#advice').is_hidden()


def test_what_is_no_image(tab, folders, tmp_path):
    (tmp_path / 'a.png').write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    tab.locator('#file-first').set_input_files(tmp_path / 'a.png')
    tab.locator('#message.bad').wait_for()
    assert tab.locator('#message').inner_text() == 'a.png is no png, jpg, bmp or tif image'
    assert tab.locator('#fuse').is_disabled()


def test_folders(tab, folders, tmp_path):
    import zipfile

    for kind, folder in (('first', 'vi'), ('second', 'ir')):
        tab.locator(f'#folder-{kind}').set_input_files(folders / folder)
    tab.locator('#matched', has_text='3 pairs, 1 images without partner').wait_for()
    tab.locator('#fuse-folders').click()
    tab.locator('#message', has_text='2 of 3 pairs fused').wait_for()
    assert tab.locator('#batch li').nth(2).inner_text().startswith('c: left out')
    with tab.expect_download() as caught:
        tab.locator('#archive').click()
    with zipfile.ZipFile(caught.value.path()) as archive:
        assert archive.namelist() == ['a.png', 'b.png']


def test_options_of_a_model(tab, served, monkeypatch):
    """A fuser with options has a list and sliders, whose values arrive."""
    model = dict(
        name='tc', summary='', terms='', sources=[], tasks=[],
        options=[dict(name='fusion_task', choices=['x', 'y'], default='y'), dict(name='shift', low=-1, high=1, step=0.5, default=0)],
    )  # fmt: skip
    monkeypatch.setattr(served.state.fusing.models, 'describe', lambda: [model])
    tab.reload()
    tab.locator('body[data-ready=yes]').wait_for()
    assert tab.locator('[data-option=fusion_task]').input_value() == 'y'
    tab.locator('[data-option=shift]').focus()
    tab.keyboard.press('ArrowRight')
    assert tab.locator('#options output').inner_text() == '0.5'


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_a_narrow_screen_and_both_schemes(tab, folders, scheme):
    tab.set_viewport_size(dict(width=360, height=740))
    tab.emulate_media(color_scheme=scheme)
    choose(tab, folders / 'vi' / 'a.png', folders / 'ir' / 'a.png')
    fuse(tab)
    assert tab.evaluate('document.documentElement.scrollWidth') <= 360
    paper, ink = (
        sum(map(int, tab.evaluate(f'getComputedStyle(document.body).{name}')[4:-1].split(',')))
        for name in ('backgroundColor', 'color')
    )
    assert (paper > ink) == (scheme == 'light') and abs(paper - ink) > 400
