"""The local page in a real browser, and what visitors do first."""

import contextlib
import shutil
from pathlib import Path
from typing import Iterator, Optional, Tuple

import cv2
import numpy as np

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
PATIENCE = 120_000  # milliseconds; the machine may be busy


@contextlib.contextmanager
def open_tab(browser, address: str, only: Optional[str] = None) -> Iterator:
    """The page, opened; at the end nothing was asked of another address than ``only`` and nothing went wrong in it."""
    context = browser.new_context(viewport=dict(width=1200, height=900), accept_downloads=True)
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE)
    asked, wrong = [], []
    tab.on('request', lambda request: asked.append(request.url))
    tab.on('pageerror', lambda error: wrong.append(str(error)))
    tab.goto(address)
    tab.locator('body[data-ready=yes]').wait_for()
    yield tab
    assert not wrong
    assert asked and all(url.startswith((only or address, 'blob:')) for url in asked)
    context.close()


def choose(tab, *files: Path) -> None:
    """Choose both images by their file fields."""
    for kind, file in zip(('first', 'second'), files):
        tab.locator(f'#file-{kind}').set_input_files(file)
        tab.locator(f'#drop-{kind} .name', has_text=Path(file).name).wait_for()


def fuse(tab) -> None:
    """Fuse, and wait for the result."""
    tab.locator('#fuse:enabled').click()
    tab.locator('#result:not([hidden])').wait_for()


def png_pair(folder: Path, size: Tuple[int, int] = (40, 56), gray: bool = False) -> Tuple[Path, Path]:
    """Two smooth pictures as png files, the first in color."""
    y, x = np.mgrid[: size[0], : size[1]]
    planes = [127 + 120 * np.sin(x / (9 + part)) * np.cos(y / 8) for part in range(3)]
    files = folder / 'visible.png', folder / 'infrared.png'
    cv2.imwrite(str(files[0]), (planes[0] if gray else np.stack(planes, -1)).astype(np.uint8))
    cv2.imwrite(str(files[1]), (255 - planes[2]).astype(np.uint8))
    return files
