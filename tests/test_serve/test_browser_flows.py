"""What a visitor does with the page beyond the first picture: keys alone, drops, depths, tiles, cancels, options,
boxes, tokens, two fingers.
"""

import shutil
import threading
import time
import zlib

import cv2
import numpy as np
import pytest
import tiny_models
from browser_tab import choose, fuse, open_tab, png_pair

from mmfusion.apis import FusionInferencer
from mmfusion.datasets import DemoPairs
from mmfusion.serve.fusing import Fusing
from mmfusion.serve.jobs import Job
from mmfusion.serve.settings import ServeSettings

pytest.importorskip('uvicorn', reason='the page needs uvicorn (requirements/serve.txt)')
from page_server import running_page  # noqa: E402

#: Whether the element in focus, or the label around it, has an outline of two pixels and more.
OUTLINED = """[document.activeElement, document.activeElement.closest('label')].filter(Boolean).map(getComputedStyle).some(
    (style) => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2)"""


@pytest.fixture(scope='module')
def served(registered_modules):
    with running_page(ServeSettings(device='cpu')) as page:
        yield page


@pytest.fixture
def tab(browser, served):
    with open_tab(browser, served.address) as tab:
        yield tab


def test_keys_alone(tab, tmp_path):
    """From the first Tab to the download, in the order of the page, with the element in focus outlined."""

    def walk(selector, most=60):
        for _ in range(most):
            tab.keyboard.press('Tab')
            if tab.evaluate('(selector) => document.activeElement.matches(selector)', selector):
                assert tab.evaluate(OUTLINED), f'{selector} does not show that it is in focus'
                return
        raise AssertionError(f'{selector} cannot be reached by Tab')

    walk('#file-first')
    walk('#pairs button')
    tab.keyboard.press('Enter')
    tab.locator('#drop-second .name', has_text='infrared.png').wait_for()
    walk('#model')
    tab.keyboard.type('Average')
    assert tab.locator('#model').input_value() == 'AverageFuser'
    walk('#deep')
    tab.keyboard.press('Space')
    walk('#fuse')
    tab.keyboard.press('Enter')
    tab.locator('#result:not([hidden])').wait_for()
    walk('#view-compare')
    tab.keyboard.press('+')
    assert 'scale(1.25)' in tab.locator('#view-second .stage').get_attribute('style')
    walk('#boundary')
    walk('#downloads a')
    with tab.expect_download() as caught:
        tab.keyboard.press('Enter')
    assert cv2.imread(str(caught.value.path()), cv2.IMREAD_UNCHANGED).dtype == np.uint16


def test_drop_and_sixteen_bits(tab, tmp_path):
    files = png_pair(tmp_path)
    for kind, file in zip(('first', 'second'), files):
        data = tab.evaluate_handle(
            """([name, bytes]) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], name, { type: 'image/png' }));
                return data;
            }""",
            [file.name, list(file.read_bytes())],
        )
        tab.dispatch_event(f'#drop-{kind}', 'dragover', dict(dataTransfer=data))
        assert 'over' in tab.locator(f'#drop-{kind}').get_attribute('class')
        tab.dispatch_event(f'#drop-{kind}', 'drop', dict(dataTransfer=data))
        tab.locator(f'#drop-{kind} .name', has_text=file.name).wait_for()
    tab.locator('#deep').check()
    fuse(tab)
    with tab.expect_download() as caught:
        tab.get_by_text('Download fused (png, 16 bit)').click()
    FusionInferencer()(*files, out_dir=tmp_path / 'mine.png', bit_depth=16)
    assert caught.value.path().read_bytes() == (tmp_path / 'mine.png').read_bytes()


def test_metrics_with_their_protocol(tab, tmp_path):
    choose(tab, *png_pair(tmp_path, (64, 80)))
    protocols = tab.locator('#protocol option').all_inner_texts()
    assert protocols[0] == 'default' and protocols[-1] == 'none'
    tab.locator('#protocol').select_option(protocols[1])
    fuse(tab)
    assert tab.locator('#metrics caption').inner_text() == f'Metrics, protocol "{protocols[1]}"'
    tab.locator('#protocol').select_option('')
    tab.locator('#fuse').click()
    tab.locator('#metrics').wait_for(state='hidden')


