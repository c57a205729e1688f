"""A real headless browser over the pages: Debian's chromium, or whichever chrome there is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


@pytest.fixture(scope="module")  # longer, and its event loop would be in the way of tests that run their own
def browser() -> Iterator[Browser]:
    """A browser that is there already; nothing is downloaded."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no browser: none of chromium, chromium-browser, google-chrome is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Root has no use for the sandbox; a container's /dev/shm is small.
        own = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield own
        own.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of its own, whose errors, refused scripts and requests elsewhere fail the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    own = context.new_page()
    faults: list[str] = []
    own.on("pageerror", lambda error: faults.append(f"script error: {error}"))
    own.on("dialog", lambda dialog: (faults.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
    own.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    own.on(
        "request",
        lambda asked: (
            None
            if asked.url.startswith(("http://127.0.0.1:", "data:", "blob:", "file:"))
            else faults.append(f"a request to {asked.url}")
        ),
    )
    yield own
    context.close()
    assert faults == []
