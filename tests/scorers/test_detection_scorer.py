"""The detection score, end to end over a simulator that is told what to predict."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from sklearn import metrics

from exegete.datastore.records import Evidence, Excerpt, Floats, Score
from exegete.errors import LeakageError
from exegete.scorers.detection import DetectionScorer
from tests.scorers.scorer_fakes import LABEL, FakeSimulator, Predict, evidence, faithful, noisy, nothing


def score(shown: Evidence, predict: Predict, n_boot: int = 500, n_perm: int = 199) -> Score:
    """Score the test label on the report split."""
    scorer = DetectionScorer(FakeSimulator(shown, predict), "report", 0.8, 0, n_boot, n_perm)
    return asyncio.run(scorer.score(LABEL, shown))


def test_values_are_scikit_learns() -> None:
    """Value and details are scikit-learn's, over excerpts judged by their highest level."""
    shown, predict = evidence(), noisy(3, finds=0.7, alarms=0.3)
    found = score(shown, predict)
    fires = [e.peak > 0 for e in shown.excerpts]
    strength = [float(np.max(predict(e))) for e in shown.excerpts]
    said = [level > 0 for level in strength]
    assert found.value == pytest.approx(metrics.balanced_accuracy_score(fires, said))
    assert found.details["auroc"] == pytest.approx(metrics.roc_auc_score(fires, strength))
    assert found.details["average_precision"] == pytest.approx(
        metrics.average_precision_score(fires, strength)
    )
    assert found.details["f1"] == pytest.approx(metrics.f1_score(fires, said))


def test_weighted_values_are_scikit_learns() -> None:
    """Values over the corpus are scikit-learn's with the excerpts' weights, and None where one is unknown."""
    shown, predict = evidence(), noisy(3, finds=0.7, alarms=0.3)
    details = score(shown, predict).details
    fires = np.array([e.peak > 0 for e in shown.excerpts])
    said = np.array([np.max(predict(e)) > 0 for e in shown.excerpts])
    weights = [e.weight for e in shown.excerpts]
    assert {0.0, 1.0, 7.0, 40.0} == set(weights)
    expected = {
        "weighted_balanced_accuracy": metrics.balanced_accuracy_score(fires, said, sample_weight=weights),
        "weighted_recall": metrics.recall_score(fires, said, sample_weight=weights),
        "weighted_precision": metrics.precision_score(fires, said, sample_weight=weights),
    }
    assert {name: details[name] for name in expected} == pytest.approx(expected)
    unknown = replace(shown, activating=tuple(replace(e, weight=np.nan) for e in shown.activating))
    assert [score(unknown, predict).details[name] for name in expected] == [None] * 3


def test_what_is_missing_can_matter_so_much() -> None:
    """The bounds are the least and the most that any judgements of the missing excerpts would give."""
    shown, predict = evidence(), noisy(3, finds=0.7, alarms=0.3)
    lost = [*shown.activating[2:4], *shown.quiet[:3]]

    def forgetful(excerpt: Excerpt) -> Floats | None:
        return None if excerpt in lost else np.asarray(predict(excerpt))

    found = score(shown, forgetful)
    assert (found.n_asked, found.n_read) == (42, 37)
    fires = [e.peak > 0 for e in shown.excerpts]
    possible = [
        metrics.balanced_accuracy_score(
            fires,
            [judged[lost.index(e)] if e in lost else np.max(predict(e)) > 0 for e in shown.excerpts],
        )
        for judged in product((False, True), repeat=5)
    ]
    assert found.details["if_missing_wrong"] == pytest.approx(min(possible))
    assert found.details["if_missing_right"] == pytest.approx(max(possible))
    read = [e for e in shown.excerpts if e not in lost]
    alone = metrics.balanced_accuracy_score(
        [e.peak > 0 for e in read], [np.max(predict(e)) > 0 for e in read]
    )
    assert found.value == pytest.approx(alone)


def test_nothing_missing_nothing_to_bound() -> None:
    """Where all was read, both bounds are the value."""
    found = score(evidence(), noisy(3))
    assert found.details["if_missing_wrong"] == found.details["if_missing_right"] == found.value


