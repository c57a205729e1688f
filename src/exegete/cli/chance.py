"""What a run's labels were held against, in words: its nulls, and who judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exegete.agent.saved import saved_by
from exegete.datastore.store import Store
from exegete.scorers.verdict import decimals

COLUMNS = (
    *("nulls_wanted", "nulls_done", "null_n", "null_mean", "null_p95", "null_accepted"),
    *("empty_n", "empty_mean", "empty_p95", "lexical_n", "lexical_mean", "lexical_p95"),
)
"""Columns of the view `runs` that say what nulls reach."""
_JUDGED = ("attempted", "unscored", "asked", "missing")


def chance_of(store: Store, run: str) -> dict[str, Any]:
    """What a run's nulls reach and what of its judgements is missing, by the columns of the view `runs`."""
    found = store.read(f"SELECT {', '.join((*_JUDGED, *COLUMNS))} FROM runs WHERE run = ?", [run])
    return found[0]


def independence_of(store: Store, run: str) -> str | None:
    """How independent a run's judge is of its explainer; None before it has a label."""
    found = store.read(
        "SELECT any_value(independence) AS found FROM outcomes WHERE run = ? AND label IS NOT NULL", [run]
    )
    return found[0]["found"] if found else None


def chance_in_words(row: Mapping[str, Any]) -> str | None:
    """A sentence on what other labels reach; None when a run has no nulls, or none yet."""
    if row["nulls_wanted"] == 0:
        return "chance: of so few features none was scored with another's label"
    if not row["nulls_done"]:
        return None
    parts = []
    if row["null_n"]:
        accepted = round(row["null_n"] * (row["null_accepted"] or 0.0))
        parts.append(
            f"another feature's label reaches {decimals(row['null_mean'])} on average (95% below "
            f"{decimals(row['null_p95'])}; {accepted:,} of {row['null_n']:,} would have been accepted)"
        )
    else:
        parts.append("no other feature's label has a score")
    parts.append(f"the empty label {_mean(row, 'empty')}")
    if row["lexical_n"]:
        parts.append(f"lexical labels {decimals(row['lexical_mean'])}")
    return f"chance: {', '.join(parts)}"


def judged_in_words(row: Mapping[str, Any]) -> str | None:
    """A sentence on what of a run's report scores is missing; None before the first."""
    if not row["asked"]:
        return None
    missing = f"{row['missing']:,} of them missing" if row["missing"] else "none missing"
    return (
        f"judged on {row['asked']:,} excerpts of the report split, {missing}; "
        f"{row['unscored']:,} of {row['attempted']:,} features without a score"
    )


def saved_in_words(store: Store, run: str) -> str | None:
    """A sentence on what stopping early saved; None of a run that does not stop early."""
    saved = saved_by(store, run)
    if saved is None or not saved.planned:
        return None
    tokens = "" if saved.tokens is None else f", about {saved.tokens:,} tokens"
    return (
        f"stopped early: {saved.planned - saved.asked:,} of {saved.planned:,} excerpts were not needed for a "
        f"verdict{tokens}"
    )


def nulls_left_in_words(row: Mapping[str, Any]) -> str | None:
    """A sentence on nulls that a run still is to have; None when there are none."""
    wanted, done = row["nulls_wanted"] or 0, row["nulls_done"] or 0
    if done >= wanted:
        return None
    return f"nulls: {done:,} of {wanted:,} scored: run the same command to go on"


def _mean(row: Mapping[str, Any], kind: str) -> str:
    return decimals(row[f"{kind}_mean"]) if row[f"{kind}_n"] else "has no score"
