"""The page of `exegete sql --ui` in a real browser: served by the command, plotted, and usable by all."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.datastore.labelled import write_workspace

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the command serves a small workspace; Ctrl-C ends it without a word."""
    space = write_workspace(tmp_path_factory.mktemp("ui") / "w", evidence=False)
    command = [str(Path(sys.executable).with_name("exegete")), "sql", "--ui", "--no-open", "--port", "0"]
    serving = subprocess.Popen(
        [*command, "-w", str(space.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert serving.stdout is not None
    found = re.match(r"(http://127\.0\.0\.1:\d+/) until Ctrl-C", serving.stdout.readline())
    assert found is not None, serving.communicate()
    yield found[1]
    serving.send_signal(signal.SIGINT)
    _, err = serving.communicate(timeout=30)
    assert "Traceback" not in err


def test_query_and_plot(page: Page, address: str) -> None:
    """Ctrl+Enter runs a query, every kind of plot is drawn from its rows, and no policy is broken."""
    page.goto(address)
    page.fill(
        "#sql", "SELECT density, score, '<b>' || label || '<img src=x onerror=alert(1)>' AS x FROM labels"
    )
    page.press("#sql", "Control+Enter")
    page.wait_for_selector("#count")
    drawn = {"scatter": ".point", "line": ".js-line", "bar": ".bars", "histogram": ".bars"}
    for kind, x in (("scatter", "0"), ("line", "0"), ("bar", "2"), ("histogram", "1")):
        page.select_option("#plot-kind", kind)
        page.select_option("#plot-x", x)
        page.click("#plot-form button")
        page.wait_for_selector(f"#plot .main-svg {drawn[kind]}", state="attached")
        assert page.locator("#plot").bounding_box()["height"] > 300  # type: ignore[index]
    assert page.locator("#plot-said").inner_text().startswith("5 rows plotted, 1 without a value")
    assert page.locator("#plot img, td img").count() == 0


def test_columns_write_themselves(page: Page, address: str) -> None:
    """A click on a column puts its name where the cursor is."""
    page.goto(address)
    page.fill("#sql", "SELECT ")
    page.get_by_role("button", name="feature_index", exact=True).first.click()
    assert page.input_value("#sql") == "SELECT feature_index"


def test_everybody_can_use_it(page: Page, address: str) -> None:
    """axe finds nothing serious in a page with a result, and a screen of 320 pixels is wide enough."""
    from axe_playwright_python.sync_playwright import Axe

    page.set_viewport_size({"width": 320, "height": 700})
    page.goto(address)
    page.fill("#sql", "SELECT * FROM labels")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_selector("#count")
    found = Axe().run(page).response["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    heights = page.evaluate("[...document.querySelectorAll('th')].map((cell) => cell.clientHeight)")
    assert max(heights) < 45  # each name on one line