def test_levels() -> None:
    """An interval of a higher level holds that of a lower one."""
    shown, predict = evidence(), noisy(3, finds=0.7, alarms=0.3)
    found = [
        asyncio.run(
            DetectionScorer(FakeSimulator(shown, predict), "report", 0.8, 0, level=level).score(LABEL, shown)
        )
        for level in (0.8, 0.95, 0.99)
    ]
    ends = [found[2].low, found[1].low, found[0].low, found[0].high, found[1].high, found[2].high]
    assert ends == sorted(ends, key=lambda end: end or 0.0)
    assert len(set(ends)) == 6


def test_strata() -> None:
    """Every stratum that is there has its share of right judgements."""

    def predict(excerpt: Excerpt) -> Floats:
        wrong = excerpt.stratum in ("decile 1", "hard quiet") or excerpt.context.id == 1000
        return nothing(excerpt) + 5 * ((excerpt.peak > 0) != wrong)

    details = score(evidence(), predict).details
    shares = {k: v for k, v in details.items() if k.startswith(("recall_", "silent_"))}
    assert shares == {
        "recall_top": 1.0,
        **{f"recall_decile_{d}": float(d > 1) for d in range(10, 0, -1)},
        "silent_quiet": 11 / 12,
        "silent_hard_quiet": 0.0,
    }


def test_all_that_is_said_about_a_good_label() -> None:
    """Chance is .5, p as small as can be, and a perfect label's interval leaves room below 1."""
    found = score(evidence(), faithful)
    assert found.scorer == "detection@2(fake@1)"
    assert found.value == 1.0
    assert found.low is not None
    assert found.high is not None
    assert 0.8 < found.low < 1 == found.high
    assert found.chance == pytest.approx(0.5, abs=0.02)
    assert found.p_value == pytest.approx(1 / 200)
    assert (found.details["share_above_threshold"] or 0) > 0.99


@pytest.mark.parametrize("always", [0, 10])
def test_saying_the_same_of_all_is_chance(always: int) -> None:
    """A label that predicts nothing, or everything, has a value: .5, no better than chance."""
    found = score(evidence(), lambda e: nothing(e) + always)
    assert (found.value, found.chance, found.p_value) == (0.5, 0.5, 1.0)


def test_too_little_is_no_score() -> None:
    """Without enough readable excerpts, value and p-value are None, with the reason."""
    found = score(evidence(), lambda e: None)
    assert (found.value, found.p_value, found.n_asked, found.n_read) == (None, None, 42, 0)
    assert found.why_none is not None
    assert "could be read" in found.why_none


def test_without_resampling() -> None:
    """With no draws and no permutations the value stands alone."""
    found = score(evidence(), noisy(3), 0, 0)
    assert found.value == score(evidence(), noisy(3)).value
    assert (found.low, found.high, found.chance, found.p_value) == (None, None, None, None)


def test_other_splits_are_refused() -> None:
    """Evidence of another split is refused."""
    shown = evidence(split="refine")
    with pytest.raises(LeakageError):
        score(shown, faithful)


@pytest.mark.parametrize("seed", range(8))
def test_worse_labels_score_lower(seed: int) -> None:
    """Dropping half of the hits, or predicting twice as many excerpts, lowers the value [2506.05774]."""
    shown, predict = evidence(seed), noisy(seed)

    def half(excerpt: Excerpt) -> Floats:
        return (
            nothing(excerpt) if excerpt.peak > 0 and excerpt.context.id % 2 else np.asarray(predict(excerpt))
        )

    firing = len(shown.activating)
    extra = {e.context.id for e in shown.quiet[:firing]}

    def double(excerpt: Excerpt) -> Floats:
        return nothing(excerpt) + 5 if excerpt.context.id in extra else np.asarray(predict(excerpt))

    before = score(shown, predict, 0, 0).value
    assert before is not None
    for worse in (half, double):
        after = score(shown, worse, 0, 0).value
        assert after is not None
        assert after < before - 0.1
