"""One browser for the tests of the page."""

import pytest
from browser_tab import CHROMIUM


@pytest.fixture(scope='session')
def browser():
    """Chromium; tests that need it are skipped where it or its driver is absent."""
    sync_api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed (requirements/tests.txt)')
    if CHROMIUM is None:
        pytest.skip('no chromium')
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield browser
        browser.close()
