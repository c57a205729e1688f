"""Evidence in words of different kinds, and simulators that know places and not words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from exegete.datastore.records import Context, Evidence, Excerpt, Floats, Split
from exegete.simulators.simulator import Simulation
from tests.scorers.scorer_fakes import FEATURE

VOCABULARY = (
    *(f" {a}{b}" for a in "bdfg" for b in ("a", "en", "orum", "illation")),
    *(" Paris", " Rome", " Lisbon", " I"),
    *(" 7", " 1984", " 31"),
    *(",", ".", " (", ")"),
)
FIRING = (" den", " forum", " Rome")
"""Words on which the feature fires."""


def sentence(rng: np.random.Generator, number: int, length: int, stratum: str, *, fires: bool) -> Excerpt:
    """An excerpt with one to three firing words at random places, or with none."""
    words = [str(word) for word in rng.choice([w for w in VOCABULARY if w not in FIRING], length)]
    values = np.zeros(length, dtype=np.float32)
    if fires:
        for place in rng.permutation(length)[: rng.integers(1, 4)]:
            words[place] = str(rng.choice(FIRING))
            values[place] = rng.uniform(1.0, 6.0)
    return Excerpt(Context(number, f"d{number}", 0, tuple(words)), values, stratum, 1.0)


def in_words(seed: int = 0, *, firing: int = 40, quiet: int = 30, split: Split = "report") -> Evidence:
    """Excerpts of 14 to 30 words of a feature that fires on the words FIRING."""
    rng = np.random.default_rng(seed)
    strata = ["top"] * 10 + [f"decile {d}" for d in range(10, 0, -1) for _ in range(3)]
    activating = [
        sentence(rng, 100 * seed + i, int(rng.integers(14, 31)), strata[i % 40], fires=True)
        for i in range(firing)
    ]
    kinds = ("hard quiet", "quiet", "quiet")
    silent = [
        sentence(rng, 100 * seed + 50 + i, int(rng.integers(14, 31)), kinds[i % 3], fires=False)
        for i in range(quiet)
    ]
    return Evidence(FEATURE, split, tuple(activating), tuple(silent), "word", 6.0)


class ByContext:
    """A simulator that is told what to make of a context's words."""

    name = "told@1"

    def __init__(self, levels: Callable[[tuple[str, ...]], Sequence[float] | Floats | None]) -> None:
        self._levels = levels
        self.calls: list[list[Context]] = []

    async def simulate(self, label: str, contexts: Sequence[Context]) -> Simulation:
        self.calls.append(list(contexts))
        said = [self._levels(context.tokens) for context in contexts]
        levels = tuple(None if x is None else np.asarray(x, dtype=np.float32) for x in said)
        return Simulation(levels, tuple("told nothing" if x is None else None for x in levels))


def by_word(*words: str) -> Callable[[tuple[str, ...]], list[float]]:
    """Level 8 on some words, wherever they stand."""
    return lambda tokens: [8.0 * (token in words) for token in tokens]


def by_place(hot: Callable[[int, int], float]) -> Callable[[tuple[str, ...]], list[float]]:
    """Levels that depend on (place, length) alone."""
    return lambda tokens: [hot(place, len(tokens)) for place in range(len(tokens))]


PLACES: dict[str, Callable[[int, int], float]] = {
    "first": lambda place, n: 8.0 * (place == 0),
    "last": lambda place, n: 8.0 * (place >= n - 2),
    "middle": lambda place, n: 8.0 * (abs(place - n / 2) < 3),
    "every third": lambda place, n: 8.0 * (place % 3 == 0),
    "every second": lambda place, n: 5.0 * (place % 2),
    "rising": lambda place, n: 10.0 * place / n,
    "falling": lambda place, n: 10.0 - 10.0 * place / n,
    "hill": lambda place, n: float(10 * np.exp(-(((place - n / 2) / 4) ** 2))),
}
"""Simulators that answer by place alone."""
