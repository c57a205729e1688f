"""What a section of the page is made of: a sentence on how to read it, plots, tables, or what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exegete.scorers.verdict import decimals


class Number(str):
    """A number as it is shown: right-aligned in tables."""

    __slots__ = ()


DASH = "–"
"""What is missing, among words."""
NONE = Number(DASH)
"""What is missing, among numbers."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a caption, which says what a row is."""

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    """Cells as they are shown, numbers as `Number`."""
    pairs: bool = False
    """Whether its two columns are names and values, to be set side by side."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot, and its contents in words for who can't see it."""

    name: str
    figure: Mapping[str, Any]
    """Traces and layout, as plotly.js takes them."""
    words: str
    """Shown under it, and read out in its place."""


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the page."""

    name: str
    """Its anchor."""
    title: str
    how: str
    """How to read it, in a sentence."""
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences under it: what it shows, and what is missing and how to get it."""


def count(value: int | None) -> Number:
    """A whole number with its thousands apart."""
    return NONE if value is None else Number(f"{value:,}")


def score(value: float | None) -> Number:
    """A score in two decimals, as verdicts print them."""
    return NONE if value is None else Number(decimals(value))


def interval(value: float | None, low: float | None, high: float | None) -> Number:
    """A score with its interval: .62 [.51, .71]."""
    if value is None or low is None or high is None:
        return score(value)
    return Number(f"{decimals(value)} [{decimals(low)}, {decimals(high)}]")


def percent(value: float | None) -> Number:
    """A share in per cent, with a decimal near nothing and near all."""
    if value is None:
        return NONE
    return Number(f"{value:.1%}" if 0 < value < 0.0995 or 0.99 < value < 1 else f"{value:.0%}")


def percent_of(k: int | None, n: int | None) -> Number:
    """How many of how many, as a share; a dash of nothing."""
    return percent(k / n if k is not None and n else None)


def k_of(k: int | None, n: int | None) -> Number:
    """How many of how many, with the share: 16 of 128 (12%)."""
    if not n:
        return NONE
    return Number(f"{k or 0:,} of {n:,} ({percent((k or 0) / n)})")


def share_within(value: float, low: float | None, high: float | None) -> Number:
    """A share with its interval: 17.4% [16.5%, 18.2%]."""
    if low is None or high is None:
        return percent(value)
    return Number(f"{value:.1%} [{low:.1%}, {high:.1%}]")


def dollars(value: float | None) -> Number:
    """Dollars, with more decimals the fewer they are."""
    if value is None:
        return NONE
    return Number(f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.4f}")


def significant(value: float | None) -> Number:
    """A quantity of any size, in three significant digits, whole from a thousand on."""
    if value is None:
        return NONE
    return Number(f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}")


def duration(seconds: float) -> str:
    """A time in words: 45 s, 12 min, 7 h 30 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def plural(n: int, word: str, words: str | None = None) -> str:
    """A number with its noun: 1 label, 2 labels."""
    return f"{n:,} {word if n == 1 else words or word + 's'}"
