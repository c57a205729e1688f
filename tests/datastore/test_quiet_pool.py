"""Similarity of quiet contexts to what a feature fires on, against a literal sum."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from exegete.datastore.quiet_pool import QuietPool
from exegete.datastore.records import Unit
from exegete.datastore.strip import Strip
from exegete.datastore.words import Vocabulary

WORDS = st.sampled_from([" a", " A", "b", " c", " ", "...", " d", "Σ", "7"])
TEXTS = st.lists(st.lists(WORDS, min_size=1, max_size=6), min_size=1, max_size=8)


def strip_of(vocabulary: Vocabulary, texts: list[list[str]], unit: Unit) -> Strip:
    """Contexts, cut into units."""
    codes = vocabulary.encode([token for tokens in texts for token in tokens])
    lengths = np.asarray([len(tokens) for tokens in texts], dtype=np.int64)
    strip = Strip(vocabulary, unit)
    strip.add(range(len(texts)), [f"d{i}" for i in range(len(texts))], lengths, codes)
    return strip


def pool_of(texts: list[list[str]], unit: Unit = "token") -> QuietPool:
    return QuietPool(strip_of(Vocabulary(), texts, unit))


def key(word: str) -> str:
    return word.strip().lower()


def similar(pool: QuietPool, query: dict[str, float], silent: NDArray[np.bool_]) -> list[tuple[int, str]]:
    """Rows and the units that contributed most, of a query by name."""
    weights = np.asarray([query.get(key, 0.0) for key in pool.keys])
    rows, places = pool.similar(weights, silent, 100)
    return [(row, pool.keys[place]) for row, place in zip(rows.tolist(), places.tolist(), strict=True)]


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
    found = similar(pool_of(texts), query, silent)
    assert {row for row, _ in found} == set(expected)
    totals = [sum(expected[row].values()) / math.sqrt(len(texts[row])) for row, _ in found]
    assert all(a >= b - 1e-12 for a, b in pairwise(totals))
    for row, unit in found:
        assert expected[row][unit] == pytest.approx(max(expected[row].values()))


def queried(pool: list[list[str]], texts: list[list[str]], activations: list[float]) -> dict[str, float]:
    """The query of whole contexts, by name."""
    vocabulary = Vocabulary()
    found = QuietPool(strip_of(vocabulary, pool, "word"))
    strip, n = strip_of(vocabulary, texts, "word"), len(texts)
    cut = strip.cut(np.arange(n), np.zeros(n, dtype=np.int64), None)
    query = found.query(cut, np.asarray(activations, dtype=np.float32))
    return dict(zip(found.keys, query.tolist(), strict=True))


def test_query() -> None:
    """A unit weighs its share of the peak, averaged over windows; one that only stands near, a tenth."""
    texts, activations = [[" Bank", " of"], ["bank", " the", " new"]], [4.0, 1.0, 2.0, 0.0, 0.0]
    found = queried([[" The", " bank"], [" of", "!", " else"]], texts, activations)
    assert found == pytest.approx({"bank": 1.0, "else": 0.0, "of": 0.125, "the": 0.05})
    assert queried([["a"]], [], []) == {"a": 0.0}


def test_words_of_several_tokens() -> None:
    """They are compared as the words they make, in windows and in the pool, and stand where they begin."""
    texts = [[" a", " em", "bed", " b", " Em", "bed"], [" em", " bed"]]
    found = queried(texts, [[" the", " Em", "bed"]], [0.0, 3.0])
    assert found == {"a": 0.0, "b": 0.0, "bed": 0.0, "em": 0.0, "embed": 1.0}
    pool = pool_of(texts, "word")
    assert similar(pool, found, np.ones(2, dtype=bool)) == [(0, "embed")]
    place = np.full(3, pool.keys.index("embed"))
    positions = pool.occurrence(np.zeros(3, dtype=np.int64), place, np.asarray([0.0, 0.4, 0.5]))
    assert positions.tolist() == [1, 1, 4]


def test_nothing_in_common() -> None:
    """A pool that shares no unit with the query, or in which every context has it, has nothing similar."""
    silent = np.ones(2, dtype=bool)
    assert similar(pool_of([["a"], ["b"]]), {"zz": 1.0}, silent) == []
    assert similar(pool_of([["a"], ["a"]]), {"a": 1.0}, silent) == []
    assert similar(pool_of([["a"], ["b"]]), {"a": 1.0}, ~silent) == []
