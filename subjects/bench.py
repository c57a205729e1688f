"""What a test of a label is run on: texts in, one feature's activations out.

Laboratory        the subject itself, loaded again (laboratory.py)
RememberedOnly    what it said before (measurements.py)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from exegete.datastore.records import Experiment, FeatureId, Floats, Label, Prediction, Unit
from exegete.errors import SubjectError


@dataclass(frozen=True, slots=True)
class Measured:
    """What a feature did on a text."""

    words: tuple[str, ...]
    """The text as the subject read it, each unit with its leading whitespace."""
    activations: Floats
    """(n_words,) raw units, 0 at or below the firing threshold."""

    @property
    def peak(self) -> float:
        """The largest activation, raw units."""
        return float(self.activations.max(initial=0.0))


@dataclass(frozen=True, slots=True)
class NotRun:
    """A text that the subject could not be run on."""

    why: str
    """One clause, such as "it has 150 tokens and a context has at most 126"."""


def compared(
    label: Label, round: int, prediction: Prediction, outcome: Measured | NotRun, threshold: float
) -> Experiment:
    """Hold a prediction against what the subject did.

    Args:
        label: what predicted.
        round: of falsification, from 1; 0 for texts that a scorer had written.
        prediction: a text, and whether the feature fires in it.
        outcome: what was measured; what has no words or is not finite was not run.
        threshold: it fires when its largest activation is above this, raw units.
    """
    why = _why_not_run(outcome)
    if isinstance(outcome, NotRun) or why is not None:
        nothing = np.zeros(0, dtype=np.float32)
        return Experiment(label, round, prediction, (), nothing, threshold, "not run", why)
    fires = outcome.peak > threshold
    verdict: Literal["held", "failed"] = "held" if fires == prediction.fires else "failed"
    return Experiment(label, round, prediction, outcome.words, outcome.activations, threshold, verdict)


def _why_not_run(outcome: Measured | NotRun) -> str | None:
    """Why there is nothing to compare, or None: what can't be measured is missing."""
    if isinstance(outcome, NotRun):
        return outcome.why
    if not outcome.words:
        return "the subject read no words in it"
    if not np.isfinite(outcome.activations).all():
        return "the subject's activations are not finite on it"
    return None


class NotMeasured(SubjectError):
    """A text that the subject was never run on, where it can't be run now."""


class Bench(Protocol):
    """Runs texts on a subject.

    measured, = await bench.measure(feature, ["the quick fox"])
    measured.words                             # ("the", " quick", " fox")
    measured.activations                       # [0.0, 0.0, 3.1]
    measured.peak > bench.threshold(feature)   # it fires
    """

    async def measure(
        self, feature: FeatureId, texts: Sequence[str], unit: Unit = "word"
    ) -> list[Measured | NotRun]:
        """A feature's activations on some texts, each a context of its own.

        Args:
            feature: one of the harvest's.
            texts: any texts; equal ones are run once.
            unit: what one position of the result is.

        Returns:
            One entry a text, in their order.

        Raises:
            SubjectError: the harvest has no such feature; or (`NotMeasured`) a text was never run and can't
                be now.
            WorkspaceError: what was measured can't be written down.
        """

    def threshold(self, feature: FeatureId) -> float:
        """The activation above which a feature counts as firing, raw units: the evidence file's own.

        Raises:
            SubjectError: the harvest has no such feature.
        """
