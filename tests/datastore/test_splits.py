"""Dealing documents to splits."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from exegete.datastore.records import SPLITS
from exegete.datastore.splits import SHARES, split_of


@given(st.text(max_size=20), st.integers(-(2**70), 2**70))
def test_a_document_has_one_split(document: str, seed: int) -> None:
    """The same document and seed give the same split, on every call."""
    assert split_of(document, seed) == split_of(document, seed)
    assert split_of(document, seed) in SPLITS


def test_pinned() -> None:
    """Splits never change with a version: what was held out stays held out."""
    assert [split_of(f"doc{i}", 0) for i in range(8)] == [
        "refine", "explain", "explain", "refine", "report", "explain", "report", "refine",
    ]  # fmt: skip


@pytest.mark.parametrize("shares", [SHARES, (0.8, 0.1, 0.1), (0.0, 0.5, 0.5), (0.2, 0.3, 0.5)])
@pytest.mark.parametrize("seed", [0, 1])
def test_shares(shares: tuple[float, float, float], seed: int) -> None:
    """Documents fall into splits in the asked proportions, and never into one of share 0."""
    n = 20_000
    counts = Counter(split_of(f"d{i}", seed, shares) for i in range(n))
    for split, share in zip(SPLITS, shares, strict=True):
        if share == 0.0:
            assert counts[split] == 0
        else:
            assert stats.binomtest(counts[split], n, share).pvalue > 0.001


def test_seeds_deal_anew() -> None:
    """Another seed's deal is independent of the first (chi-square of the two deals)."""
    table = Counter((split_of(f"d{i}", 0), split_of(f"d{i}", 1)) for i in range(8000))
    observed = [[table[a, b] for b in SPLITS] for a in SPLITS]
    assert stats.chi2_contingency(observed).pvalue > 0.001
