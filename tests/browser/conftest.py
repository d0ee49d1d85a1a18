import os

import pytest

from tests.browser.lab import BROWSER


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, driven by Playwright; ended with the module, since its event loop would stand in others'
    way."""
    if not BROWSER:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    alone = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses to work for root
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=alone)
        yield started
        started.close()
