"""A label's scores, made ready to be drawn one under the other on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exegete import scorers
from exegete.errors import UsageError
from exegete.review.pages.drawings import Scale, scale_of
from exegete.scorers.verdict import decimals

_THRESHOLD = 0.5
"""Of a job that was not told another one."""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One score: its numbers, and where they lie on the scale (0 to 100)."""

    name: str
    version: str
    words: str
    chance_words: str
    p: str
    bar_words: str
    """The value it is to clear; "" where there is none."""
    read: str
    """How many excerpts of how many."""
    why_none: str
    at: float | None
    low: float | None
    high: float | None
    chance: float | None
    bar: float | None

    @property
    def spoken(self) -> str:
        """All of it for a screen reader, in the drawing's place."""
        bar = f"; to clear {self.bar_words}" if self.bar_words else ""
        return f"{self.name} {self.words}; by chance {self.chance_words}{bar}"


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """All scores of a card."""

    rows: tuple[ScoreRow, ...]
    ticks: tuple[tuple[float, str], ...]
    """Places on the scale and what stands there."""


def score_table(
    scores: Sequence[Mapping[str, Any]],
    row: Mapping[str, Any],
    parameters: Mapping[str, Any] | None,
    threshold: float | None,
) -> ScoreTable:
    """Scores of a card on one scale.

    Args:
        scores: of the current label on the report split; where there are none, the row's own is shown.
        row: of the view `labels`.
        parameters: of the run, which say the threshold it began with.
        threshold: that was set for it since.
    """
    known = list(scores) or ([_own(row)] if row["scorer"] else [])
    scale = scale_of([s[name] for s in known for name in ("value", "low", "chance")])
    if threshold is None:
        threshold = float((parameters or {}).get("threshold", _THRESHOLD))
    rows = tuple(
        _row(s, scale, threshold if s["scorer"] == row["scorer"] else _bar(s["scorer"])) for s in known
    )
    values = [scale.low + i * 0.25 for i in range(round((scale.high - scale.low) * 4) + 1)]
    ticks = tuple((place, decimals(v)) for v in values if (place := scale.place(v)) is not None)
    return ScoreTable(rows, ticks)


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A score with its interval: ".62 [.51, .71]"; "–" when missing."""
    if value is None:
        return "–"
    if low is None or high is None:
        return decimals(value)
    return f"{decimals(value)} [{decimals(low)}, {decimals(high)}]"


def number(value: float | None) -> str:
    """A score in two decimals; "–" when missing."""
    return "–" if value is None else decimals(value)


def small(value: float | None) -> str:
    """A p- or q-value: ".012", "<.001"; "–" when missing."""
    if value is None:
        return "–"
    return "<.001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def _row(score: Mapping[str, Any], scale: Scale, bar: float | None) -> ScoreRow:
    name, _, version = str(score["scorer"]).partition("@")
    asked = score.get("n_asked")
    return ScoreRow(
        name,
        version,
        interval(score["value"], score["low"], score["high"]),
        number(score["chance"]),
        small(score["p_value"]),
        "" if bar is None else decimals(bar),
        "" if asked is None else f"{score['n_read']} of {asked}",
        score.get("why_none") or "",
        scale.place(score["value"]),
        scale.place(score["low"]),
        scale.place(score["high"]),
        scale.place(score["chance"]),
        scale.place(bar),
    )


def _own(row: Mapping[str, Any]) -> dict[str, Any]:
    """The score that the view `labels` has, as a row of scores."""
    return {"value": row["score"]} | {k: row[k] for k in ("scorer", "low", "high", "chance", "p_value")}


def _bar(scorer: str) -> float | None:
    try:
        return scorers.bar(scorer.partition("@")[0])
    except UsageError:  # one of a package that is not installed here
        return None
