"""An explainer with a person's hint: the hint is the first candidate, and goes through what the others do.

A hint is not put into a prompt as an instruction. Models repeat what they are told, and a hint that is wrong
would be a label that nobody tested. As a candidate it is simulated and scored on the refine split beside the
explainer's own: if it is better it is chosen, and if it is not, a revision is shown it with its mistakes.
"""

from __future__ import annotations

from collections.abc import Sequence

from exegete.datastore.hashing import digest64
from exegete.datastore.records import Evidence, Label, Plan
from exegete.explainers.explainer import Attempt, Explainer
from exegete.explainers.hygiene import clean, why_refused


class Hinted:
    """Wraps an explainer."""

    def __init__(self, explainer: Explainer, hint: str) -> None:
        """Prepare.

        Args:
            explainer: who proposes beside the hint, and revises.
            hint: what a person thinks makes the feature fire.
        """
        self._explainer, self._hint = explainer, clean(hint)

    @property
    def name(self) -> str:
        """The explainer's, with a digest of the hint."""
        return f"{self._explainer.name}+hint#{digest64(self._hint):016x}"

    @property
    def plan(self) -> Plan:
        """The explainer's."""
        return self._explainer.plan

    async def explain(self, evidence: Evidence, k: int) -> list[Label]:
        """The hint, by `person`, and up to k labels of the explainer's that say something else.

        Raises:
            LeakageError, LLMError: as the explainer.
        """
        proposed = await self._explainer.explain(evidence, k)
        if why_refused(self._hint):
            return proposed
        hint = Label(evidence.feature, self._hint, "person")
        return [hint, *(label for label in proposed if label.text != self._hint)]

    async def revise(self, evidence: Evidence, attempts: Sequence[Attempt], k: int) -> list[Label]:
        """As the explainer does, to whom the hint is an attempt like others.

        Raises:
            LeakageError, LLMError: as the explainer.
        """
        return await self._explainer.revise(evidence, attempts, k)
