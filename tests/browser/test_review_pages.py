"""The pages themselves: hostile text in all of them, and everybody can use them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from exegete.report.run.page import write_report
from exegete.review.desk import Desk
from exegete.review.keys import Key
from tests.browser.conftest import watched
from tests.browser.serving import Served, hostile_workspace
from tests.review.test_app_cards import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
PAGES = (
    "/",
    "/?which=all",
    "/?which=flagged",
    "/work",
    "/calibration",
    "/keys",
    "/?which=all&search=nothing",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Hostile text wherever a person or a model can put some, the reviewer's name included."""
    space = hostile_workspace(tmp_path_factory.mktemp("pages"))
    desk, harvest = Desk(space), space.harvests()[0]
    for index, text in enumerate(HOSTILE):
        desk.save_draft(Key(harvest, index, "+"), HOSTILE[0], f"half {text}")
        desk.save_queue(text, "SELECT feature_index FROM labels", text)
    server = Served(space, HOSTILE[0])
    yield server
    server.end()


@pytest.fixture(scope="module")
def report(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the run."""
    return write_report(served.space, None, tmp_path_factory.mktemp("report") / "report.html")[1]


def test_a_fault_would_be_seen(browser: Browser, served: Served) -> None:
    """The page's policy refuses a script in the page, and what watches the page says so."""
    with watched(browser) as (page, faults):
        page.goto(served.address)
        page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), { text: 'alert(1)' }))"
        )
        page.evaluate("document.body.append(Object.assign(new Image(), { src: 'http://192.0.2.1/x' }))")
        page.wait_for_timeout(100)
    assert any("Content Security Policy" in fault and "script" in fault for fault in faults)
    assert any("192.0.2.1" in fault for fault in faults)
    assert not any(fault.startswith("a dialog") for fault in faults)


def test_hostile_text_does_nothing(page: Page, served: Served, report: Path) -> None:
    """No script of theirs runs, no policy is broken, nothing is asked of another place, and all is shown."""
    addresses = [served.address + path for path in PAGES] + [served.card(i) for i in range(20)]
    shown = ""
    for address in (*addresses, report.as_uri()):
        page.goto(address)
        shown += page.inner_text("body")
        assert page.locator("body [onload], body [onerror], body [onmouseover], body iframe").count() == 0
        page.mouse.move(300, 300)
    for text in ("<script>alert(1)</script>", "{{7*7}}", "⟨U+202E⟩evil", "&lt;b&gt;", "</textarea></script>"):
        assert text in shown
    page.goto(served.card(3))
    assert page.input_value("#edit-text") == f"half {HOSTILE[3]}"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (320, "dark")])
def test_everybody_can_use_it(
    page: Page, served: Served, report: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    """axe finds nothing serious in either scheme, and 320 pixels (a screen at 400%) are wide enough."""
    from axe_playwright_python.sync_playwright import Axe

    page.set_viewport_size({"width": width, "height": 700})
    page.emulate_media(color_scheme=scheme)
    found = []
    for name in (*PAGES, served.card(0), served.card(4), served.card(6), served.card(16), report.as_uri()):
        page.goto(name if ":" in name else served.address + name)
        if page.locator("#b-reject").count():
            page.keyboard.press("x")
        answer = Axe().run(page).response
        assert answer["passes"]
        for violation in answer["violations"]:
            if violation["impact"] in ("serious", "critical"):
                found.append((name, violation["id"], violation["nodes"][0]["html"]))
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append((name, "wider than the screen", ""))
    assert found == []
