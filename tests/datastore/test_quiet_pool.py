"""Similarity of quiet contexts to what a feature fires on, against a literal sum."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.datastore.quiet_pool import PreparedContext, QuietPool, query_of
from exegete.datastore.records import Context, Excerpt

WORDS = st.sampled_from([" a", " A", "b", " c", " ", "...", " d", "Σ", "7"])
TEXTS = st.lists(st.lists(WORDS, min_size=1, max_size=6), min_size=1, max_size=8)


def pool_of(texts: list[list[str]]) -> QuietPool:
    return QuietPool(
        tuple(
            PreparedContext(100 - i, f"d{i}", len(words), np.arange(len(words)), tuple(words))
            for i, words in enumerate(texts)
        )
    )


def key(word: str) -> str:
    return word.strip().lower()


@settings(deadline=None)
@given(
    texts=TEXTS,
    query=st.dictionaries(
        st.sampled_from(["a", "b", "c", "d", "", "...", "zz"]), st.sampled_from([0.1, 0.5, 1.0])
    ),
    seed=st.integers(0, 99),
)
def test_similar(texts: list[list[str]], query: dict[str, float], seed: int) -> None:
    """Sum over shared units of weight · log(n / df), over √length; of silent contexts, the largest first."""
    silent = np.random.default_rng(seed).random(len(texts)) < 0.7
    sets = [{key(w) for w in words} for words in texts]
    expected = {}
    for row, own in enumerate(sets):
        gains = {
            q: weight * math.log(len(sets) / sum(q in other for other in sets))
            for q, weight in query.items()
            if q in own and any(ch.isalnum() for ch in q)
        }
        if silent[row] and sum(gains.values()) > 0:
            expected[row] = gains
    found = list(pool_of(texts).similar(query, silent))
    assert {row for row, _ in found} == set(expected)
    totals = [sum(expected[row].values()) / math.sqrt(len(texts[row])) for row, _ in found]
    assert all(a >= b - 1e-12 for a, b in pairwise(totals))
    for row, unit in found:
        assert expected[row][unit] == pytest.approx(max(expected[row].values()))


def test_query() -> None:
    """A unit weighs its share of the peak, averaged over excerpts; one that only stands near, a tenth."""

    def excerpt(number: int, words: list[str], activations: list[float]) -> Excerpt:
        return Excerpt(
            Context(number, "d", 0, tuple(words)), np.asarray(activations, dtype=np.float32), "top", 1.0
        )

    found = query_of([excerpt(1, [" Bank", " of"], [4.0, 1.0]), excerpt(2, ["bank", " the"], [2.0, 0.0])])
    assert found == pytest.approx({"bank": 1.0, "of": 0.125, "the": 0.05})
    assert query_of([]) == {}


def test_nothing_in_common() -> None:
    """A pool that shares no unit with the query, or in which every context has it, has nothing similar."""
    silent = np.ones(2, dtype=bool)
    assert list(pool_of([["a"], ["b"]]).similar({"zz": 1.0}, silent)) == []
    assert list(pool_of([["a"], ["a"]]).similar({"a": 1.0}, silent)) == []
    assert list(pool_of([["a"], ["b"]]).similar({"a": 1.0}, ~silent)) == []
