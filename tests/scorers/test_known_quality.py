"""Scores of simulators whose quality is known, on planted features read back from an evidence file.

A better simulator scores higher, one that knows nothing scores as chance does, and a right label scores
higher than a wrong one, the more surely the wronger it is: run with -s, the last test prints how surely.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from exegete.datastore.records import Evidence, Excerpt, Floats, Label, Score
from exegete.scorers.detection import DetectionScorer
from exegete.scorers.fuzzing import FuzzingScorer
from exegete.scorers.reading import read
from exegete.scorers.simulation import SimulationScorer
from tests.scorers import scripted_simulators as scripted
from tests.scorers.pieces import COMMON, FEATURES, Planted, spelled, truth
from tests.scorers.scorer_fakes import FakeSimulator, Predict

SCORERS = {"simulation": SimulationScorer, "detection": DetectionScorer, "fuzzing": FuzzingScorer}
NAMES = tuple(SCORERS)
NOISE = (0.1, 0.3, 0.6, 1.0)


def scores(shown: Evidence, predict: Predict, n_perm: int = 0) -> dict[str, Score]:
    """A feature's scores by every scorer, read from one simulation."""
    simulator = FakeSimulator(shown, predict)
    reading = asyncio.run(read(simulator, Label(shown.feature, "scripted", "test"), shown, 0))
    return {
        name: make(simulator, "report", 0.5, 0, n_boot=0, n_perm=n_perm).score_reading(reading)
        for name, make in SCORERS.items()
    }


def values(shown: Evidence, predict: Predict) -> dict[str, float]:
    """A feature's values; one that is undefined predicts nothing, and counts as 0."""
    return {name: score.value or 0.0 for name, score in scores(shown, predict).items()}


def test_better_simulators_score_higher(planted: Planted) -> None:
    """By every scorer, on average over the features: perfect, then the less noise the better."""
    means = []
    for errors in (0.0, *NOISE):
        found = [
            values(e, scripted.noisy(e.maximum, errors, seed=i)) for i, e in enumerate(planted.report[::2])
        ]
        means.append({name: float(np.mean([v[name] for v in found])) for name in NAMES})
    for name in NAMES:
        ordered = [mean[name] for mean in means]
        assert ordered[0] > 0.98, name
        assert all(better > worse + 0.03 for better, worse in pairwise(ordered)), ordered
        chance = 0.0 if name == "simulation" else 0.5
        assert abs(ordered[-1] - chance) < 0.05, name


@pytest.mark.parametrize("predict", [scripted.nothing, scripted.everything])
def test_constant_answers_are_worth_nothing(planted: Planted, predict: Predict) -> None:
    """Silence everywhere and firing everywhere have no r, with the reason, and balanced accuracy .5."""
    found = scores(planted.report[0], predict, n_perm=99)
    assert found["simulation"].value is None
    assert (found["simulation"].why_none or "").startswith("constant simulation")
    for name in ("detection", "fuzzing"):
        assert found[name].value == 0.5
    assert {score.p_value for score in found.values()} == {1.0}


def test_rarity_alone_is_worth_little(planted: Planted) -> None:
    """The features fire on rarer words: answering by rarity scores far less than one with many errors.

    Detection gives it nothing. Fuzzing does: its wrong marks are like the right ones in all but their rarity.
    """
    rare, common = (scripted.frequency(planted.refine, rare=rare) for rare in (True, False))
    by_rarity = [values(e, rare) for e in planted.report[::3]]
    by_commonness = [values(e, common) for e in planted.report[::3]]
    assert 0.05 < np.mean([v["simulation"] for v in by_rarity]) < 0.25
    assert all(v["detection"] == 0.5 for v in by_rarity + by_commonness)
    assert np.mean([v["simulation"] for v in by_commonness]) < 0


def of_words(words: Sequence[int], seed: int, errors: float = 0.2) -> Predict:
    """What a good simulator answers for a label that names some words: they fire, with a share of errors."""
    named = {spelled(word) for word in words}

    def predict(excerpt: Excerpt) -> Floats:
        rng = np.random.default_rng([seed, excerpt.context.id, excerpt.context.start])
        levels = np.array([8.0 * (w.strip().lower() in named) for w in excerpt.context.tokens])
        wrong, alarm, place = rng.random(), rng.random(), rng.integers(len(levels))
        if wrong < errors:
            levels[:] = 0
            levels[place] = 5.0 * (alarm < 0.5)
        return levels.astype(np.float32)

    return predict


def broader(feature: int) -> list[int]:
    """Three times as many words again as the feature fires on."""
    rng = np.random.default_rng([1, feature])
    return [*truth()[feature], *rng.choice(np.arange(COMMON, 400), 12, replace=False).tolist()]


LABELS: dict[str, Callable[[int], Sequence[int]]] = {
    "right": lambda feature: sorted(truth()[feature]),
    "too broad": broader,
    "half": lambda feature: sorted(truth()[feature])[:2],
    "too narrow": lambda feature: sorted(truth()[feature])[:1],
    "swapped": lambda feature: sorted(truth()[(feature + 1) % FEATURES]),
}
"""Words that a label names, by how it is wrong."""


def test_right_labels_score_above_wrong_ones(planted: Planted) -> None:
    """AUROC of right against wrong labels, by simulation, grows with how wrong they are.

    Detection sees much the same. Fuzzing hardly sees that a label is too broad: a word that it names wrongly
    counts only where it happens to be marked.
    """
    found = {
        kind: [values(e, of_words(words(i), seed=i)) for i, e in enumerate(planted.report)]
        for kind, words in LABELS.items()
    }
    mean = {kind: np.mean([v["simulation"] for v in scored]) for kind, scored in found.items()}
    right = [1] * FEATURES + [0] * FEATURES
    auroc = {
        (name, kind): float(roc_auc_score(right, [v[name] for v in found["right"] + scored]))
        for name in NAMES
        for kind, scored in found.items()
        if kind != "right"
    }
    for name in NAMES:
        line = ", ".join(f"{kind} {auroc[name, kind]:.2f}" for kind in LABELS if kind != "right")
        print(f"AUROC of right against wrong labels by {name}: {line}")
    assert mean["right"] > mean["too broad"] > mean["half"] > mean["too narrow"] > mean["swapped"]
    by_simulation = [auroc["simulation", kind] for kind in LABELS if kind != "right"]
    assert by_simulation == sorted(by_simulation)
    assert by_simulation[0] > 0.85
    assert auroc["simulation", "swapped"] == auroc["detection", "swapped"] == auroc["fuzzing", "swapped"] == 1
    assert auroc["fuzzing", "too broad"] < 0.7 < auroc["detection", "too broad"]
