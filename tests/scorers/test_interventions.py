"""What was observed of a label beside what acting on texts and on the model shows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.datastore.records import Score
from exegete.scorers.triangulation import disagreements
from exegete.scorers.verdict import decide
from tests.scorers.scorer_fakes import FEATURE, LABEL

CLEAR = Score("simulation@1(x)", "report", 0.62, 0.55, 0.7, 0.0, 0.0005, 70, 70)
POOR = replace(CLEAR, value=0.2, low=0.1, high=0.3)
BARS = {"generation": 0.5}

P_VALUES = st.sampled_from([None, 1 / 51, 0.05, 0.06, 0.9])


def ablation(p: float | None) -> Score:
    """A feature that moves predictions, and how often random directions move them as far."""
    return Score("ablation@2", "report", None if p is None else 0.1, 0.05, 0.2, 0.05, p, 12, 12)


def steering(p: float | None) -> Score:
    """Continuations that are told by the output label, and how often by guessing."""
    return Score("steering@1(lexical)", "report", None if p is None else 0.6, 0.3, 0.8, 0.25, p, 8, 8)


@pytest.mark.parametrize(
    ("primary", "ablated", "steered", "status", "reasons"),
    [
        (CLEAR, 0.02, 0.01, "accepted", ()),
        (CLEAR, 0.02, 0.90, "accepted", ()),
        (CLEAR, 0.90, 0.01, "review", ("predicts but does not cause",)),
        (CLEAR, 0.30, 0.01, "accepted", ()),
        (CLEAR, None, 0.01, "accepted", ()),
        (POOR, 0.02, 0.01, "review", ("causes but does not predict",)),
        (POOR, 0.02, 0.90, "rejected", ()),
        (POOR, 0.30, 0.01, "rejected", ()),
        (POOR, 0.02, None, "rejected", ()),
    ],
)
def test_verdicts(
    primary: Score, ablated: float | None, steered: float | None, status: str, reasons: tuple[str, ...]
) -> None:
    """A clear label of a feature that does nothing, and a poor one of a feature that does as is said."""
    beside = [ablation(ablated), steering(steered)]
    verdict = decide(FEATURE, LABEL, primary, 0.5, beside=beside, bars=BARS)
    assert (verdict.status, verdict.reasons) == (status, reasons)


@given(st.floats(0.0, 0.4), st.floats(0.0, 0.4), P_VALUES, P_VALUES)
def test_reasons_only_where_both_sides_are_clear(
    low: float, width: float, ablated: float | None, steered: float | None
) -> None:
    """An interval that holds the bar, and an intervention without a value, contradict nobody."""
    score = replace(CLEAR, value=low + 0.3, low=low + 0.3, high=low + 0.3 + width)
    found = disagreements(score, 0.5, [ablation(ablated), steering(steered)], {})
    clear_above, clear_below = low + 0.3 >= 0.5, low + 0.3 + width < 0.5
    assert ("predicts but does not cause" in found) == (clear_above and ablated == 0.9)
    assert ("causes but does not predict" in found) == (
        clear_below and ablated in {1 / 51, 0.05} and steered in {1 / 51, 0.05}
    )


@pytest.mark.parametrize(
    ("interval", "status"), [((0.1, 0.2, 0.3), "review"), ((0.4, 0.5, 0.6), "accepted"), (None, "accepted")]
)
def test_texts_written_from_the_label(interval: tuple[float, float, float] | None, status: str) -> None:
    """A label whose texts clearly don't do as it says goes to a person under a name of its own."""
    beside = []
    if interval is not None:
        low, value, high = interval
        beside = [replace(CLEAR, scorer="generation@1(x)", value=value, low=low, high=high)]
    verdict = decide(FEATURE, LABEL, CLEAR, 0.5, beside=beside, bars=BARS)
    assert verdict.status == status
    assert verdict.reasons == (("fails when tested",) if status == "review" else ())


def test_interventions_say_nothing_by_their_scale() -> None:
    """Nats and shares are held against no bar: they are no other opinion on how well a label predicts."""
    verdict = decide(
        FEATURE,
        LABEL,
        CLEAR,
        0.5,
        beside=[ablation(0.02), steering(0.01)],
        bars={"ablation": 9.0, "steering": 9.0},
    )
    assert verdict.status == "accepted"
