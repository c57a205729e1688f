"""What is drawn on a card, as numbers from 0 to 100 for the templates' inline SVG.

A drawing is never the only place of what it shows: the numbers stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from exegete.datastore.kept import HISTOGRAM_EDGES


@dataclass(frozen=True, slots=True)
class Scale:
    """One scale that all scores of a card are drawn on."""

    low: float
    high: float = 1.0

    def place(self, value: float | None) -> float | None:
        """Where a value lies, 0 to 100; None where there is none."""
        if value is None or not math.isfinite(value):
            return None
        return round(100 * (min(max(value, self.low), self.high) - self.low) / (self.high - self.low), 2)


def scale_of(values: Sequence[float | None]) -> Scale:
    """A scale from 0, or as far below as a value lies, in quarters, to 1."""
    lowest = min((v for v in values if v is not None and math.isfinite(v)), default=0.0)
    return Scale(max(-1.0, min(0.0, math.floor(lowest * 4) / 4)))


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a histogram."""

    x: float
    width: float
    height: float
    """0 to 100, of the logarithm of how many."""
    words: str
    """From where to where, and how many."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How strongly a feature fires, on logarithmic axes."""

    bars: tuple[Bar, ...]
    low: float
    """Raw units, where the first bar begins."""
    high: float


def histogram(counts: Sequence[int]) -> Histogram | None:
    """The filled part of an evidence file's histogram; None when nothing fired.

    Args:
        counts: tokens by bin of `HISTOGRAM_EDGES`, the outer bins open.
    """
    filled = [i for i, n in enumerate(counts) if n]
    if not filled:
        return None
    first, last = filled[0], filled[-1]
    width = 100 / (last - first + 1)
    top = math.log1p(max(counts))
    bars = tuple(
        Bar(
            round((i - first) * width, 2),
            round(width * 0.9, 2),
            round(100 * math.log1p(counts[i]) / top, 1),
            f"{_edge(i - 1):.3g} to {_edge(i):.3g}: {counts[i]:,} tokens",
        )
        for i in range(first, last + 1)
        if counts[i]
    )
    return Histogram(bars, _edge(first - 1), _edge(last))


def _edge(i: int) -> float:
    """An edge by its number; the open bins begin at the first and end at the last one."""
    return float(HISTOGRAM_EDGES[min(max(i, 0), len(HISTOGRAM_EDGES) - 1)])
