"""What a harvest says of how far it is."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from exegete.cli import harvest_bar as bars
from exegete.cli.harvest_bar import Pace, harvest_bar
from exegete.subjects.spec import Progress


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(bars, "time", made)
    return made


def test_pace(clock: Clock) -> None:
    """The rate is the last minute's, and the time left goes with it, however what is expected changes."""
    pace = Pace()
    assert pace.see(Progress("harvesting", 1000)) == ("", "")
    clock.now += 10
    assert pace.see(Progress("harvesting", 21_000)) == ("2,000/s", "")
    clock.now += 10
    assert pace.see(Progress("harvesting", 41_000, 161_000)) == ("2,000/s", "about 0:01:00 left")
    clock.now += 10
    assert pace.see(Progress("harvesting", 61_000, 7_261_000)) == ("2,000/s", "about 1:00:00 left")
    for _ in range(12):  # a minute and more at half the rate: what was before is forgotten
        clock.now += 10
        found = pace.see(Progress("harvesting", 61_000 + round(1000 * (clock.now - 130)), 211_000))
    assert found == ("1,000/s", "about 0:00:30 left")


def test_stages(clock: Clock) -> None:
    """Each stage has a pace of its own: the sample's tokens are counted again when they are harvested."""
    pace = Pace()
    pace.see(Progress("calibrating", 0))
    clock.now += 10
    assert pace.see(Progress("calibrating", 30_000))[0] == "3,000/s"
    assert pace.see(Progress("harvesting", 4_000, 8_000)) == ("", "")
    clock.now += 1
    assert pace.see(Progress("harvesting", 8_000, 8_000)) == ("4,000/s", "about 0:00:00 left")


def test_a_terminal(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line has the tokens, their rate and the time left."""
    screen = io.StringIO()
    monkeypatch.setattr(bars, "err", Console(file=screen, force_terminal=True, width=100))
    with harvest_bar() as (_, on_progress):
        for tokens in (1000, 3000, 5000):
            clock.now += 1
            on_progress(Progress("harvesting", tokens, 3_605_000 + tokens % 7))
    assert "5,000 tokens  2,000/s" in screen.getvalue()
    assert "about 0:30:00 left" in screen.getvalue()


def test_where_nobody_looks(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a terminal the log has the same, once a minute."""
    monkeypatch.setattr(bars, "err", Console(file=io.StringIO(), force_terminal=False))
    with caplog.at_level(logging.INFO, logger=bars.__name__), harvest_bar() as (_, on_progress):
        for second in range(125):
            clock.now = 100.0 + second
            on_progress(Progress("harvesting", 1000 * second, 1_124_000))
    assert [record.getMessage() for record in caplog.records] == [
        "harvesting: 60,000 tokens, 1,000/s, about 0:17:44 left",
        "harvesting: 120,000 tokens, 1,000/s, about 0:16:44 left",
    ]
