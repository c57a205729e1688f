"""A real headless browser over the pages: Debian's chromium, or whichever chrome there is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
HERE = ("http://127.0.0.1:", "data:", "blob:", "file:")
"""Where pages may ask for anything."""


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


@contextmanager
def watched(browser: Browser, *excused: str) -> Iterator[tuple[Page, list[str]]]:
    """A page of its own, and what went wrong on it: errors, refused scripts, dialogs, requests elsewhere.

    Args:
        browser: the browser.
        *excused: parts of console messages that the test means to cause.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    own = context.new_page()
    faults: list[str] = []

    def on_dialog(dialog: Dialog) -> None:
        faults.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def on_console(said: ConsoleMessage) -> None:
        if said.type == "error" and not any(part in said.text for part in excused):
            faults.append(said.text)

    def on_request(asked: Request) -> None:
        if not asked.url.startswith(HERE):
            faults.append(f"a request to {asked.url}")

    own.on("pageerror", lambda error: faults.append(f"script error: {error}"))
    own.on("dialog", on_dialog)
    own.on("console", on_console)
    own.on("request", on_request)
    yield own, faults
    context.close()


class Visits:
    """Opens pages, each in a browser profile of its own."""

    def __init__(self, browser: Browser, stack: ExitStack) -> None:
        self._browser, self._stack = browser, stack
        self.faults: list[list[str]] = []

    def __call__(self, *excused: str) -> Page:
        """A page; `excused` as for `watched`."""
        page, faults = self._stack.enter_context(watched(self._browser, *excused))
        self.faults.append(faults)
        return page


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visits]:
    """Opens pages whose errors, refused scripts and requests elsewhere fail the test."""
    with ExitStack() as stack:
        visits = Visits(browser, stack)
        yield visits
    assert [faults for faults in visits.faults if faults] == []


@pytest.fixture
def page(visit: Visits) -> Page:
    """One such page."""
    return visit()
