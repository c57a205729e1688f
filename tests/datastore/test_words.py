"""From tokens to words: nothing is lost, and activations are pooled by maximum."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.datastore.words import Vocabulary, join_units, pool, unit_starts

PIECES = st.sampled_from(
    ["", " ", "a", " b", "ing", "_", "7", "-", "--", ".", "...", " (", "日", "本語", "カ", "ไทย", "é", "e",
     "\u0301", "ह", "ि", "\n", " 日", "'", "’", "🙂", "Σ"]
)  # fmt: skip
TOKENS = st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=20)


def words(*tokens: str) -> list[str]:
    return list(join_units(tokens, unit_starts(tokens, "word")))


@given(TOKENS)
def test_round_trip(tokens: list[str]) -> None:
    """Units, joined, are the tokens, joined; a token is never cut in two."""
    for unit in ("word", "token"):
        starts = unit_starts(tokens, unit)
        assert "".join(join_units(tokens, starts)) == "".join(tokens)
        assert len(join_units(tokens, starts)) == len(starts)
        assert starts.tolist() == sorted(set(starts.tolist()))
        assert starts.tolist()[:1] == [0][: len(tokens)]


@given(TOKENS)
def test_tokens_are_units(tokens: list[str]) -> None:
    """As tokens, every token is a unit of its own."""
    assert list(join_units(tokens, unit_starts(tokens, "token"))) == tokens


@given(TOKENS)
def test_words_begin_at_spaces(tokens: list[str]) -> None:
    """No token that begins with whitespace goes on a word."""
    starts = set(unit_starts(tokens, "word").tolist())
    assert {i for i, token in enumerate(tokens) if token[:1].isspace()} <= starts


@given(TOKENS, st.integers(0, 2**32 - 1))
def test_pooling(tokens: list[str], seed: int) -> None:
    """A word's activation is the largest of its tokens', found by a plain loop."""
    activations = np.random.default_rng(seed).normal(size=len(tokens)).astype(np.float32)
    starts = unit_starts(tokens, "word")
    edges = [*starts.tolist(), len(tokens)]
    expected = [max(activations[a:b].tolist()) for a, b in pairwise(edges) if starts.size]
    assert pool(activations, starts).tolist() == expected
    assert pool(activations, starts).dtype == np.float32


@given(st.lists(st.lists(TOKENS, max_size=4), max_size=3))
def test_many_contexts_at_once(batches: list[list[list[str]]]) -> None:
    """Contexts cut as numbers, whichever texts were met before, are cut as each by itself."""
    vocabulary = Vocabulary()
    for contexts in batches:
        codes = vocabulary.encode([token for tokens in contexts for token in tokens])
        lengths = np.asarray([len(tokens) for tokens in contexts], dtype=np.int64)
        begins = vocabulary.begins(codes, lengths)
        assert len(begins) == sum(lengths)
        for tokens, end in zip(contexts, np.cumsum(lengths).tolist(), strict=True):
            own = slice(end - len(tokens), end)
            assert vocabulary.texts[codes[own]].tolist() == tokens
            assert np.flatnonzero(begins[own]).tolist() == unit_starts(tokens, "word").tolist()


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([" un", "interest", "ing", " (", "very", ")"], [" uninteresting", " (", "very", ")"]),
        (["the", " em", "bed", "ding", "s", "."], ["the", " embeddings", "."]),
        (["self", ".", "x", "_", "1"], ["self", ".", "x_1"]),
        (["don", "'", "t"], ["don", "'", "t"]),
        (["----", "---", "-"], ["--------"]),
        ([".", ".", ".", "!"], ["...", "!"]),
        ([" -", "-", " -"], [" --", " -"]),
        (["日", "本", "語", "は"], ["日", "本", "語", "は"]),
        (["日本", "語"], ["日本", "語"]),
        (["カ", "カ"], ["カ", "カ"]),
        (["ab", "日"], ["ab", "日"]),
        (["€", "", "", "5"], ["€", "5"]),
        (["na", "\u0308", "ive"], ["na\u0308ive"]),
        ([" हि", "न्", "दी"], [" हिन्दी"]),
        (["a ", "b"], ["a ", "b"]),
        (["a", "\n", "\n", "b"], ["a", "\n", "\n", "b"]),
        (["x", "", " y"], ["x", " y"]),
        (["Stra", "ße", "n"], ["Straßen"]),
    ],
)
def test_cases(tokens: list[str], expected: list[str]) -> None:
    """Pieces of words are joined; marks, and scripts without spaces, are not; repeated marks are one unit."""
    assert words(*tokens) == expected


def test_nothing() -> None:
    """No tokens are no units."""
    assert unit_starts([], "word").tolist() == []
    assert join_units([], unit_starts([], "word")) == ()
    assert pool(np.zeros(0, dtype=np.float32), unit_starts([], "word")).tolist() == []
