"""Nothing beside its words tells an excerpt in which a feature fires from one in which it is silent.

Not where in a call it stands, not how long it is, not how it begins or ends: each is put to a classifier,
which is judged on features that it was not fitted on. Of its document a model is told nothing. And answers by
place and length alone, fitted to the refine split, are worth nothing on the report split by any scorer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from exegete.datastore.records import Evidence, Excerpt, Label
from exegete.scorers.detection import DetectionScorer
from exegete.scorers.fuzzing import FuzzingScorer
from exegete.scorers.reading import read
from exegete.scorers.simulation import SimulationScorer
from exegete.scorers.stopping import PORTION, Looks
from exegete.simulators.sparse import SparseSimulator
from tests.scorers import scripted_simulators as scripted
from tests.scorers.pieces import Planted
from tests.scorers.scorer_fakes import FakeSimulator
from tests.simulators.sparse_fakes import FakeLLM


def auroc(sides: NDArray[np.float64], fires: Sequence[bool], feature: Sequence[int]) -> float:
    """How well a classifier of these sides tells firing from silent, on features it was not fitted on."""
    model = RandomForestClassifier(40, max_depth=4, random_state=0)
    said = cross_val_predict(model, sides, fires, groups=feature, cv=GroupKFold(4), method="predict_proba")
    return float(roc_auc_score(fires, said[:, 1]))


def band(fires: Sequence[bool]) -> float:
    """Three standard errors of an AUROC of .5."""
    n, n_fires = len(fires), sum(fires)
    return 3 * float(np.sqrt((n + 1) / (12 * n_fires * (n - n_fires))))


def look_of(excerpt: Excerpt) -> list[float]:
    """All that can be seen of a window but for its words."""
    tokens = [word.strip() for word in excerpt.context.tokens]
    first, last = tokens[0], tokens[-1]
    return [
        float(len(tokens)),
        float(len(excerpt.context.text)),
        float(excerpt.context.tokens[0][:1].isspace()),
        float(first[:1].isupper()),
        float(first == "."),
        float(last == "."),
        float(len(first)),
        float(len(last)),
    ]


@pytest.mark.parametrize("kind", ["quiet", "hard quiet"])
def test_looks(planted: Planted, kind: str) -> None:
    """How long a window is, and how it begins and ends, says nothing of whether the feature fires."""
    told = [(number, e) for number, evidence in enumerate(planted.report) for e in evidence.excerpts]
    chosen = [(number, e) for number, e in told if e.peak > 0 or e.stratum == kind]
    fires = [e.peak > 0 for _, e in chosen]
    found = auroc(np.array([look_of(e) for _, e in chosen]), fires, [number for number, _ in chosen])
    assert abs(found - 0.5) < band(fires)


def asked_in_order(evidence: Evidence, in_looks: bool) -> list[Excerpt]:
    """The excerpts as a simulator is asked about them: all at once, or look by look to the end."""
    simulator = FakeSimulator(evidence, scripted.noisy(evidence.maximum, 0.6, seed=0))
    label = Label(evidence.feature, "scripted", "test")
    if in_looks:
        scorer = SimulationScorer(simulator, evidence.split, 0.5, 0, n_boot=0, n_perm=0)
        asyncio.run(Looks(simulator, [scorer], 0.5, 0).score(label, evidence))
    else:
        asyncio.run(read(simulator, label, evidence, 0))
    known = {e.context: e for e in evidence.excerpts}
    return [known[context] for _, contexts in simulator.asked for context in contexts]


@pytest.mark.parametrize("in_looks", [False, True])
def test_order(planted: Planted, in_looks: bool) -> None:
    """Where an excerpt stands among those asked about, and in its call, says nothing."""
    sides: list[list[float]] = []
    fires: list[bool] = []
    feature: list[int] = []
    for number, evidence in enumerate(planted.report):
        asked = asked_in_order(evidence, in_looks)
        assert sorted(map(id, asked)) == sorted(map(id, evidence.excerpts))
        for place, excerpt in enumerate(asked):
            sides.append([float(place), float(place % PORTION)])
            fires.append(excerpt.peak > 0)
            feature.append(number)
    assert abs(auroc(np.array(sides), fires, feature) - 0.5) < band(fires)


def test_a_leak_would_be_seen(planted: Planted) -> None:
    """The same classifier finds a side on which the two kinds are half a standard deviation apart."""
    rng = np.random.default_rng(0)
    told = [(number, e) for number, evidence in enumerate(planted.report) for e in evidence.excerpts]
    fires = [e.peak > 0 for _, e in told]
    sides = np.array([[*look_of(e), rng.normal(0.5 * (e.peak > 0))] for _, e in told])
    assert auroc(sides, fires, [number for number, _ in told]) - 0.5 > band(fires)


SCORERS = {"simulation": SimulationScorer, "detection": DetectionScorer, "fuzzing": FuzzingScorer}


def test_places_are_worth_nothing(planted: Planted) -> None:
    """Answers by place and length alone, fitted to all of the refine split, are within what deals reach."""
    predict = scripted.position(planted.refine)
    readings = []
    for shown in planted.report:
        simulator = FakeSimulator(shown, predict)
        label = Label(shown.feature, "scripted", "test")
        readings.append((simulator, asyncio.run(read(simulator, label, shown, 0))))
    for name, make in SCORERS.items():
        scores = [make(simulator, "report", 0.5, 0, 0, 199).score_reading(r) for simulator, r in readings]
        told = [(s.value, s.chance, s.details["chance_p95"]) for s in scores]
        known = np.array([row for row in told if None not in row], dtype=float)
        assert len(known) > 20
        value, chance, p95 = known.T
        assert (value > p95).sum() <= 5, name  # one in twenty is expected, and more than 5 of 24 in 1 of 500
        lift = value - chance
        assert abs(lift.mean()) < 4 * lift.std() / np.sqrt(len(lift)) + 0.01, name


def test_no_model_is_told_the_document(planted: Planted) -> None:
    """What a model is asked about an excerpt is the same whatever document, id and place it has."""
    excerpts = planted.report[0].excerpts[:20]
    elsewhere = [replace(e.context, document="secret", id=7 + i, start=99) for i, e in enumerate(excerpts)]
    prompts = []
    for contexts in ([e.context for e in excerpts], elsewhere):
        llm = FakeLLM("{}")
        asyncio.run(SparseSimulator(llm, "openai:NAME").simulate("a label", contexts))
        prompts.append([request.messages for request in llm.asked])
    assert prompts[0] == prompts[1]
    assert len(prompts[0]) > 0
