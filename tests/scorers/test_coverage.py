"""Intervals hold the truth about as often as they say, over simulated features and labels of known worth."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from benchmarks.coverage import Cell, measure, pooled
from benchmarks.simulated_labels import BANDS, PATTERNS, Design

DESIGNS = {20: Design(3, 6, 7, 4), 50: Design(10, 20, 12, 8), 200: Design(40, 80, 50, 30)}
FEATURES = 10
"""A pattern and label: 300 features a number of excerpts and band of labels."""


@cache
def cells(excerpts: int, band: str, method: str) -> tuple[Cell, ...]:
    """Every pattern at this number of excerpts and band of labels."""
    return tuple(
        cell
        for pattern in PATTERNS
        for cell in measure(DESIGNS[excerpts], band, pattern, FEATURES, n_draws=800, methods=(method,))
    )


def over_patterns(excerpts: int, band: str, method: str) -> Cell:
    """The same over all patterns."""
    return pooled(list(cells(excerpts, band, method)))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["r, as scored", "accuracy, as scored"])
@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("excerpts", DESIGNS)
def test_coverage(excerpts: int, band: str, method: str) -> None:
    """Nominal 95% intervals hold the truth in 95% of features, give or take 2 and the error of so many."""
    found = over_patterns(excerpts, band, method)
    error = 2 * np.sqrt(0.95 * 0.05 / (FEATURES * len(PATTERNS) * len(BANDS[band])))
    assert 0.93 - error <= found.coverage <= 0.97 + error
    assert found.low_above <= 0.035 + error  # a label accepted wrongly


@pytest.mark.slow
@pytest.mark.parametrize(("excerpts", "held"), [(20, 0.8), (50, 0.91)])
def test_why_not_a_plain_bootstrap(excerpts: int, held: float) -> None:
    """A bootstrap of a good label's excerpts holds the truth less often, though it is narrower by little."""
    plain, ours = (over_patterns(excerpts, "good", f"r, {way}") for way in ("bootstrap", "as scored"))
    assert plain.coverage < held < ours.coverage
    assert plain.low_above > 4 * ours.low_above
    assert ours.width < 2 * plain.width


@pytest.mark.slow
@pytest.mark.parametrize("band", BANDS)
def test_no_pattern_is_left_behind(band: str) -> None:
    """At 50 excerpts every way to fire has a coverage of 90% or more, but for the error of 50 features."""
    error = 2 * np.sqrt(0.9 * 0.1 / 50)
    for cell in cells(50, band, "r, as scored"):
        assert cell.coverage >= 0.9 - error, cell.pattern
