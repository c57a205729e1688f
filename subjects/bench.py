"""What a test of a label is run on: texts in, one feature's activations out.

Laboratory        the subject itself, loaded again (laboratory.py)
RememberedOnly    what it said before (measurements.py)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from exegete.datastore.records import FeatureId, Floats, Unit
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
