"""docs/scorers.md names every scorer of ours, with the bar it has beside another."""

from __future__ import annotations

import re
from pathlib import Path

from exegete import scorers

PAGE = (Path(__file__).parents[2] / "docs" / "scorers.md").read_text(encoding="utf-8")


def test_the_table_has_every_scorer_and_its_bar() -> None:
    """One row a scorer, in the order they are listed in, with the bar its class states."""
    table = PAGE.partition("## When")[0]
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\.\d+) \| [^|]* \|$", table, re.MULTILINE)
    assert [(name, float(bar)) for name, bar in rows] == [
        (name, scorers.bar(name)) for name in scorers.SCORERS
    ]


def test_each_is_explained() -> None:
    """And a paragraph each says when to trust it."""
    assert re.findall(r"^- \*\*(\w+)\*\*", PAGE, re.MULTILINE) == list(scorers.SCORERS)
