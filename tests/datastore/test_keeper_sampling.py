"""The sample and the pool are uniform, over seeds; and what they weigh is what there was."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from exegete.datastore import evidence_writer, partition
from exegete.datastore.keeper import Keeper
from exegete.datastore.kept import Firings, Kept, KeptContext
from tests.datastore.streams import Sizes

N_CONTEXTS, N_SEEDS = 60, 400
SIZES = Sizes(2, top=5, sample=(12, 6, 6), quiet=(12, 6, 6))


def kept_with(seed: int) -> Kept:
    """Slot 0 fires on 60 contexts of the explain split, slot 1 on every other; stronger as they go on."""
    keeper = Keeper(2, SIZES.keys, SIZES.top, SIZES.sample, SIZES.quiet, seed)
    ids, empty = np.zeros(3, dtype=np.int32), "a\x1fb\x1fc"
    for at in range(0, N_CONTEXTS, 15):
        numbers = range(at, at + 15)
        batch = [KeptContext(1000 + i, 0, f"d{i}", 0, ids, empty) for i in numbers]
        slot = np.asarray([0] * 15 + [1] * len([i for i in numbers if i % 2]))
        row = np.asarray([*range(15), *(i - at for i in numbers if i % 2)])
        keeper.add(batch, Firings(slot, row, row % 3, (at + row + 1).astype(np.float32)))
    return keeper.finish()


@pytest.fixture(scope="module")
def many() -> list[Kept]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "PENDING", 8)
        return [kept_with(seed) for seed in range(N_SEEDS)]


def uniform(counts: np.ndarray, drawn: int) -> float:
    """The p-value of counts over seeds, if each seed drew `drawn` of them without replacement.

    A context's count has the variance of a binomial, and their sum is fixed, so Pearson's statistic is
    shrunk by the factor (n - drawn) / (n - 1).
    """
    n = len(counts)
    expected = counts.sum() / n
    statistic = ((counts - expected) ** 2 / expected).sum() * (n - 1) / (n - drawn)
    return float(stats.chi2.sf(statistic, n - 1))


@pytest.mark.parametrize("slot", [0, 1])
def test_top(many: list[Kept], slot: int) -> None:
    """The strongest are kept whatever the seed."""
    strongest = [i for i in range(N_CONTEXTS) if slot == 0 or i % 2][-SIZES.top :]
    for kept in many:
        own = kept.pairs.context[kept.pairs.group == slot * 3]
        assert own[: SIZES.top].tolist() == [1000 + i for i in reversed(strongest)]


@pytest.mark.parametrize("slot", [0, 1])
def test_sample(many: list[Kept], slot: int) -> None:
    """Every context that fires is drawn equally often, however strong it is."""
    counts = np.zeros(N_CONTEXTS)
    for kept in many:
        p = kept.pairs
        drawn = p.context[(p.group == slot * 3) & (p.order <= kept.order_bar[p.group])] - 1000
        assert len(drawn) == SIZES.sample[0]
        counts[drawn] += 1
    firing = np.flatnonzero(counts)
    assert firing.tolist() == [i for i in range(N_CONTEXTS) if slot == 0 or i % 2]
    assert uniform(counts[firing], SIZES.sample[0]) > 1e-3


def test_samples_of_features_are_independent(many: list[Kept]) -> None:
    """Two features share as many drawn contexts as chance has it (hypergeometric)."""
    shared = []
    for kept in many:
        p = kept.pairs
        drawn = [
            set(p.context[(p.group == g) & (p.order <= kept.order_bar[p.group])].tolist()) for g in (0, 3)
        ]
        shared.append(len(drawn[0] & drawn[1]))
    # Of slot 1's 12 of 30, each is among slot 0's 12 of 60.
    expected = stats.hypergeom(N_CONTEXTS, 12, 12)
    z = (np.mean(shared) - expected.mean()) / (expected.std() / N_SEEDS**0.5)
    assert abs(z) < 4


def test_pool(many: list[Kept]) -> None:
    """Every context is in the pool equally often, with everything that fires on it."""
    counts = np.zeros(N_CONTEXTS)
    for kept in many:
        for (split, number), quiet in kept.quiet.items():
            i = number - 1000
            counts[i] += 1
            assert split == 0
            assert quiet.slot.tolist() == ([0, 1] if i % 2 else [0])
            assert quiet.value.tolist() == [i + 1] * len(quiet.slot)
    assert uniform(counts, SIZES.quiet[0]) > 1e-3


def test_weights(many: list[Kept]) -> None:
    """Weights add up to the contexts that fire for every seed, and estimate their strengths without bias."""
    estimates = []
    for kept in many:
        p = kept.pairs
        own = np.flatnonzero(p.group == 0)
        weight = evidence_writer._weights(p, np.arange(len(p)), kept)[own]
        assert weight.sum() == pytest.approx(N_CONTEXTS, rel=1e-6)
        estimates.append(float((weight * p.strength[own]).sum()))
    truth = sum(range(1, N_CONTEXTS + 1))
    error = (np.mean(estimates) - truth) / (np.std(estimates, ddof=1) / N_SEEDS**0.5)
    assert abs(error) < 4
