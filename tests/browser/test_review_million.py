"""A million labelled features under the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from benchmarks.sql import fill
from exegete.datastore.workspace import Workspace
from tests.browser.serving import Served, events, feature_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def test_a_million_labels(page: Page, tmp_path: Path) -> None:
    """The queue, a search among all of them, a card, a decision and the next card all answer."""
    space = Workspace.open_or_create(tmp_path / "w")
    fill(space.labels, 1_000_000)
    with Served(space, "ann") as served:
        page.set_default_timeout(60_000)
        page.goto(f"{served.address}/?search=words+such+as+777777&which=all")
        expect(page.locator("#items .label")).to_have_text(["words such as 777777"])
        page.goto(served.address)
        expect(page.locator("#count")).to_have_text("5,000 cards or more")
        with page.expect_navigation():
            page.keyboard.press("j")
        feature = feature_of(page)
        expect(page.locator("#label")).to_have_text(f"words such as {feature}")
        with page.expect_navigation():
            page.keyboard.press("a")
        assert feature_of(page) != feature
        assert [(e["feature_index"], e["decision"]) for e in events(space)] == [(feature, "accept")]
        served.end()
