"""Evidence and simulators that are not what scores were made for: a value, or None with a reason."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from exegete.datastore.records import Evidence, Excerpt, Floats, Score
from exegete.scorers.detection import DetectionScorer
from exegete.scorers.simulation import SimulationScorer
from tests.scorers.scorer_fakes import LABEL, FakeSimulator, Predict, evidence, faithful, noisy

KINDS = (SimulationScorer, DetectionScorer)


def score(kind: type, shown: Evidence, predict: Predict) -> Score:
    """Score the test label on the report split."""
    scorer = kind(FakeSimulator(shown, predict), "report", 0.5, 0, n_boot=400, n_perm=99)
    return asyncio.run(scorer.score(LABEL, shown))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "sizes",
    [
        {"top": 20, "per_decile": 0, "quiet": 20, "hard": 0},
        {"top": 0, "per_decile": 1, "quiet": 0, "hard": 10},
        {"top": 1, "per_decile": 1, "quiet": 1, "hard": 8},
    ],
)
def test_one_stratum_a_side(kind: type, sizes: dict[str, int]) -> None:
    """With one kind of excerpt a side, or one excerpt of a kind, there is a value with its interval."""
    found = score(kind, evidence(**sizes), noisy(1))
    assert found.why_none is None
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high
    assert found.p_value is not None


@pytest.mark.parametrize("kind", KINDS)
def test_one_decile_only(kind: type) -> None:
    """Excerpts of a single decile are scored, and what other strata would say is not said."""
    shown = evidence(top=0, per_decile=8)
    weakest = tuple(e for e in shown.activating if e.stratum == "decile 1")
    found = score(kind, replace(shown, activating=weakest), noisy(1))
    assert found.value is not None
    assert not {"recall_top", "r_decile_2", "recall_decile_2"} & set(found.details)
    assert found.details.get("r_top") is None


@pytest.mark.parametrize("kind", KINDS)
def test_one_activating_excerpt(kind: type) -> None:
    """A single activating excerpt is no score, and the reason says how many are needed."""
    found = score(kind, evidence(top=1, per_decile=0), faithful)
    assert (found.value, found.low, found.high, found.p_value) == (None, None, None, None)
    assert found.why_none == "1 activating and 16 quiet excerpts were found, and 5 of each are needed"


def test_constant_activations() -> None:
    """The same activation on all words has no r, with the reason; whole excerpts can still be judged."""
    shown = evidence()
    flat = replace(
        shown,
        activating=tuple(replace(e, activations=0 * e.activations + 2) for e in shown.activating),
        quiet=tuple(replace(e, activations=0 * e.activations + 2) for e in shown.quiet),
    )
    found = score(SimulationScorer, flat, noisy(1))
    assert (found.value, found.p_value) == (None, None)
    assert found.why_none is not None
    assert found.why_none.startswith("constant activations: 2 on all ")
    assert score(DetectionScorer, flat, noisy(1)).value is not None


@pytest.mark.parametrize("kind", KINDS)
def test_excerpts_that_fire_on_every_word(kind: type) -> None:
    """A feature that is constant where it fires is scored: it tells firing excerpts from silent ones."""
    shown = evidence()
    on = tuple(replace(e, activations=0 * e.activations + 3) for e in shown.activating)
    found = score(kind, replace(shown, activating=on), lambda e: faithful(e) * (e.context.id % 5 > 0))
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert 0.3 < found.low < found.value < found.high <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_simulator_that_answers_half(kind: type) -> None:
    """With half of the excerpts read there is no score, and the reason has the numbers."""
    found = score(kind, evidence(), lambda e: None if e.context.id % 2 else faithful(e))
    assert (found.value, found.p_value, found.n_asked, found.n_read) == (None, None, 42, 21)
    assert found.why_none is not None
    assert found.why_none.startswith("21 of 42 excerpts could be read (50%), and 80% are needed")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("word", [0, -1])
def test_one_word_an_excerpt(kind: type, word: int) -> None:
    """Excerpts of one word each are scored like any others."""

    def cut(excerpt: Excerpt, level: float) -> Excerpt:
        context = replace(excerpt.context, tokens=excerpt.context.tokens[:1])
        return replace(excerpt, context=context, activations=np.array([level], dtype=np.float32))

    shown = evidence()
    short = replace(
        shown,
        activating=tuple(cut(e, e.peak) for e in shown.activating),
        quiet=tuple(cut(e, 0.0) for e in shown.quiet),
    )

    def predict(excerpt: Excerpt) -> Floats:
        return faithful(excerpt) if excerpt.context.id % 4 else np.zeros(1, dtype=np.float32) + (word == 0)

    found = score(kind, short, predict)
    assert found.value is not None
    assert found.low is not None
    assert found.low > 0
