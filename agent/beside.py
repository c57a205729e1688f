"""What stands in an outcome beside its label's score: tests on the subject, and what the feature does."""

from __future__ import annotations

from typing import Any

from exegete.agent.state import CaseState
from exegete.datastore.records import Score
from exegete.explainers.experiments import summary
from exegete.scorers.triangulation import base_name


def beside(state: CaseState) -> dict[str, Any]:
    """Columns of an outcome: the other levels of evidence for its label, and what finding it took.

    All are None where nothing was tried. The tests are those of the label that was chosen.
    """
    label = state["verdict"].label
    own = [e for e in state.get("experiments", ()) if label is not None and e.label.text == label.text]
    tested = summary(own)
    generation = next((s for s in state.get("scores", ()) if base_name(s) == "generation"), None)
    found = state.get("output")
    ablation, steering = (found.ablation, found.steering) if found is not None else (None, None)
    return {
        "tests": tested.tests if own else None,
        "tests_held": tested.held if own else None,
        "generation": generation.value if generation else None,
        "generation_low": generation.low if generation else None,
        "generation_high": generation.high if generation else None,
        "output_label": found.label.text if found is not None and found.label is not None else None,
        **_value("ablation", ablation),
        **_value("steering", steering),
        "tokens_spent": state.get("tokens_spent"),
    }


def _value(name: str, score: Score | None) -> dict[str, float | None]:
    return {name: score.value if score else None, f"{name}_p": score.p_value if score else None}
