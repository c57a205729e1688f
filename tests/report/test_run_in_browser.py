"""The page of a run in a real browser: drawn, harmless, readable by everyone, and fit for paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.report import RUN, fill
from exegete.datastore.workspace import Workspace
from exegete.report.run.page import write_report
from tests.browser.conftest import browser, page, visit
from tests.report.hostile import EVIL, poison

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["browser", "page", "visit"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of a plain run of few features, and then one in which all text is hostile."""
    root = tmp_path_factory.mktemp("pages")
    space = Workspace.open_or_create(root / "space")
    fill(space, 9)
    plain = write_report(space, RUN, root / "plain.html")[1]
    poison(space, EVIL)
    return {"plain": plain, "hostile": write_report(space, RUN, root / "hostile.html")[1]}


def drawn(page: Page) -> int:
    """Plots that have a drawing in them."""
    return int(page.locator(".plot .main-svg:first-child").count())


def test_it_draws_in_light_and_dark_and_narrow(page: Page, places: dict[str, Path]) -> None:
    """All plots are drawn without a refused script, and the page is never wider than the window."""
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 400)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(places["plain"].as_uri())
        assert drawn(page) == page.locator(".plot").count() >= 13
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink = page.locator("#plot-statuses text").first.evaluate("e => getComputedStyle(e).fill")
    page.emulate_media(color_scheme="dark")
    assert page.locator("#plot-statuses text").first.evaluate("e => getComputedStyle(e).fill") != ink


def test_nothing_hostile_runs(page: Page, places: dict[str, Path]) -> None:
    """Markup in labels, words and names is text, on the page and in its plots."""
    page.goto(places["hostile"].as_uri())
    assert drawn(page) == page.locator(".plot").count()
    assert page.evaluate("window.evil") is None
    assert page.locator("main img, main b >> text=7*7").count() == 0
    assert page.locator("a[href^=javascript]").count() == 0
    assert "<img src=x" in page.locator("#labels").inner_text()


def test_axe_finds_nothing_serious(page: Page, places: dict[str, Path]) -> None:
    """No serious or critical barrier; in the dark, whose structure is the same, contrast is enough."""
    from axe_playwright_python.sync_playwright import Axe

    page.goto(places["plain"].as_uri())
    violations = Axe().run(page).response["violations"]
    page.emulate_media(color_scheme="dark")
    some = {"include": [[".findings"], ["#outcomes"], ["#best ~ article"]]}
    contrast = {"runOnly": ["color-contrast"]}
    violations += Axe().run(page, context=some, options=contrast).response["violations"]
    assert [(v["id"], len(v["nodes"])) for v in violations if v["impact"] in ("serious", "critical")] == []


def test_it_fits_on_paper(page: Page, places: dict[str, Path]) -> None:
    """Printed, plots are as wide as the paper, dark ink on white, and nothing is cut off."""
    page.emulate_media(color_scheme="dark")
    page.goto(places["plain"].as_uri())
    page.set_viewport_size({"width": 690, "height": 900})
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.scrollWidth") <= 690
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.locator("nav").is_hidden()
    widths = page.locator(".plot .main-svg:first-child").evaluate_all("all => all.map(e => e.clientWidth)")
    assert max(widths) <= 690
    assert page.pdf(format="A4").startswith(b"%PDF")
