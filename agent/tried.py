"""Rows of what a case tried on the subject, and of what it decided."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from exegete.agent.output import output_rows
from exegete.agent.rows import Case, Tables, label_id, now
from exegete.agent.state import Taken
from exegete.datastore.records import Experiment, FeatureId


def tried_rows(run: str, case: Case) -> Tables:
    """Rows of a finished case beside those of its labels and its outcome.

    They are its tests, the texts that a scorer had run, its decisions, and what the feature does.
    """
    state, harvest, made_at = case.state, case.harvest, case.made_at or now()
    feature = state["verdict"].feature
    generated = [one for score in state.get("scores", ()) for one in score.experiments]
    tables = {
        "experiments": experiment_rows(run, harvest, [*state.get("experiments", ()), *generated], made_at),
        "decisions": decision_rows(run, harvest, feature, state.get("decisions", ()), made_at),
    }
    if (found := state.get("output")) is not None:
        tables |= output_rows(run, harvest, feature, found, made_at)
    return tables


def experiment_rows(
    run: str, harvest: str, experiments: Sequence[Experiment], made_at: datetime
) -> list[dict[str, Any]]:
    """Rows of `experiments`, numbered round by round."""
    rows, numbers = [], Counter[int]()
    for e in experiments:
        feature, prediction = e.label.feature, e.prediction
        rows.append(
            {
                "run": run,
                "harvest": harvest,
                "feature_index": feature.index,
                "polarity": feature.polarity,
                "label_id": label_id(harvest, e.label),
                "label": e.label.text,
                "round": e.round,
                "number": numbers[e.round],
                "kind": prediction.kind,
                "text": prediction.text,
                "pair": prediction.pair,
                "predicted": "fires" if prediction.fires else "silent",
                "measured": e.peak,
                "threshold": e.threshold if math.isfinite(e.threshold) else None,
                "words": [word.strip() for word in e.words],
                "activations": e.activations.tolist(),
                "verdict": e.verdict,
                "why": e.why,
                "made_at": made_at,
            }
        )
        numbers[e.round] += 1
    return rows


def decision_rows(
    run: str, harvest: str, feature: FeatureId, taken: Sequence[Taken], made_at: datetime
) -> list[dict[str, Any]]:
    """Rows of `decisions`."""
    return [
        {
            "run": run,
            "harvest": harvest,
            "feature_index": feature.index,
            "polarity": feature.polarity,
            "number": number,
            "step": one.step,
            "action": one.decision.action,
            "why": one.decision.why,
            "quantity": one.decision.quantity,
            "value": one.decision.value,
            "bar": one.decision.bar,
            "made_at": made_at,
        }
        for number, one in enumerate(taken)
    ]