def test_messages_are_seen_wherever_the_page_is_scrolled_to(tab, tmp_path):
    tab.set_viewport_size(dict(width=360, height=740))
    choose(tab, *png_pair(tmp_path))
    fuse(tab)
    (tmp_path / 'a.png').write_bytes(b'no picture')
    tab.locator('#fuse-folders').scroll_into_view_if_needed()
    tab.locator('#file-first').set_input_files(tmp_path / 'a.png')
    tab.locator('#message.bad').wait_for()
    tab.locator('#batch-title').scroll_into_view_if_needed()
    box = tab.locator('#message').bounding_box()
    assert tab.evaluate('scrollY') > 500 and 0 <= box['y'] < 740


def test_tiles_progress_and_cancel(tab, tmp_path, monkeypatch):
    """The page says which tile is fused, and ``Cancel`` ends it there; the next job runs."""
    reached, go_on, count = threading.Event(), threading.Event(), Job.count_tiles

    def hold(job, done, number):
        count(job, done, number)
        if done == 1:
            reached.set()
            go_on.wait(60)

    monkeypatch.setattr(Job, 'count_tiles', hold)
    choose(tab, *png_pair(tmp_path, (520, 560)))
    assert tab.locator('#tile option').all_inner_texts()[:3] == ['whole image', 'what fits into memory', '512 x 512']
    tab.locator('#tile').select_option('512')
    tab.locator('#fuse').click()
    tab.locator('#message', has_text='Fusing: tile 1 of 4').wait_for()
    assert reached.is_set() and tab.locator('#progress').evaluate('bar => bar.value') == 0.25
    tab.locator('#cancel').focus()
    tab.keyboard.press('Enter')
    tab.wait_for_timeout(100)
    go_on.set()
    tab.locator('#message.bad', has_text='Canceled.').wait_for()
    assert tab.locator('#cancel').is_disabled() and tab.locator('#result').is_hidden()
    fuse(tab)
    assert tab.locator('#command').inner_text().endswith('--tile 512')


def test_progress_of_folders(tab, served, tmp_path, monkeypatch):
    """The bar and the message count the pairs, and nothing that was sent stays."""
    go_on, begun, fuse_one, before = threading.Event(), [], Fusing._fuse, len(served.state.uploads)

    def hold(fusing, *given):
        begun.append(given)
        if len(begun) == 2:
            go_on.wait(60)
        return fuse_one(fusing, *given)

    monkeypatch.setattr(Fusing, '_fuse', hold)
    for kind, file in zip(('first', 'second'), png_pair(tmp_path)):
        (tmp_path / kind).mkdir()
        for name in 'abc':
            shutil.copy(file, tmp_path / kind / f'{name}.png')
        tab.locator(f'#folder-{kind}').set_input_files(tmp_path / kind)
    tab.locator('#fuse-folders').click()
    tab.locator('#message', has_text='Fusing: 1 of 3').wait_for()
    assert tab.locator('#progress').evaluate('bar => [bar.value, bar.max]') == [1, 3]
    go_on.set()
    tab.locator('#message', has_text='3 of 3 pairs fused').wait_for()
    assert tab.locator('#batch a').all_inner_texts() == ['a', 'b', 'c'] and tab.locator('#progress').is_hidden()
    deadline = time.monotonic() + 30
    while len(served.state.uploads) > before and time.monotonic() < deadline:
        tab.wait_for_timeout(50)
    assert len(served.state.uploads) == before


