"""Features with known activations, and simulators that predict them as well as they are told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import Context, Evidence, Excerpt, FeatureId, Floats, Label, Score, Split
from exegete.simulators.simulator import Simulation

FEATURE = FeatureId(subject="tiny@1", site="layers.3", dictionary="neurons", index=32)
LABEL = Label(FEATURE, "words of degree", "test")

Predict = Callable[[Excerpt], Sequence[float] | NDArray[np.floating] | None]


def excerpt(number: int, activations: Sequence[float] | NDArray[np.floating], stratum: str) -> Excerpt:
    """An excerpt whose context has this number as its id."""
    words = tuple(f" w{number}.{i}" for i in range(len(activations)))
    weight = {"top": 1.0, "hard quiet": 0.0, "quiet": 40.0}.get(stratum, 7.0)
    context = Context(id=number, document=f"d{number}", start=0, tokens=words)
    return Excerpt(context, np.asarray(activations, dtype=np.float32), stratum, weight)


def evidence(
    seed: int = 0,
    *,
    top: int = 6,
    per_decile: int = 2,
    quiet: int = 12,
    hard: int = 4,
    split: Split = "report",
    feature: FeatureId = FEATURE,
    words: tuple[int, int] = (18, 30),
) -> Evidence:
    """Excerpts of a feature that fires on one to three words of an excerpt, at random places."""
    rng = np.random.default_rng(seed)

    def firing(peak: float) -> Floats:
        values = np.zeros(rng.integers(*words), dtype=np.float32)
        places = rng.permutation(len(values))[: rng.integers(1, 4)]
        values[places] = peak * rng.uniform(0.4, 1.0, len(places))
        values[places[0]] = peak
        return values

    strata = ["top"] * top + [f"decile {d}" for d in range(10, 0, -1) for _ in range(per_decile)]
    peaks = np.sort(rng.uniform(0.5, 6.0, len(strata)))[::-1]
    activating = [
        excerpt(i, firing(peak), stratum) for i, (peak, stratum) in enumerate(zip(peaks, strata, strict=True))
    ]
    silent = [
        excerpt(1000 + i, np.zeros(rng.integers(*words)), "quiet" if i < quiet else "hard quiet")
        for i in range(quiet + hard)
    ]
    return Evidence(feature, split, tuple(activating), tuple(silent), "word", 6.0)


@dataclass(frozen=True, slots=True)
class Alone:
    """A scorer that does not read the simulation."""

    split: Split = "report"

    @property
    def name(self) -> str:
        return "alone@1"

    async def score(self, label: Label, evidence: Evidence) -> Score:
        n = len(evidence.excerpts)
        return Score(self.name, self.split, 0.5, None, None, None, None, n, n)


class FakeSimulator:
    """Predicts from what it is told of an excerpt; remembers what it was asked."""

    name = "fake@1"

    def __init__(self, evidence: Evidence, predict: Predict) -> None:
        self._known = {e.context.id: e for e in evidence.excerpts}
        self._predict = predict
        self.asked: list[tuple[str, list[Context]]] = []

    async def simulate(self, label: str, contexts: Sequence[Context]) -> Simulation:
        self.asked.append((label, list(contexts)))
        said = [self._predict(self._known[context.id]) for context in contexts]
        levels = tuple(None if x is None else np.asarray(x, dtype=np.float32) for x in said)
        return Simulation(levels, tuple("word not there" if x is None else None for x in levels))


def faithful(excerpt: Excerpt) -> Floats:
    """Levels that follow the activations exactly, but for rounding."""
    return np.round(excerpt.activations / 6.0 * 10)


def noisy(seed: int, finds: float = 0.8, alarms: float = 0.15) -> Predict:
    """Levels that follow the activations of most excerpts, with some false alarms."""

    def predict(excerpt: Excerpt) -> Floats:
        rng = np.random.default_rng([seed, excerpt.context.id])
        levels = np.zeros(len(excerpt.activations), dtype=np.float32)
        if rng.random() < finds:
            levels = np.clip(faithful(excerpt) + rng.integers(-1, 2, len(levels)), 0, 10)
            levels[excerpt.activations == 0] = 0
        if rng.random() < alarms:
            levels[rng.integers(len(levels))] = rng.integers(1, 11)
        return levels

    return predict


def nothing(excerpt: Excerpt) -> Floats:
    """Silence everywhere."""
    return np.zeros(len(excerpt.activations), dtype=np.float32)


def ragged(rng: np.random.Generator, n: int, words: tuple[int, int] = (3, 12)) -> list[NDArray[np.float32]]:
    """Values of n excerpts of different lengths, clustered: an excerpt has many large ones or none."""
    rates = rng.choice([0.05, 0.9], n)
    return [
        np.where(rng.random(length) < rate, rng.exponential(1.0, length), 0.01 * rng.random(length)).astype(
            np.float32
        )
        for rate, length in zip(rates, rng.integers(*words, n), strict=True)
    ]


def like(rng: np.random.Generator, values: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Other clustered values of the same lengths, independent of them."""
    others = ragged(rng, len(values), (30, 31))
    return [other[: len(value)] for other, value in zip(others, values, strict=True)]
