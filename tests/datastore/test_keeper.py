"""The keeper against a literal one: sets, sorting and counting, with everything in memory."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.datastore import keeper as keeper_module
from exegete.datastore import partition
from exegete.datastore.keeper import Keeper
from tests.datastore.streams import (
    Seen,
    Sizes,
    batch_of,
    context,
    keep,
    literally,
    new_keeper,
    plainly,
    random_stream,
)

SIZES = st.builds(
    Sizes,
    n_slots=st.integers(1, 4),
    top=st.integers(1, 5),
    sample=st.tuples(*[st.integers(1, 6)] * 3),
    quiet=st.tuples(*[st.integers(0, 6)] * 3),
    seed=st.integers(0, 2**62),
)


@pytest.fixture(autouse=True, scope="module")
def _impatient() -> Iterator[None]:
    """Compact every few pairs and forget every few contexts, in partitions of two slots, so that pruning
    takes part in small tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "PENDING", 8)
        patch.setattr(partition, "SLOTS", 2)
        patch.setattr(keeper_module, "_CONTEXTS", 8)
        yield


@settings(deadline=None, max_examples=120)
@given(
    sizes=SIZES,
    seed=st.integers(0, 2**32),
    n_contexts=st.integers(0, 90),
    n_ids=st.integers(1, 120),
    density=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    batch=st.integers(1, 30),
)
def test_as_literally(
    sizes: Sizes, seed: int, n_contexts: int, n_ids: int, density: float, batch: int
) -> None:
    """Top, sample, pool, documents and statistics are a literal keeper's, duplicates and ties included."""
    stream = random_stream(seed, n_contexts, n_ids, sizes.n_slots, density)
    assert plainly(keep(stream, sizes, batch), sizes.n_slots) == literally(stream, sizes)


@settings(deadline=None, max_examples=60)
@given(
    sizes=SIZES,
    seed=st.integers(0, 2**32),
    order=st.integers(),
    sizes_of=st.lists(st.integers(1, 25), min_size=1),
)
def test_order_and_batching_are_moot(sizes: Sizes, seed: int, order: int, sizes_of: list[int]) -> None:
    """Shuffled contexts in batches of any sizes leave the same state."""
    stream = random_stream(seed, 80, 60, sizes.n_slots)
    shuffled = random.Random(order).sample(stream, len(stream))
    keeper, turn = new_keeper(sizes), 0
    while shuffled:
        size = sizes_of[turn % len(sizes_of)]
        keeper.add(*batch_of(shuffled[:size]))
        shuffled, turn = shuffled[size:], turn + 1
    assert plainly(keeper.finish(), sizes.n_slots) == plainly(keep(stream, sizes, 80), sizes.n_slots)


@settings(deadline=None, max_examples=40)
@given(sizes=SIZES, seed=st.integers(0, 2**32))
def test_splits_share_nothing(sizes: Sizes, seed: int) -> None:
    """After finish, no context and no document is in two splits, and nothing kept lacks its context."""
    stream = random_stream(seed, 80, 25, sizes.n_slots)
    kept = keep(stream, sizes)
    ids = [number for _, number in kept.contexts]
    assert len(ids) == len(set(ids))
    split_of = {c.document: c.split for c, _ in stream}
    assert all(split_of[c.document] == split for (split, _), c in kept.contexts.items())
    pairs = {(int(g) % 3, int(c)) for g, c in zip(kept.pairs.group, kept.pairs.context, strict=True)}
    assert pairs | set(kept.quiet) == set(kept.contexts)


def test_a_feature_is_kept_alike_in_any_company() -> None:
    """A feature's examples depend on its key and its activations, not on the features harvested beside it."""
    stream = random_stream(4, 80, 60, 4)
    sizes = Sizes(4, 3, (5, 5, 5), (4, 4, 4))
    alone = [(c, {0: fired[2]} if 2 in fired else {}) for c, fired in stream]
    small = Keeper(1, sizes.keys[2:3], sizes.top, sizes.sample, sizes.quiet, sizes.seed)
    small.add(*batch_of(alone))
    found, expected = plainly(small.finish(), 1), literally(stream, sizes)
    for split in range(3):
        # Which duplicates are dropped across splits depends on all that is kept: compare before that.
        assert found.sampled[0, split] >= expected.sampled[2, split]
        theirs = {pair[0] for pair in expected.pairs[2, split]}
        assert {pair[0] for pair in found.pairs[0, split]} >= theirs


def test_a_duplicate_leaves_the_later_split() -> None:
    """Of one text in three splits' documents, explain keeps it; it is in no other's examples or pool."""
    stream: list[Seen] = [(context(7, split, f"d{split}"), {0: {1: 2.0}}) for split in (2, 1, 0)]
    stream += [(context(10 + split, split, f"e{split}"), {}) for split in range(3)]
    kept = plainly(keep(stream, Sizes(1, 2, (2, 2, 2), (9, 9, 9))), 1)
    assert set(kept.contexts) == {(0, 7), (0, 10), (1, 11), (2, 12)}
    assert [len(kept.pairs[0, split]) for split in range(3)] == [1, 0, 0]


def test_duplicates_that_differ() -> None:
    """Of one text with different activations, the strongest is kept, whichever came first."""
    weak: Seen = (context(7, 0, "a"), {0: {0: 1.0}})
    strong: Seen = (context(7, 0, "b"), {0: {1: 3.0}})
    for stream in ([weak, strong], [strong, weak]):
        for batch in (1, 2):
            kept = plainly(keep(stream, Sizes(1, 2, (2, 2, 2), (1, 1, 1)), batch), 1)
            assert kept.pairs[0, 0] == [(7, 3.0, ((1, 3.0),))]


def test_a_dropped_duplicate_does_not_widen_the_sample() -> None:
    """When a sampled context leaves for another split, no context that was not drawn takes its place."""
    sizes = Sizes(1, 6, (4, 4, 4), (0, 0, 0))
    report: list[Seen] = [(context(i, 2, f"r{i}"), {0: {0: float(i)}}) for i in range(1, 41)]
    drawn = literally(report, sizes).sampled[0, 2]
    moved: Seen = (context(min(drawn), 0, "e"), {0: {0: float(min(drawn))}})
    kept = plainly(keep([*report, moved], sizes), 1)
    assert kept.sampled[0, 2] == drawn - {min(drawn)}


def test_a_pool_that_nothing_fires_on() -> None:
    """Contexts that were in the pool for a while are forgotten, although no pair was ever kept."""
    stream: list[Seen] = [(context(i, i % 3, f"d{i}"), {}) for i in range(1, 300)]
    sizes = Sizes(1, 2, (2, 2, 2), (3, 3, 3))
    for batch in (1, 300):
        kept = keep(stream, sizes, batch)
        assert set(kept.contexts) == set(kept.quiet)
        assert len(kept.quiet) == 9
