"""docs/review.md names every queue, every reason to reject and every column of the gold set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from exegete.review.gold import COLUMNS, FORMS
from exegete.review.queue import LIMIT, Which
from exegete.review.record import REASONS

PAGE = (Path(__file__).parents[2] / "docs" / "review.md").read_text(encoding="utf-8")


def test_queues_and_reasons() -> None:
    """Each has its row, or is named."""
    queues = re.findall(r"^\| `(\w+)` \| ", PAGE, flags=re.M)
    assert sorted(queues) == sorted(get_args(Which))
    assert all(f"`{reason}`" in PAGE for reason in REASONS)
    assert f"It holds {LIMIT:,} cards at most" in PAGE


def test_columns_of_the_gold_set() -> None:
    """In the order they are written in, and the forms there are."""
    section = PAGE.split("## The gold set")[1]
    rows = re.findall(r"^\| ([a-z_, ]+) \| ", section, flags=re.M)
    named = [name for row in rows for name in row.split(", ") if name != "column"]
    assert sorted(named) == sorted(COLUMNS)
    assert f"--format {'|'.join(FORMS)}" in section
