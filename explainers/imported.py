"""Labels that came with the evidence, as candidates: others' labels through our scorers.

Nothing is written and nothing revised. The first of the labels that can be kept are tried on the refine split
like anybody's, and the best is examined on the report split; each keeps the author it came with.

Whoever wrote them may have seen contexts of any split, so their scores lean their way, and ours don't.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from exegete.datastore.import_labels import ImportedLabel
from exegete.datastore.records import Evidence, FeatureId, Label, Plan
from exegete.errors import LeakageError
from exegete.explainers.explainer import Attempt
from exegete.explainers.hygiene import clean, why_refused

VERSION = 1
"""Raised when the same labels would give other candidates."""

PLAN = Plan(top=1, per_decile=0, quiet=0)

LabelsOf = Callable[[FeatureId], Sequence[ImportedLabel]]
"""Gives the labels that came with a feature, in the order they came."""


class ImportedLabels:
    """Proposes the labels that came with a feature.

    >>> labels = await ImportedLabels(lambda feature: imported_labels(file, feature)).explain(evidence, k=3)
    """

    def __init__(self, labels: LabelsOf) -> None:
        """Take labels from somewhere.

        Args:
            labels: gives those of a feature.
        """
        self._labels = labels

    @property
    def name(self) -> str:
        """imported@version; its labels have authors of their own."""
        return f"imported@{VERSION}"

    @property
    def plan(self) -> Plan:
        """Next to nothing: the labels are there already."""
        return PLAN

    async def explain(self, evidence: Evidence, k: int) -> list[Label]:
        """Propose the first k labels that are different and can be kept.

        Returns:
            Labels by the authors they came with; none when none came, or all are too long or empty.

        Raises:
            LeakageError: the evidence is of another split.
        """
        if evidence.split != "explain":
            raise LeakageError(
                f"explainer {self.name} takes evidence of the explain split and was handed the "
                f"{evidence.split} split of feature {evidence.feature}: this is a bug in what called it"
            )
        found: dict[str, Label] = {}
        for label in self._labels(evidence.feature):
            text = clean(label.text)
            if why_refused(text) is None and text not in found and len(found) < k:
                found[text] = Label(evidence.feature, text, clean(label.author) or "imported")
        return list(found.values())

    async def revise(self, evidence: Evidence, attempts: Sequence[Attempt], k: int) -> list[Label]:
        """Propose nothing: they are to be judged as they came."""
        return []
