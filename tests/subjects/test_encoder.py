"""From activations to firings: thresholds, polarities, shuffling; of a subject with given activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from exegete.datastore.kept import Firings, KeptContext
from exegete.errors import SubjectError
from exegete.subjects.dictionaries import Neurons
from exegete.subjects.encoder import Encoder
from exegete.subjects.spec import HarvestSpec

WIDTH = 5
SPEC = HarvestSpec(site="s", context=8, batch=3, calibration=10, firing_quantile=0.9)


class Given:
    """A subject whose activation at a token is a hash of its id, the same wherever the token stands."""

    name, n_special, max_context = "given", 0, 100

    def __init__(self, spoil: float | None = None) -> None:
        self.table = np.random.default_rng(0).normal(size=(1000, WIDTH)).astype(np.float32)
        self.spoil = spoil

    def activations(self, _site: str, batch: Sequence[NDArray[np.int32]]) -> torch.Tensor:
        longest = max(len(ids) for ids in batch)
        acts = np.full((len(batch), longest, WIDTH), 1e9, dtype=np.float32)  # padding is undefined
        for row, ids in enumerate(batch):
            acts[row, : len(ids)] = self.table[ids]
        if self.spoil is not None:
            acts[0, 0, 2] = self.spoil
        return torch.from_numpy(acts)


def contexts(n: int, seed: int = 0, shortest: int = 8) -> list[KeptContext]:
    rng = np.random.default_rng(seed)
    deck, found = rng.permutation(1000).astype(np.int32), []  # no token twice
    for i in range(n):
        ids = deck[i * 9 : i * 9 + int(rng.integers(shortest, 9))]
        found.append(KeptContext(i + 1, 0, f"d{i}", 0, ids, "x"))
    return found


class Both:
    """The subject with an encoder of its activations."""

    def __init__(self, subject: Given, dictionary: Any, spec: HarvestSpec, indices: Sequence[int]) -> None:
        self.subject, self.spec = subject, spec
        self.encoder = Encoder(dictionary, spec, indices)

    def calibrate(self, sample: Sequence[KeptContext], used: int | None = None) -> None:
        """Set thresholds on the first `used` contexts, in batches."""
        left = len(sample) if used is None else used
        for batch in self.batches(sample):
            if left > 0:
                self.encoder.sample(batch, self.run(batch), min(left, len(batch)))
            left -= len(batch)
        self.encoder.settle()

    def batches(self, contexts: Sequence[KeptContext]) -> list[Sequence[KeptContext]]:
        return [contexts[at : at + self.spec.batch] for at in range(0, len(contexts), self.spec.batch)]

    def run(self, batch: Sequence[KeptContext]) -> torch.Tensor:
        return self.subject.activations("s", [c.token_ids for c in batch])

    def firings(self, batch: Sequence[KeptContext]) -> Firings:
        return self.encoder.firings(batch, self.run(batch))

    @property
    def thresholds(self) -> NDArray[np.float32]:
        return self.encoder.thresholds


def encoder(spec: HarvestSpec = SPEC, indices: Sequence[int] = (0, 2, 4), **given_: Any) -> Both:
    return Both(Given(**given_), Neurons(WIDTH), spec, indices)


def sides(spec: HarvestSpec, table: NDArray[np.float32], indices: Sequence[int]) -> NDArray[np.float32]:
    """(1000, slots) activations of the asked sides."""
    chosen = table[:, list(indices)]
    return {"+": chosen, "-": -chosen, "both": np.concatenate([chosen, -chosen], 1)}[spec.polarity]


@pytest.mark.parametrize("polarity", ["+", "-", "both"])
@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.998, 0.999999])
def test_thresholds(polarity: Any, quantile: float) -> None:
    """A threshold is exceeded by the asked share of the sample's tokens, counted, and is never below 0."""
    spec = replace(SPEC, polarity=polarity, firing_quantile=quantile)
    sample = contexts(10, shortest=3)
    found = encoder(spec)
    found.calibrate(sample)
    acts = sides(spec, Given().table, (0, 2, 4))[np.concatenate([c.token_ids for c in sample])]
    n = int(len(acts) * (1 - quantile))
    expected = np.maximum(0, np.sort(acts, axis=0)[::-1][n])
    np.testing.assert_array_equal(found.thresholds, expected)
    # The activation that is the threshold is silent itself.
    fired = np.bincount(found.firings(sample).slot, minlength=acts.shape[1])
    assert fired.tolist() == (acts > expected).sum(0).tolist()
    assert fired.max() <= n


@pytest.mark.parametrize("polarity", ["+", "-", "both"])
@pytest.mark.parametrize("used", [1, 3, 5, 9, 10])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_sample_is_not_run_again(polarity: Any, used: int, shuffle: bool) -> None:
    """Batches that lay in the sample as wholes have the firings that running them again would give."""
    spec = replace(SPEC, polarity=polarity, calibration=used, shuffle=shuffle)
    sample = contexts(10, shortest=3)
    found = encoder(spec)
    found.calibrate(sample, used)
    whole = [batch for at, batch in enumerate(found.batches(sample)) if at * 3 + len(batch) <= used]
    first = [rows(found.encoder.sampled_firings(batch)) for batch in whole]
    assert first == [rows(found.firings(batch)) for batch in whole]
    assert any(first) == bool(whole)


