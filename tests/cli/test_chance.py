"""What a run was held against, in words."""

from __future__ import annotations

from typing import Any

import pytest

from exegete.cli.chance import COLUMNS, chance_in_words, judged_in_words, nulls_left_in_words

EMPTY: dict[str, Any] = dict.fromkeys((*COLUMNS, "attempted", "unscored", "asked", "missing"))
MEASURED = EMPTY | {
    **{"nulls_wanted": 300, "nulls_done": 300, "null_n": 100, "null_mean": 0.031, "null_p95": 0.149},
    **{"null_accepted": 0.02, "empty_n": 0, "lexical_n": 90, "lexical_mean": 0.41, "lexical_p95": 0.7},
}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {},
            "chance: another feature's label reaches .03 on average (95% below .15; 2 of 100 would have been "
            "accepted), the empty label has no score, lexical labels .41",
        ),
        (
            {"lexical_n": 0, "empty_n": 80, "empty_mean": -0.004},
            "chance: another feature's label reaches .03 on average (95% below .15; 2 of 100 would have been "
            "accepted), the empty label .00",
        ),
        (
            {"null_n": 0, "null_mean": None, "null_p95": None, "null_accepted": None, "lexical_n": 0},
            "chance: no other feature's label has a score, the empty label has no score",
        ),
        (
            {"nulls_wanted": 0, "nulls_done": None},
            "chance: of so few features none was scored with another's label",
        ),
        ({"nulls_done": None}, None),
        ({"nulls_wanted": None, "nulls_done": None}, None),
    ],
)
def test_chance(changed: dict[str, Any], said: str | None) -> None:
    """Each kind with its figures; a kind without a score is said to have none, and none is made up."""
    assert chance_in_words(MEASURED | changed) == said


def test_what_is_left() -> None:
    """Nulls that are wanted and not there; nothing before they are wanted, and nothing when all are there."""
    assert nulls_left_in_words(MEASURED) is None
    assert nulls_left_in_words(EMPTY) is None
    left = nulls_left_in_words(MEASURED | {"nulls_done": None})
    assert left == "nulls: 0 of 300 scored: run the same command to go on"
    left = nulls_left_in_words(MEASURED | {"nulls_wanted": 1500, "nulls_done": 1200})
    assert left == "nulls: 1,200 of 1,500 scored: run the same command to go on"


def test_judgements() -> None:
    """What was asked for and is missing, and features without a score."""
    assert judged_in_words(EMPTY) is None
    row = EMPTY | {"asked": 9000, "missing": 12, "unscored": 3, "attempted": 128}
    assert judged_in_words(row) == (
        "judged on 9,000 excerpts of the report split, 12 of them missing; 3 of 128 features without a score"
    )