def test_sending_of_folders_can_be_canceled(tab, served, tmp_path):
    for kind in ('first', 'second'):
        (tmp_path / kind).mkdir()
        shutil.copy(png_pair(tmp_path)[kind == 'second'], tmp_path / kind / 'a.png')
        tab.locator(f'#folder-{kind}').set_input_files(tmp_path / kind)
    tab.route('**/uploads', lambda route: None)  # never answered
    tab.locator('#fuse-folders').click()
    tab.locator('#message', has_text='Sending pair 1 of 1').wait_for()
    assert tab.locator('#fuse-folders').is_disabled()
    tab.locator('#cancel').click()
    tab.locator('#message.bad', has_text='Canceled.').wait_for()
    tab.unroute('**/uploads')
    tab.locator('#fuse-folders:enabled').click()
    tab.locator('#message', has_text='1 of 1 pairs fused').wait_for()


def test_sizes_that_differ_are_registered(tab, tmp_path):
    """What the page offers works: the second image, larger and shifted, comes to lie on the first."""
    pair = DemoPairs(length=1, size=(480, 640), split='test', seed=3, night_ratio=0.0).get_data_info(0)
    cv2.imwrite(str(tmp_path / 'vi.png'), pair['first'][40:440, 50:590])
    cv2.imwrite(str(tmp_path / 'ir.png'), pair['second'])
    choose(tab, tmp_path / 'vi.png', tmp_path / 'ir.png')
    assert 'sizes differ (540 x 400 and 640 x 480)' in tab.locator('#advice').inner_text()
    tab.locator('#registration').check()
    fuse(tab)
    assert 'registered with a confidence of' in tab.locator('#facts').inner_text()
    seen = tab.locator('#view-second img').evaluate('image => [image.naturalWidth, image.naturalHeight]')
    assert seen == [540, 400] and '--registration auto' in tab.locator('#command').inner_text()


def bomb():
    """A png of a kilobyte that declares 60000 x 60000 pixels."""
    content = bytearray(cv2.imencode('.png', np.zeros((20, 30), np.uint8))[1].tobytes())
    content[16:24] = (60000).to_bytes(4, 'big') * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, 'big')
    return bytes(content)


def test_what_must_not_come_in(tab, served, tmp_path):
    """One line for each, nothing is kept, and the page goes on."""
    whole = cv2.imencode('.png', np.arange(600, dtype=np.uint8).reshape(20, 30))[1].tobytes()
    before = len(served.state.uploads)
    for name, content, said in (
        ('bomb.png', bomb(), 'bomb.png'),
        ('cut.png', whole[:-30], 'cut.png is truncated'),
        ('drawing.svg', b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'drawing.svg is no png, jpg, bmp or tif image'),
    ):
        (tmp_path / name).write_bytes(content)
        tab.locator('#file-first').set_input_files(tmp_path / name)
        tab.locator('#message.bad', has_text=said).wait_for()
        assert len(served.state.uploads) == before and tab.locator('#fuse').is_disabled()
    choose(tab, *png_pair(tmp_path))
    fuse(tab)


def test_two_fingers_zoom_and_one_scrolls_the_page(tab, tmp_path):
    choose(tab, *png_pair(tmp_path))
    fuse(tab)
    view = tab.locator('#view-fused')
    view.scroll_into_view_if_needed()
    assert view.evaluate('view => getComputedStyle(view).touchAction') == 'pan-y'
    box = view.bounding_box()
    x, y = box['x'] + box['width'] / 2, box['y'] + box['height'] / 2
    touch = tab.context.new_cdp_session(tab)
    for kind, apart in (('touchStart', 20), ('touchMove', 40), ('touchEnd', None)):
        points = (
            [] if apart is None else [dict(x=x + sign * apart, y=y, id=number) for number, sign in enumerate((-1, 1))]
        )
        touch.send('Input.dispatchTouchEvent', dict(type=kind, touchPoints=points))
    style = {
        tab.locator(f'#view-{kind} .stage').get_attribute('style') for kind in ('fused', 'first', 'second', 'compare')
    }
    assert len(style) == 1
    assert view.evaluate('view => getComputedStyle(view).touchAction') == 'none'
    zoom = tab.locator('#view-fused .stage').evaluate('stage => new DOMMatrix(getComputedStyle(stage).transform).a')
    assert zoom == pytest.approx(2, rel=0.15)


