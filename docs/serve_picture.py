"""Picture of the local page in docs/en/serve.md: ``python docs/serve_picture.py`` after a change of the page; needs
playwright and chromium.

A wide window in light colors on the left, a phone of 360 pixels in dark ones, zoomed, on the right.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

DOCS = Path(__file__).resolve().parent
sys.path.append(str(DOCS.parent / 'tests' / 'helpers'))
PICTURE = DOCS / 'en' / 'images' / 'serve.jpg'
WIDE, NARROW = dict(width=1200, height=900), dict(width=360, height=740)
WIDTHS, GAP, TOP = (800, 280), 12, 1000  # pixels of both parts, between them, and left out at the top of the narrow one


def take(browser, address: str, size: dict, scheme: str, zooms: int) -> np.ndarray:
    """The whole page after a fusion, (H, W, 3) BGR."""
    context = browser.new_context(viewport=size, color_scheme=scheme)
    tab = context.new_page()
    tab.set_default_timeout(120_000)
    tab.goto(address)
    tab.locator('body[data-ready=yes]').wait_for()
    tab.locator('#pairs button').first.click()
    tab.locator('#drop-second .name', has_text='infrared.png').wait_for()
    tab.locator('#fuse:enabled').click()
    tab.locator('#result:not([hidden])').wait_for()
    tab.locator('#view-fused').focus()
    for _ in range(zooms):
        tab.keyboard.press('+')
    tab.wait_for_load_state('networkidle')
    content = tab.screenshot(full_page=True)
    context.close()
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


def main() -> None:
    """Take both and put them beside each other."""
    from browser_tab import CHROMIUM
    from page_server import running_page
    from playwright.sync_api import sync_playwright

    from mmfusion.serve.settings import ServeSettings
    from mmfusion.utils import register_all_modules

    register_all_modules()
    with running_page(ServeSettings(device='cpu')) as page, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        wide = take(browser, page.address, WIDE, 'light', 0)
        narrow = take(browser, page.address, NARROW, 'dark', 4)[TOP:]
        browser.close()
    parts = []
    for part, width in zip((wide, narrow), WIDTHS):
        height = round(part.shape[0] * width / part.shape[1])
        parts.append(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA))
    height = min(len(part) for part in parts)
    gap = np.full((height, GAP, 3), 128, np.uint8)
    picture = np.concatenate([parts[0][:height], gap, parts[1][:height]], axis=1)
    cv2.imwrite(str(PICTURE), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(f'wrote {PICTURE} ({picture.shape[1]}x{picture.shape[0]})')


if __name__ == '__main__':
    main()
