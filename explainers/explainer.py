"""What an explainer is: from explain-split evidence to labels, and from a label's errors to better ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from exegete.datastore.records import Evidence, Excerpt, Experiment, Floats, Label, Plan


@dataclass(frozen=True, slots=True)
class Mistake:
    """One excerpt of the refine split that a label got wrong."""

    excerpt: Excerpt
    levels: Floats
    """(n_tokens,) what the simulator predicted from the label, 0 to 10."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A label that was tried on the refine split, with its errors there and its tests on the subject."""

    label: Label
    score: float | None
    """Its primary score on the refine split, or None when undefined."""
    misses: tuple[Mistake, ...]
    """Excerpts where the feature fires and the label did not say so, worst first."""
    false_alarms: tuple[Mistake, ...]
    """Excerpts where the label predicts firing and the feature is silent, worst first."""
    experiments: tuple[Experiment, ...] = ()
    """Its tests on the subject, in the order in which they were written; none where none were asked for."""


class Explainer(Protocol):
    """Proposes labels from evidence of the explain split, and better ones from errors of the refine split."""

    @property
    def name(self) -> str:
        """Method, with its model and prompt digest if it has them: the author of its labels."""

    @property
    def plan(self) -> Plan:
        """How much evidence it wants, and in which form."""

    async def explain(self, evidence: Evidence, k: int) -> list[Label]:
        """Propose up to k different labels, best first.

        Args:
            evidence: excerpts of the explain split.
            k: how many candidates are wanted.

        Returns:
            Labels with `round` 0; empty when nothing could be proposed.

        Raises:
            LeakageError: the evidence is not of the explain split.
            LLMError: no model could be reached.
        """

    async def revise(self, evidence: Evidence, attempts: Sequence[Attempt], k: int) -> list[Label]:
        """Propose up to k better labels, given how earlier ones failed.

        Args:
            evidence: the same evidence as was handed to `explain`.
            attempts: what was tried so far, best refine score first.
            k: how many candidates are wanted.

        Returns:
            Labels whose `round` is one more than the latest attempt's; empty when it has nothing better.
        """
