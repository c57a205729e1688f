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

from exegete.datastore.kept import KeptContext
from exegete.errors import SubjectError
from exegete.subjects.dictionaries import Neurons, open_dictionary
from exegete.subjects.encoder import Encoder, batched
from exegete.subjects.spec import HarvestSpec, Progress

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


def encoder(spec: HarvestSpec = SPEC, indices: Sequence[int] = (0, 2, 4), **given_: Any) -> Encoder:
    return Encoder(Given(**given_), Neurons(WIDTH), spec, indices)  # type: ignore[arg-type]


def sides(spec: HarvestSpec, table: NDArray[np.float32], indices: Sequence[int]) -> NDArray[np.float32]:
    """(1000, slots) activations of the asked sides."""
    chosen = table[:, list(indices)]
    return {"+": chosen, "-": -chosen, "both": np.concatenate([chosen, -chosen], 1)}[spec.polarity]


@pytest.mark.parametrize("polarity", ["+", "-", "both"])
@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.998, 0.999999])
def test_thresholds(polarity: Any, quantile: float) -> None:
    """A threshold is exceeded by the asked share of the sample's tokens, counted, and is never below 0."""
    spec = replace(SPEC, polarity=polarity, firing_quantile=quantile)
    sample, said = contexts(10, shortest=3), list[Progress]()
    found = encoder(spec)
    found.calibrate(iter(sample), said.append)
    acts = sides(spec, Given().table, (0, 2, 4))[np.concatenate([c.token_ids for c in sample])]
    n = int(len(acts) * (1 - quantile))
    expected = np.maximum(0, np.sort(acts, axis=0)[::-1][n])
    np.testing.assert_array_equal(found.thresholds, expected)
    # The activation that is the threshold is silent itself.
    fired = np.bincount(found.firings(sample).slot, minlength=acts.shape[1])
    assert fired.tolist() == (acts > expected).sum(0).tolist()
    assert fired.max() <= n
    assert said[-1] == Progress("calibrating", len(acts))


def test_sparse_features_have_no_threshold() -> None:
    """A dictionary whose silence is 0 is not calibrated: its thresholds stay 0, and nothing is run."""
    found = Encoder(Given(), Neurons(WIDTH, sparse=True), SPEC, [0])  # type: ignore[arg-type]
    found.calibrate(iter(contexts(10)), lambda _: pytest.fail("it was run"))
    assert found.thresholds.tolist() == [0.0]


def firing_set(found: Encoder, batch: Sequence[KeptContext]) -> set[tuple[int, int, int, float]]:
    f = found.firings(batch)
    rows = list(zip(f.slot.tolist(), f.row.tolist(), f.position.tolist(), f.value.tolist(), strict=True))
    assert len(rows) == len(set(rows))
    return set(rows)


@settings(deadline=None, max_examples=30)
@given(polarity=st.sampled_from(["+", "-", "both"]), n=st.integers(1, 6), seed=st.integers(0, 99))
def test_firings(polarity: Any, n: int, seed: int) -> None:
    """What fires is every activation above the threshold, by a loop over contexts, positions and slots."""
    spec = replace(SPEC, polarity=polarity)
    found, batch = encoder(spec), contexts(n, seed, shortest=1)
    found.calibrate(iter(contexts(10)), lambda _: None)
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
        lambda: spoilt.calibrate(iter(contexts(2)), lambda _: None),
        lambda: spoilt.firings(contexts(2)),
    ):
        with pytest.raises(SubjectError, match="activations at s are not finite"):
            work()


def test_no_sample() -> None:
    """Without any text there is nothing to calibrate on, and no crash."""
    found = encoder()
    found.calibrate(iter([]), lambda _: None)
    assert found.thresholds.tolist() == [0.0] * 3


@given(st.lists(st.integers(), max_size=20), st.integers(1, 7))
def test_batched(items: list[int], size: int) -> None:
    """Batches, end to end, are the items; all but the last are full."""
    found = list(batched(iter(items), size))
    assert [x for batch in found for x in batch] == items
    assert all(len(batch) == size for batch in found[:-1])
    assert all(found)


def test_dictionaries() -> None:
    """`neurons` are a site's channels; any other name is refused, with what is read."""
    neurons = open_dictionary("neurons", 7)
    assert (neurons.name, neurons.n_features, neurons.sparse) == ("neurons", 7, False)
    acts = torch.arange(14.0).reshape(2, 7)
    assert neurons.encode(acts, torch.tensor([5, 0])).tolist() == [[5.0, 0.0], [12.0, 7.0]]
    with pytest.raises(SubjectError, match="'gpt2-small-res-jb' can't be read: this version reads `neurons`"):
        open_dictionary("gpt2-small-res-jb", 7)
