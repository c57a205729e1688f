"""Predictions against what a subject does, with literal counts as the oracle."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.datastore.records import Experiment, FeatureId, Label, Prediction, Unit
from exegete.errors import SubjectError
from exegete.explainers.experiments import NEEDED, run_predictions, summary
from exegete.subjects.bench import Measured, NotMeasured, NotRun
from tests.explainers.bench_fakes import RuleBench, experiment, on_word
from tests.explainers.explainer_fakes import FEATURE

LABEL = Label(FEATURE, 'the word "bank"', "highlight/m", 1)
WRITTEN = (
    Prediction("fires", "the bank is shut", True),
    Prediction("without the key token", "money in a safe", True),
    Prediction("near miss", "by the river bank", False),
    Prediction("silent", "a river", False),
    Prediction("silent", "far too long", False),
)


def run(bench: RuleBench, *predictions: Prediction) -> list[Experiment]:
    return asyncio.run(run_predictions(bench, LABEL, 2, predictions))


def test_code_compares() -> None:
    """A prediction holds exactly when the feature does what was said; what wasn't run is neither."""
    bench = RuleBench(on_word("bank"), not_run={"far too long": "it has 900 tokens"})
    found = run(bench, *WRITTEN)
    assert [one.verdict for one in found] == ["held", "failed", "failed", "held", "not run"]
    assert [one.peak for one in found] == [8.0, 0.0, 8.0, 0.0, None]
    assert [one.prediction for one in found] == list(WRITTEN)
    assert {(one.label, one.round) for one in found} == {(LABEL, 2)}
    assert found[0].words == (" the", " bank", " is", " shut")
    assert found[0].activations.tolist() == [0, 8, 0, 0]
    assert (found[4].words, found[4].why) == ((), "it has 900 tokens")
    assert bench.asked == [(FEATURE, [one.text for one in WRITTEN], "word")], "one question for all"


def test_the_bar_is_the_evidence_threshold() -> None:
    """At the threshold a feature is silent; above it, it fires."""
    for activation, threshold, fires in ((2.0, 2.0, False), (2.5, 2.0, True), (0.0, 0.0, False)):
        bench = RuleBench(on_word("bank", activation), threshold)
        (one,) = run(bench, WRITTEN[0])
        assert (one.verdict == "held") is fires
        assert one.threshold == threshold


class Odd:
    """A bench that gives what it was made with."""

    def __init__(self, *outcomes: Measured | NotRun | Exception) -> None:
        self.outcomes = outcomes

    async def measure(
        self, feature: FeatureId, texts: Sequence[str], unit: Unit = "word"
    ) -> list[Measured | NotRun]:
        found = [one for one in self.outcomes if not isinstance(one, Exception)]
        for error in self.outcomes:
            if isinstance(error, Exception):
                raise error
        return found

    def threshold(self, feature: FeatureId) -> float:
        return 0.0


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (Measured((" a",), np.asarray([math.nan], np.float32)), "not finite"),
        (Measured((" a",), np.asarray([math.inf], np.float32)), "not finite"),
        (Measured((), np.zeros(0, np.float32)), "no words"),
        (SubjectError("the folder of the subject is gone"), "the folder of the subject is gone"),
    ],
)
def test_what_has_no_outcome_is_not_run(outcome: Measured | Exception, why: str) -> None:
    """No number, no words, no subject: the test was not run, says why, and counts on no side."""
    (one,) = asyncio.run(run_predictions(Odd(outcome), LABEL, 1, WRITTEN[:1]))
    assert (one.verdict, one.words, one.peak) == ("not run", (), None)
    assert why in (one.why or "")
    assert summary([one]).tests == 0


def test_a_bench_that_only_remembers_is_not_a_missing_subject() -> None:
    """Where a text was never run and can't be now, nothing is said of it: the case can't be made anew."""
    with pytest.raises(NotMeasured):
        asyncio.run(run_predictions(Odd(NotMeasured("never run")), LABEL, 1, WRITTEN[:1]))


def test_no_predictions_ask_nothing() -> None:
    """A round without tests does not wake the subject."""
    bench = RuleBench(on_word("bank"))
    assert run(bench) == []
    assert bench.asked == []


OUTCOMES = st.lists(st.tuples(st.booleans(), st.sampled_from(["held", "failed", "not run"])), max_size=20)


@given(OUTCOMES)
def test_summary_is_a_count(outcomes: list[tuple[bool, str]]) -> None:
    """Each side by itself, run ones only; a side fails when under half of two or more came true."""
    found = [
        experiment("a", [5.0 if fires is (verdict == "held") else 0.0], fires=fires)
        if verdict != "not run"
        else Experiment(
            LABEL, 1, Prediction("fires", "a", fires), (), np.zeros(0, np.float32), 0.0, "not run", "w"
        )
        for fires, verdict in outcomes
    ]
    tested = summary(found)
    assert tested.tests == sum(verdict != "not run" for _, verdict in outcomes)
    assert tested.held == sum(verdict == "held" for _, verdict in outcomes)
    assert tested.not_run == len(outcomes) - tested.tests
    for side, failed in ((True, tested.too_broad), (False, tested.too_narrow)):
        its = [verdict for fires, verdict in outcomes if fires is side and verdict != "not run"]
        assert failed == (len(its) >= NEEDED and 2 * its.count("held") < len(its))
    assert tested.failed == (tested.too_broad or tested.too_narrow)


def test_what_is_said_of_a_round() -> None:
    """The clause has every number, and says so where nothing was run."""
    bench = RuleBench(on_word("bank"), not_run={"far too long": "w"})
    assert summary(run(bench, *WRITTEN)).said == (
        "2 of 4 predictions came true (1 of 2 to fire, 1 of 2 to stay silent, 1 not run)"
    )
    assert summary(run(bench, WRITTEN[4])).said == "no prediction was run, 1 not run"
    assert summary([]).said == "no prediction was run"
