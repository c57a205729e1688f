"""docs/verdicts.md names everything that a verdict can say."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from exegete.agent.independence import Kind
from exegete.datastore.records import STATUSES
from exegete.scorers.triangulation import SENTENCES

PAGE = (Path(__file__).parents[2] / "docs" / "verdicts.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*STATUSES, *SENTENCES, *get_args(Kind)])
def test_every_value_has_a_row(name: str) -> None:
    """Statuses, reasons and kinds of independence are rows of its tables, by their very names."""
    assert f"\n| `{name}` |" in PAGE


def test_nothing_is_named_that_is_not_there() -> None:
    """A row's name is a value of one of them."""
    rows = [line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted([*STATUSES, *SENTENCES, *get_args(Kind)])
