"""Windows of contexts that are laid end to end: as each would be cut by itself, whenever it was added."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.datastore.records import Unit
from exegete.datastore.strip import Strip, smallest
from exegete.datastore.words import Vocabulary, join_units, pool, unit_starts

TOKENS = st.lists(st.sampled_from([" a", " em", "bed", "s", "", ".", " ", "7"]), min_size=1, max_size=9)
BATCHES = st.lists(st.lists(TOKENS, min_size=1, max_size=3), min_size=1, max_size=3)


def add(strip: Strip, contexts: list[list[str]]) -> None:
    codes = strip.vocabulary.encode([token for tokens in contexts for token in tokens])
    lengths = np.asarray([len(tokens) for tokens in contexts], dtype=np.int64)
    ids = range(len(strip), len(strip) + len(contexts))
    strip.add(ids, [f"d{i}" for i in ids], lengths, codes)


@settings(deadline=None)
@given(BATCHES, st.sampled_from(["word", "token"]), st.integers(0, 999), st.integers(1, 12))
def test_windows(batches: list[list[list[str]]], unit: Unit, seed: int, window: int) -> None:
    """A window is the fewest whole units around its tokens, each as strong as the strongest of its tokens."""
    rng = np.random.default_rng(seed)
    strip = Strip(Vocabulary(), unit)
    for batch in batches:
        add(strip, batch)
        strip.cut(np.arange(len(strip)), np.zeros(len(strip), dtype=np.int64), 2)  # some words are asked for
    contexts = [tokens for batch in batches for tokens in batch]
    if rng.random() < 0.5:
        gone = int(rng.integers(0, len(contexts)))
        strip, contexts = strip.recut(unit, gone), contexts[gone:]
    rows = rng.integers(0, len(contexts), 4)
    first = rng.integers(-3, 12, 4)
    fires = [rng.random(len(contexts[row])) < 0.4 for row in rows]
    values = [rng.random(len(own)).astype(np.float32) * own for own in fires]
    cut = strip.cut(rows, first, window)
    pooled = strip.pooled(
        cut,
        np.asarray([own.sum() for own in fires]),
        np.concatenate([np.flatnonzero(own) for own in fires]),
        np.concatenate([value[own] for value, own in zip(values, fires, strict=True)]),
    )
    parts = cut.parts(pooled)
    for row, at, value, context, part in zip(rows, first, values, cut.contexts, parts, strict=True):
        tokens = contexts[row]
        starts = unit_starts(tokens, unit)
        low = min(max(at, 0), max(0, len(tokens) - window))
        a = int(np.flatnonzero(starts <= low)[-1])
        b = int(np.searchsorted(starts, min(low + window, len(tokens))))
        assert context.tokens == join_units(tokens, starts)[a:b]
        assert context.start == starts[a]
        assert part.tolist() == pool(value, starts)[a:b].tolist()


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), max_size=9), st.integers(0, 12))
def test_smallest(values: list[float], n: int) -> None:
    """The first of a stable sort."""
    found = smallest(np.asarray(values, dtype=np.float64), n)
    assert found.tolist() == sorted(range(len(values)), key=values.__getitem__)[:n]
