"""Simulators of known quality: what each predicts of an excerpt whose truth it may know, for `FakeSimulator`.

    perfect     the true activations, as levels
    noisy       the same with a share of errors: overlooks firing excerpts, raises alarms in as many others
    nothing     no word fires
    everything  every word fires alike
    position    knows only where in an excerpt a word stands, and how long the excerpt is
    frequency   knows only how common a word is

The last two may be as good as what they know allows: a profile over places can be fitted elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from exegete.datastore.records import Evidence, Excerpt, Floats
from tests.scorers.scorer_fakes import Predict

BINS = 8
"""Places of an excerpt that `position` can tell apart."""


def perfect(maximum: float) -> Predict:
    """Levels that follow the activations but for rounding; what fires at all has level 1 at least."""

    def predict(excerpt: Excerpt) -> Floats:
        levels = np.clip(np.round(excerpt.activations / maximum * 10), 0, 10)
        return np.where(excerpt.activations > 0, np.maximum(levels, 1), 0).astype(np.float32)

    return predict


def noisy(maximum: float, errors: float, seed: int) -> Predict:
    """Perfect but for a share of errors: so many firing excerpts overlooked, so many false alarms.

    With all errors it knows nothing.
    """
    knows = perfect(maximum)

    def predict(excerpt: Excerpt) -> Floats:
        rng = np.random.default_rng([seed, excerpt.context.id, excerpt.context.start])
        wrong, alarm, level = rng.random(), rng.random(), rng.integers(1, 11)
        place = rng.integers(len(excerpt.activations))
        levels = np.asarray(knows(excerpt), dtype=np.float32)
        if wrong < errors:
            levels = np.zeros_like(levels)
            if alarm < 0.5:
                levels[place] = level
        return levels

    return predict


def nothing(excerpt: Excerpt) -> Floats:
    """No word fires."""
    return np.zeros(len(excerpt.activations), dtype=np.float32)


def everything(excerpt: Excerpt) -> Floats:
    """Every word fires alike."""
    return np.full(len(excerpt.activations), 5.0, dtype=np.float32)


def position(learnt: Sequence[Evidence]) -> Predict:
    """The best guess from a word's place and its excerpt's length, fitted to some evidence.

    Levels follow the mean activation at a place, over excerpts that are as long. An excerpt fires at all when
    those of its length did so more often than others.
    """
    excerpts = [(e, evidence.maximum) for evidence in learnt for e in evidence.excerpts]
    profile = np.zeros((BINS, 2))
    lengths: dict[int, list[bool]] = {}
    for excerpt, maximum in excerpts:
        n = len(excerpt.activations)
        where = np.arange(n) * BINS // n
        np.add.at(profile, where, np.stack([excerpt.activations / maximum, np.ones(n)], axis=1))
        lengths.setdefault(n, []).append(excerpt.peak > 0)
    mean = profile[:, 0] / np.maximum(profile[:, 1], 1)
    usual = np.mean([fired for all_fired in lengths.values() for fired in all_fired])

    def predict(excerpt: Excerpt) -> Floats:
        n = len(excerpt.activations)
        fires = np.mean(lengths.get(n, [usual])) >= usual
        levels = 10 * mean[np.arange(n) * BINS // n] / max(mean.max(), 1e-9)
        return (levels if fires else np.zeros(n)).astype(np.float32)

    return predict


def frequency(learnt: Sequence[Evidence], rare: bool) -> Predict:
    """Level by how common a word is: the rarer the higher, or the commoner."""
    counts = Counter(word.strip() for e in learnt for x in e.excerpts for word in x.context.tokens)
    rank = _ranks(counts)

    def predict(excerpt: Excerpt) -> Floats:
        common = np.array([rank.get(word.strip(), 0.0) for word in excerpt.context.tokens])
        return (10 * (1 - common if rare else common)).astype(np.float32)

    return predict


def _ranks(counts: Mapping[str, int]) -> dict[str, float]:
    """From 0, the rarest word, to 1, the commonest."""
    ordered = sorted(counts, key=lambda word: (counts[word], word))
    return {word: i / max(1, len(ordered) - 1) for i, word in enumerate(ordered)}
