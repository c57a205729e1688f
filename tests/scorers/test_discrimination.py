"""The discrimination score: a label against the excerpts of its feature's nearest neighbours."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics

from exegete.datastore.records import Evidence, Score
from exegete.errors import LeakageError
from exegete.scorers.detection import DetectionScorer
from exegete.scorers.discrimination import DiscriminationScorer, among_neighbours
from tests.scorers.marked_fakes import FIRING, ByContext, by_word, in_words, sentence
from tests.scorers.scorer_fakes import LABEL

NEIGHBOURS = (" bada", " Lisbon")
"""Words on which the neighbours fire."""


def with_neighbours(n: int = 10, seed: int = 0) -> Evidence:
    """Evidence with n excerpts in which a neighbour fires, and this feature does not."""
    rng = np.random.default_rng(100 + seed)
    near = []
    for i in range(n):
        plain = sentence(rng, 10_000 + i, 24, "neighbour", fires=False)
        words = [*plain.context.tokens[:12], str(rng.choice(NEIGHBOURS)), *plain.context.tokens[13:]]
        near.append(replace(plain, context=replace(plain.context, tokens=tuple(words)), weight=0.0))
    return replace(in_words(seed), neighbours=tuple(near))


def score(words: tuple[str, ...], shown: Evidence, n_boot: int = 500, n_perm: int = 199) -> Score:
    """Score a label that predicts some words."""
    scorer = DiscriminationScorer(ByContext(by_word(*words)), "report", 0.75, 0, n_boot, n_perm)
    return asyncio.run(scorer.score(LABEL, shown))


def test_a_label_that_collides() -> None:
    """One that fits the neighbours too is at chance here; detection still finds it better than chance."""
    shown = with_neighbours()
    right, collides = score(FIRING, shown), score((*FIRING, *NEIGHBOURS), shown)
    assert (right.value, collides.value) == (1.0, 0.5)
    assert right.p_value == pytest.approx(1 / 200)
    assert collides.p_value == 1.0
    assert (right.details["recall"], right.details["refused"]) == (1.0, 1.0)
    assert (collides.details["recall"], collides.details["refused"]) == (1.0, 0.0)
    assert right.scorer == "discrimination@1(told@1)"
    detects = DetectionScorer(ByContext(by_word(*FIRING, *NEIGHBOURS)), "report", 0.75, 0, 0, 0)
    assert (asyncio.run(detects.score(LABEL, in_words())).value or 0) > 0.55


def test_predicting_nothing_is_chance() -> None:
    """A label that fits none of the excerpts scores .5."""
    assert score((" nowhere",), with_neighbours()).value == 0.5


def test_values_are_scikit_learns() -> None:
    """Over own excerpts and the neighbours', judged by their highest level."""
    shown, words = with_neighbours(seed=3), (FIRING[0], NEIGHBOURS[0])
    found, asked = score(words, shown), among_neighbours(shown, 0)
    fires = [e.peak > 0 for e in asked.excerpts]
    strength = [8.0 * bool(set(words) & set(e.context.tokens)) for e in asked.excerpts]
    assert found.value == pytest.approx(metrics.balanced_accuracy_score(fires, [s > 0 for s in strength]))
    assert found.details["auroc"] == pytest.approx(metrics.roc_auc_score(fires, strength))
    assert found.details["average_precision"] == pytest.approx(
        metrics.average_precision_score(fires, strength)
    )
    assert found.low is not None
    assert found.high is not None
    assert found.value is not None
    assert found.low < found.value < found.high


def test_one_further_call() -> None:
    """Ten neighbours and as many own excerpts are asked about, once and together, in no telling order."""
    shown, simulator = with_neighbours(), ByContext(by_word(*FIRING))
    asyncio.run(DiscriminationScorer(simulator, "report", 0.75, 0, 0, 0).score(LABEL, shown))
    (asked,) = simulator.calls
    near = [context.id >= 10_000 for context in asked]
    assert (len(asked), sum(near)) == (20, 10)
    assert near not in ([True] * 10 + [False] * 10, [False] * 10 + [True] * 10)
    strata = {e.stratum for e in among_neighbours(shown, 0).activating}
    assert len(strata) > 3
    assert among_neighbours(shown, 0) == among_neighbours(shown, 0)


@pytest.mark.parametrize(
    ("n", "why"),
    [
        (0, "no neighbour fires in the quiet pool where the feature is known to be silent"),
        (4, "40 excerpts of the feature and 4 of its neighbours were found, and 5 of each are needed"),
    ],
)
def test_no_neighbours(n: int, why: str) -> None:
    """Without enough of them there is no value, a reason, and no call."""
    simulator = ByContext(by_word(*FIRING))
    scorer = DiscriminationScorer(simulator, "report", 0.75, 0)
    found = asyncio.run(scorer.score(LABEL, with_neighbours(n)))
    assert (found.value, found.p_value, found.why_none) == (None, None, why)
    assert simulator.calls == []


def test_what_can_not_be_read() -> None:
    """A simulation that is missing is no score, with the reason; other splits are refused."""
    scorer = DiscriminationScorer(ByContext(lambda tokens: None), "report", 0.75, 0)
    found = asyncio.run(scorer.score(LABEL, with_neighbours()))
    assert (found.value, found.n_asked, found.n_read) == (None, 20, 0)
    assert "could be read" in (found.why_none or "")
    with pytest.raises(LeakageError):
        asyncio.run(scorer.score(LABEL, replace(with_neighbours(), split="refine")))