def test_sliders_of_tc_moa(browser, registered_modules, tmp_path):
    """Its own options, from a config, arrive at the network: the result is the inferencer's with the same ones."""
    with running_page(ServeSettings(config='configs/tc_moa_demo.py', device='cpu')) as page:
        with open_tab(browser, page.address) as tab:
            files = png_pair(tmp_path, (56, 64), gray=True)
            choose(tab, *files)
            tab.locator('[data-option=fusion_task]').select_option('multi_focus')
            tab.locator('[data-option=shift]').focus()
            for _ in range(4):
                tab.keyboard.press('ArrowRight')
            shift = float(tab.locator('[data-option=shift]').input_value())
            assert shift == pytest.approx(0.2)
            fuse(tab)
            assert 'fusion_task=multi_focus' in tab.locator('#command').inner_text()
            with tab.expect_download() as caught:
                tab.get_by_text('Download fused').click()
            got = cv2.imread(str(caught.value.path()), cv2.IMREAD_UNCHANGED)
        built = page.state.fusing.models.get(page.state.fusing.models.config_name)
        built.fuser_options = dict(fusion_task='multi_focus', scale=1.0, shift=shift)
        (expected,) = built(*files, return_images=True)
        built.fuser_options = dict(fusion_task='multi_focus', scale=1.0, shift=0.0)
        (other,) = built(*files, return_images=True)
    np.testing.assert_array_equal(got, expected.fused)
    assert (expected.fused != other.fused).any()


@pytest.fixture
def both_tasks(tmp_path):
    """A config with a detector that sees something everywhere, and a segmentor."""
    config = tmp_path / 'both.py'
    config.write_text(
        'default_scope = "mmfusion"\n'
        f'tasks = dict(det={tiny_models.rtmdet()!r}, seg={tiny_models.segmentor()!r})\n'
        'model = dict(type="JointCoupling", fuser=dict(type="AverageFuser"), tasks=tasks)\n'
        'test_dataloader = dict(dataset=dict(type="MSRSSegDataset", metainfo=dict(classes=("car", '
        '"person", "bicycle"), '
        'seg_classes=("road", "car", "person")), pipeline=[dict(type="LoadPair"), dict(type="PackFusionInputs")]))\n'
    )
    return config


def test_boxes_and_class_map_are_drawn(browser, both_tasks, registered_modules, tmp_path):
    with running_page(ServeSettings(config=str(both_tasks), device='cpu')) as page:
        models = page.state.fusing.models
        for key, parameter in models.get(models.config_name).coupling.tasks.named_parameters():
            if key.endswith('bias') and 'rtm_cls' in key:
                parameter.data.fill_(1)
        with open_tab(browser, page.address) as tab:
            choose(tab, *png_pair(tmp_path, (64, 96)))
            fuse(tab)
            boxes = tab.locator('#view-fused rect.box')
            assert boxes.count() > 0
            tab.get_by_label('Least score').fill('1')
            assert boxes.count() == 0
            tab.get_by_label('Least score').fill('0.05')
            assert boxes.count() > 0
            tab.get_by_label('boxes with a score').uncheck()
            assert boxes.count() == 0
            classes = tab.locator('#view-fused img.half')
            assert classes.is_visible() and tab.locator('#legend .swatch').count() >= 1
            tab.get_by_label('class map').uncheck()
            assert not classes.is_visible()


def test_token_beyond_this_machine(browser, registered_modules, tmp_path):
    """The printed address opens the page, the token leaves the address, and without it nothing answers."""
    with running_page(ServeSettings(host='0.0.0.0', device='cpu')) as page:
        with open_tab(browser, f'{page.address}/?token={page.state.settings.token}', page.address) as tab:
            assert tab.url == f'{page.address}/' and 'mmfusion_token' not in tab.evaluate('document.cookie')
            choose(tab, *png_pair(tmp_path))
            fuse(tab)
        context = browser.new_context()
        for address in (f'{page.address}/', f'{page.address}/?token=wrong', f'{page.address}/models'):
            answer = context.new_page().goto(address)
            assert answer.status == 401 and 'the token that mmfusion serve has printed' in answer.text()
        context.close()
