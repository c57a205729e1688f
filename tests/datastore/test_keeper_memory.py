"""What a keeper holds does not grow with the stream."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from exegete.datastore import partition
from exegete.datastore.keeper import Keeper
from exegete.datastore.kept import Firings, KeptContext

K_TOP, K_SAMPLE, K_QUIET, N_SLOTS = 5, (10, 10, 10), (8, 8, 8), 4


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Keeper:
    monkeypatch.setattr(partition, "PENDING", 512)
    return Keeper(N_SLOTS, np.arange(N_SLOTS), K_TOP, K_SAMPLE, K_QUIET, 0)


def feed(keeper: Keeper, first: int, n: int, size: int = 8) -> None:
    """n contexts, never seen before, in which every feature fires somewhere."""
    for at in range(first, first + n, size):
        rng = np.random.default_rng(at)
        batch = [
            KeptContext(i + 1, i % 3, f"document {i}", 0, np.zeros(32, np.int32), "x" * 100)
            for i in range(at, at + size)
        ]
        slot, row = np.divmod(np.arange(N_SLOTS * size), size)
        position = rng.integers(0, 32, N_SLOTS * size)
        value = rng.random(N_SLOTS * size).astype(np.float32) + 0.1
        keeper.add(batch, Firings(slot, row, position, value))


def test_counts_are_bounded(keeper: Keeper) -> None:
    """Kept pairs and contexts reach their bound and stay there, while contexts seen go on."""
    pairs = N_SLOTS * sum(K_TOP + k for k in K_SAMPLE)
    for stage in range(4):
        feed(keeper, stage * 3000, 3000)
        assert len(keeper.contexts) <= 1024 + 2 * (pairs + sum(K_QUIET))
    kept = keeper.finish()
    assert len(kept.pairs) <= pairs
    assert len(kept.quiet) == sum(K_QUIET)
    assert len(kept.contexts) <= pairs + sum(K_QUIET)
    assert int(kept.statistics.contexts.sum()) == 12_000


@pytest.mark.slow
def test_memory_is_bounded(keeper: Keeper) -> None:
    """A stream four times as long takes no more memory: not a kilobyte a batch, which is what a leak of
    empty arrays would cost."""
    tracemalloc.start()
    try:
        feed(keeper, 0, 1500, size=2)
        early = tracemalloc.get_traced_memory()[0]
        feed(keeper, 1500, 4000, size=2)
        late = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert late - early < 2000 * 100  # bytes; 2,000 batches