class Latents:
    """A sparse dictionary: features are pairs of channels, and fire where their sum is above 1."""

    name, n_features, sparse = "latents@1", 10, True
    pairs = tuple((a, b) for a in range(WIDTH) for b in range(a))

    def all(self, acts: Any) -> Any:
        """(N, 10)"""
        summed = acts[:, [a for a, _ in self.pairs]] + acts[:, [b for _, b in self.pairs]]
        return summed * (summed > 1)

    def fire(self, acts_ND: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        acts_NF = self.all(acts_ND)
        token, feature = acts_NF.nonzero(as_tuple=True)
        return token, feature, acts_NF[token, feature]


@pytest.mark.parametrize("indices", [range(10), (7,), (1, 4, 9)])
def test_sparse_dictionaries(indices: Sequence[int]) -> None:
    """Of a sparse dictionary fires what it says fires, of the asked features; it has no thresholds."""
    found, batch = Both(Given(), Latents(), SPEC, indices), contexts(6, shortest=2)
    found.calibrate(contexts(10))
    assert found.thresholds.tolist() == [0.0] * len(indices)
    acts = Latents().all(Given().table)[:, list(indices)]
    expected = {
        (slot, row, position, float(acts[token, slot]))
        for row, c in enumerate(batch)
        for position, token in enumerate(c.token_ids.tolist())
        for slot in range(len(indices))
        if acts[token, slot] > 1
    }
    assert firing_set(found, batch) == expected
    assert expected


def rows(f: Firings) -> list[tuple[int, int, int, float]]:
    """Firings in order."""
    columns = (f.slot.tolist(), f.row.tolist(), f.position.tolist(), f.value.tolist())
    return sorted(zip(*columns, strict=True))


def firing_set(found: Both, batch: Sequence[KeptContext]) -> set[tuple[int, int, int, float]]:
    listed = rows(found.firings(batch))
    assert len(listed) == len(set(listed))
    return set(listed)


@settings(deadline=None, max_examples=30)
@given(polarity=st.sampled_from(["+", "-", "both"]), n=st.integers(1, 6), seed=st.integers(0, 99))
def test_firings(polarity: Any, n: int, seed: int) -> None:
    """What fires is every activation above the threshold, by a loop over contexts, positions and slots."""
    spec = replace(SPEC, polarity=polarity)
    found, batch = encoder(spec), contexts(n, seed, shortest=1)
    found.calibrate(contexts(10))
    table = sides(spec, Given().table, (0, 2, 4))
    expected = {
        (slot, row, position, float(table[token, slot]))
        for row, c in enumerate(batch)
        for position, token in enumerate(c.token_ids.tolist())
        for slot in range(table.shape[1])
        if table[token, slot] > found.thresholds[slot]
    }
    assert firing_set(found, batch) == expected


@pytest.mark.parametrize("n", [2, 3, 7])
def test_shuffle(n: int) -> None:
    """Shuffled, every feature has the same values as before, none of them in its own context."""
    plain, shuffled = encoder(), encoder(replace(SPEC, shuffle=True))
    for found in (plain, shuffled):
        found.thresholds[:] = 0.3
    for seed in range(10):
        batch = contexts(n, seed)
        before, after = firing_set(plain, batch), firing_set(shuffled, batch)
        assert sorted((s, v) for s, _, _, v in before) == sorted((s, v) for s, _, _, v in after)
        assert not {(s, r, v) for s, r, _, v in before} & {(s, r, v) for s, r, _, v in after}


def test_shuffle_of_uneven_contexts() -> None:
    """Where contexts differ in length, activations that find no place are dropped; the rest are in range."""
    whole, shuffled = encoder(), encoder(replace(SPEC, shuffle=True))
    whole.thresholds[:] = shuffled.thresholds[:] = -10
    for seed in range(20):
        batch = contexts(5, seed, shortest=1)
        dealt = firing_set(shuffled, batch)
        places = [(s, r, p) for s, r, p, _ in dealt]
        assert all(p < len(batch[r].token_ids) for _, r, p in places)
        assert len(set(places)) == len(places)
        own = {(s, v) for s, _, _, v in firing_set(whole, batch)}
        assert {(s, v) for s, _, _, v in dealt} <= own


def test_shuffle_breaks_what_tokens_say() -> None:
    """A feature is a function of its token before shuffling, and says nothing of it after."""
    plain, shuffled = encoder(), encoder(replace(SPEC, shuffle=True))
    table = Given().table[:, 0]
    agree: dict[str, list[tuple[float, float]]] = {"plain": [], "shuffled": []}
    for name, found in (("plain", plain), ("shuffled", shuffled)):
        found.thresholds[:] = -10
        for seed in range(60):
            batch = contexts(4, seed)
            for slot, row, position, value in firing_set(found, batch):
                if slot == 0:
                    agree[name].append((float(table[batch[row].token_ids[position]]), value))
    r = {name: np.corrcoef(np.asarray(pairs).T)[0, 1] for name, pairs in agree.items()}
    assert r["plain"] == pytest.approx(1.0)
    assert abs(r["shuffled"]) < 0.08


def test_shuffling_is_seeded() -> None:
    """The same seed deals the same way; another does not."""
    spec, batch = replace(SPEC, shuffle=True), contexts(6)
    same = [firing_set(encoder(spec), batch) for _ in range(2)]
    assert same[0] == same[1]
    assert firing_set(encoder(replace(spec, seed=1)), batch) != same[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(value: float) -> None:
    """Activations that are NaN or infinite are refused by the site's name, in both passes."""
    spoilt = encoder(spoil=value)
    for work in (
        lambda: spoilt.calibrate(contexts(2)),
        lambda: spoilt.firings(contexts(2)),
    ):
        with pytest.raises(SubjectError, match="activations at s are not finite"):
            work()


def test_no_sample() -> None:
    """Without any text there is nothing to calibrate on, and no crash."""
    found = encoder()
    found.calibrate([])
    assert found.thresholds.tolist() == [0.0] * 3
